"""Who we are to a registry: docker's own configuration, with its helpers and stores. Reads files, runs helpers."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import msgspec

from imagekit.errors import ToolError, UsageError

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


def find_credentials(host: str) -> Credentials:
    """What docker's configuration has for the registry `host`; empty if it has nothing.

    Raises `UsageError` for a configuration that cannot be read or a helper named by a path, `ToolError` for a helper
    that fails.
    """
    path = config_file()
    if path is None:
        return Credentials()
    from docker import auth, errors

    config = load_config(path)
    helper = helper_for(config, host, path)
    try:
        with warnings.catch_warnings(action="ignore"):
            return _read(auth.resolve_authconfig(config, host) or {})
    except (errors.DockerException, KeyError, ValueError, TypeError):
        raise ToolError(
            f"docker-credential-{helper} gave nothing for {host}",
            hint=f"run: echo {host} | docker-credential-{helper} get; or take it out of {path}",
        ) from None


def helper_for(config: Any, host: str, path: Path) -> str | None:
    """The name of the helper that keeps the credentials of a host; raises `UsageError` for a path.

    A name with a slash would run a program from anywhere.
    """
    helper = config.get_credential_store(host)
    if helper is not None and not _HELPER.fullmatch(str(helper)):
        raise UsageError(
            f"{path}: the credential helper {helper!r} is not a plain name",
            hint="write the part after docker-credential-, such as `pass`",
        )
    return str(helper) if helper else None


def load_config(path: Path) -> Any:
    """Docker's configuration as the docker package has it; raises `UsageError` without a word of what is in it."""
    from docker import auth, errors

    try:
        written = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return auth.load_config(config_dict=written or {"auths": {}})
    except (OSError, ValueError, TypeError, AttributeError, msgspec.MsgspecError, errors.DockerException):
        # without its cause, whose message could quote the secret
        raise UsageError(
            f"{path} is not a docker configuration",
            hint="repair it, or name another folder with DOCKER_CONFIG",
        ) from None


def _read(found: dict[str, Any]) -> Credentials:
    """docker-py spells the keys in one case for helpers, in another for files."""
    lower = {key.lower(): value or "" for key, value in found.items()}
    return Credentials(lower.get("username", ""), lower.get("password", ""), lower.get("identitytoken", ""))
