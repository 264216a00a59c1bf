"""Who we are to a registry: docker's own configuration, with its helpers and stores. Reads files, runs helpers."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import parse_json
from imagekit.errors import UsageError
from imagekit.oci.credential_helper import Helper

HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"
"""Under which docker keeps the credentials of docker.io."""
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Credentials(msgspec.Struct, frozen=True):
    """A name and its password, or a token that buys others. Never shown: `repr` says whose they are, not what."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token)


def config_place() -> Path | None:
    """`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`, there or not; None without a home."""
    folder = os.environ.get("DOCKER_CONFIG")
    try:
        return (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    except RuntimeError:
        return None


def config_file() -> Path | None:
    """Docker's configuration; None if there is none."""
    path = config_place()
    return path if path is not None and path.is_file() else None


class _Entry(msgspec.Struct, rename="lower"):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class DockerConfig(msgspec.Struct):
    """As much of docker's config.json as is about credentials."""

    auths: dict[str, _Entry | None] = {}
    helpers: dict[str, str] = msgspec.field(default_factory=dict, name="credHelpers")
    store: str = msgspec.field(default="", name="credsStore")

    def helper(self, host: str, path: Path) -> str:
        """The name of the helper that keeps the credentials of a host, '' for none; raises `UsageError` for a path.

        A name with a slash would run a program from anywhere.
        """
        found = next((self.helpers[key] for key in keys_of(host) if key in self.helpers), self.store)
        if found and not _HELPER.fullmatch(found):
            raise UsageError(
                f"{path}: the credential helper {found!r} is not a plain name",
                hint="write the part after docker-credential-, such as `pass`",
            )
        return found

    def entry(self, host: str) -> _Entry:
        """What stands in the file itself; the host may be spelled as an address, as docker of old did."""
        found = (self.auths[key] for key in (*keys_of(host), *self.auths) if key in self.auths and is_of(key, host))
        return next(found, None) or _Entry()


def keys_of(host: str) -> tuple[str, ...]:
    """Under which names credentials of a host are kept, the one to write first."""
    return (HUB_KEY, HUB, "index.docker.io") if host == HUB else (host,)


def is_of(key: str, host: str) -> bool:
    """Whether what stands under a key of `auths` is of a host, which may be spelled as an address."""
    bare = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return key in keys_of(host) or bare in keys_of(host)


def find_credentials(host: str, cancellation: Cancellation | None = None) -> Credentials:
    """What docker's configuration has for the registry `host`; empty if it has nothing.

    Raises `UsageError` for a configuration that cannot be read or a helper named by a path, `ToolError` for a helper
    that is missing or fails.
    """
    path = config_file()
    if path is None:
        return Credentials()
    config = load_config(path)
    helper = config.helper(host, path)
    kept = Helper(helper, keys_of(host)[0], path, cancellation).ask() if helper else None
    return _of_helper(*kept or ("", "")) or _in_file(config.entry(host), path)


def _of_helper(username: str, secret: str) -> Credentials:
    return Credentials(identity_token=secret) if username == "<token>" else Credentials(username, secret)


def load_config(path: Path) -> DockerConfig:
    """Docker's configuration; raises `UsageError` without a word of what is in it."""
    try:
        return parse_json(path.read_bytes(), DockerConfig)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _broken(path) from None


def _in_file(entry: _Entry, path: Path) -> Credentials:
    if entry.identitytoken:
        return Credentials(identity_token=entry.identitytoken)
    if not entry.auth:
        return Credentials(entry.username, entry.password)
    try:
        username, colon, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
    except ValueError:
        raise _broken(path) from None
    if not colon:
        raise _broken(path) from None
    return Credentials(username, password.rstrip("\0"))


def _broken(path: Path) -> UsageError:
    """Without a cause, whose message could quote the secret."""
    return UsageError(
        f"{path} is not a docker configuration", hint="repair it, or name another folder with DOCKER_CONFIG"
    )
