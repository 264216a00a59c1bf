"""Logging in and out: credentials are tried at the registry, then kept where docker keeps them.

A credential helper keeps them if there is one; else they stand in docker's config.json, which is then for its owner
only. Touches the network, files and helpers.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import parse_json, write_whole
from imagekit.errors import NetworkError, UsageError
from imagekit.oci.answers import PassingError, StatusError, drain, failure
from imagekit.oci.authorization import Authorization
from imagekit.oci.credential_helper import Helper
from imagekit.oci.credentials import Credentials, DockerConfig, config_place, is_of, keys_of, load_config
from imagekit.oci.hosts import load_registries
from imagekit.oci.reference import Reference, without_account
from imagekit.oci.registry import settle
from imagekit.oci.transport import Transport

_NO_ENTRY = (401, 403)


def registry_host(text: str) -> str:
    """The registry that `text` names, as references spell it; raises `UsageError` for what is none."""
    bare = text.removesuffix("/")
    try:
        if "/" not in bare and (bare == "localhost" or set(bare) & set(".:")):
            return Reference.parse(f"{bare}/x/x").host
    except UsageError:
        pass
    raise UsageError(f"{without_account(text)!r} is not a registry", hint="write its host, with the port if it has one")


def verify(host: str, credentials: Credentials, cancellation: Cancellation) -> None:
    """Raise `NetworkError` unless the registry takes these credentials."""
    with Transport(cancellation, registries=load_registries()) as transport:
        base = settle(transport, Reference(host, "x"))
        token_hosts = transport.registries.host(host).token_hosts
        authorization = Authorization(transport, base, "", "", lambda: credentials, token_hosts)
        transport.patiently(lambda: _try(transport, base, authorization, host))


def _try(transport: Transport, base: str, authorization: Authorization, host: str) -> None:
    what, url = f"login to {host}", f"{base}/v2/"
    try:
        answer = transport.send("GET", url, {})
        if answer.status == 401 and authorization.answer(answer, ""):
            drain(answer)
            answer = transport.send("GET", url, authorization.headers_for(url))
    except PassingError as error:
        raise error.about(what) from error
    except StatusError as error:
        raise _refused(what, error) if error.status in _NO_ENTRY else error from error
    if answer.status in _NO_ENTRY:
        raise _refused(what, failure(answer, what))
    if answer.status != 200:
        raise failure(answer, what)
    drain(answer)


def _refused(what: str, error: NetworkError) -> StatusError:
    """The registry, or the service that gives its tokens, does not take the account."""
    said = error.message.removeprefix(f"{what}: ")
    return StatusError(
        f"{what}: the registry refused user or password ({said})",
        status=401,
        hint="check both; some registries want a token in the place of the password",
    )


def keep(host: str, credentials: Credentials, cancellation: Cancellation | None = None) -> str:
    """Keep them for later commands, docker's too; where they are now (`docker-credential-NAME`, or the file's path)."""
    path, config, written = _written()
    named, key = config.helper(host, path), keys_of(host)[0]
    helper = named or _usual_helper()
    auths = _section(written, "auths")
    if helper:
        Helper(helper, key, path, cancellation).store(credentials.username, credentials.password)
        auths[key] = {}
        if not named:
            _section(written, "credHelpers")[key] = helper
    else:
        pair = f"{credentials.username}:{credentials.password}".encode()
        auths[key] = {"auth": base64.b64encode(pair).decode()}
    _write(path, written)
    return f"docker-credential-{helper}" if helper else str(path)


def forget(host: str, cancellation: Cancellation | None = None) -> bool:
    """Take the credentials of a registry away; whether there were any in the file, or a helper was asked."""
    path, config, written = _written()
    helper = config.helper(host, path)
    if helper:
        Helper(helper, keys_of(host)[0], path, cancellation).erase()
    auths = _section(written, "auths")
    gone = [name for name in auths if is_of(name, host)]
    for name in gone:
        del auths[name]
    if gone:
        _write(path, written)
    return bool(gone or helper)


def _written() -> tuple[Path, DockerConfig, dict[str, Any]]:
    """Where docker's configuration is, what of it we know, and all that stands in it."""
    path = config_place()
    if path is None:
        raise UsageError("there is no home folder to keep credentials in", hint="set DOCKER_CONFIG")
    if not path.is_file():
        return path, DockerConfig(), {}
    config = load_config(path)
    written: dict[str, Any] = parse_json(path.read_bytes(), dict[str, Any])
    return path, config, written


def _section(written: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(written.get(name), dict):
        written[name] = {}
    found: dict[str, Any] = written[name]
    return found


def _usual_helper() -> str:
    """The system's own helper, if it is installed and can work; '' for none."""
    usual = {"darwin": ("osxkeychain",), "win32": ("wincred",)}.get(sys.platform, ("pass", "secretservice"))
    return next((name for name in usual if _is_ready(name)), "")


def _is_ready(name: str) -> bool:
    """Whether a helper can work: `pass` needs its store, the secret service a session."""
    if shutil.which(f"docker-credential-{name}") is None:
        return False
    if name == "pass":
        store = Path(os.environ.get("PASSWORD_STORE_DIR") or Path.home() / ".password-store")
        return shutil.which("pass") is not None and (store / ".gpg-id").is_file()
    return name != "secretservice" or bool(os.environ.get("DBUS_SESSION_BUS_ADDRESS"))


def _write(path: Path, written: dict[str, Any]) -> None:
    """For its owner only; a link stays a link to what is written."""
    try:
        write_whole(path.resolve(), msgspec.json.format(msgspec.json.encode(written), indent=8) + b"\n", 0o600)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="name a writable folder with DOCKER_CONFIG") from error


def check_account(username: str, password: str) -> Credentials:
    """The credentials, if they can be sent; raises `UsageError` that does not show them."""
    if not username or ":" in username or not username.isprintable():
        raise UsageError("the user's name is empty, or has a colon or a control character", hint="give --username NAME")
    if not password or not password.isprintable():
        raise UsageError("the password is empty, or has a control character", hint="pipe it to --password-stdin")
    return Credentials(username, password)
