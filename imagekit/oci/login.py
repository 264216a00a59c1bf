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

from imagekit.content import write_whole
from imagekit.errors import ToolError, UsageError
from imagekit.oci.answers import PassingError, drain, failure
from imagekit.oci.authorization import Authorization
from imagekit.oci.credentials import Credentials, config_place, helper_for, load_config
from imagekit.oci.hosts import HUB, load_registries
from imagekit.oci.reference import Reference
from imagekit.oci.registry import settle
from imagekit.oci.transport import Transport
from imagekit.workers import Cancellation

_HUB_KEY = "https://index.docker.io/v1/"
"""Under which docker keeps the credentials of docker.io."""


def registry_host(text: str) -> str:
    """The registry that `text` names, as references spell it; raises `UsageError` for what is none."""
    bare = text.removesuffix("/")
    try:
        if "/" not in bare and (bare == "localhost" or set(bare) & set(".:")):
            return Reference.parse(f"{bare}/x/x").host
    except UsageError:
        pass
    raise UsageError(f"{text!r} is not a registry", hint="write its host, with the port if it has one")


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
    if answer.status != 200:
        raise failure(answer, what)
    drain(answer)


def keep(host: str, credentials: Credentials) -> str:
    """Keep them for later commands, docker's too; where they are now (`docker-credential-NAME`, or the file's path)."""
    path, written = _written()
    helper = _helper(written, host)
    key = _key(host)
    auths = _section(written, "auths")
    if helper:
        _run(helper, "store", key, credentials)
        auths[key] = {}
        if _named(written, host) != helper:
            _section(written, "credHelpers")[host if host != HUB else _HUB_KEY] = helper
    else:
        pair = f"{credentials.username}:{credentials.password}".encode()
        auths[key] = {"auth": base64.b64encode(pair).decode()}
    _write(path, written)
    return f"docker-credential-{helper}" if helper else str(path)


def forget(host: str) -> bool:
    """Take the credentials of a registry away; whether there were any in the file, or a helper was asked."""
    path, written = _written()
    helper = _named(written, host) if path.is_file() else None
    if helper:
        _run(helper, "erase", _key(host), Credentials())
    auths = _section(written, "auths")
    gone = [name for name in auths if name in _spellings(host)]
    for name in gone:
        del auths[name]
    if gone:
        _write(path, written)
    return bool(gone or helper)


def _key(host: str) -> str:
    return _HUB_KEY if host == HUB else host


def _spellings(host: str) -> set[str]:
    schemes = {f"{scheme}{host}{end}" for scheme in ("", "https://", "http://") for end in ("", "/", "/v1/", "/v2/")}
    return schemes | ({_HUB_KEY} if host == HUB else set())


def _written() -> tuple[Path, dict[str, Any]]:
    path = config_place()
    if path is None:
        raise UsageError("there is no home folder to keep credentials in", hint="set DOCKER_CONFIG")
    if not path.is_file():
        return path, {}
    load_config(path)
    written: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    return path, written


def _section(written: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(written.get(name), dict):
        written[name] = {}
    found: dict[str, Any] = written[name]
    return found


def _named(written: dict[str, Any], host: str) -> str | None:
    """The helper that the configuration names for a host."""
    from docker import auth

    path = config_place() or Path()
    copied = dict(written) or {"auths": {}}  # the docker package takes keys out of it
    return helper_for(auth.load_config(config_dict=copied), host, path)


def _helper(written: dict[str, Any], host: str) -> str:
    """The helper to use: the one that is configured, else the system's own if it is installed; '' for none."""
    named = _named(written, host)
    if named:
        return named
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


def _run(helper: str, action: str, key: str, credentials: Credentials) -> None:
    """Through the docker package, which hands secrets over on stdin."""
    import warnings

    from docker.credentials import Store, StoreError

    try:
        with warnings.catch_warnings(action="ignore"):
            store: Any = Store(helper)
        if action == "store":
            store.store(key, credentials.username, credentials.password)
        else:
            store.erase(key)
    except (StoreError, OSError, ValueError):
        # without its cause, whose message could quote the secret
        raise ToolError(
            f"docker-credential-{helper} could not {action} the credentials of {key}",
            hint=f"run: docker-credential-{helper} list; or take it out of docker's config.json",
        ) from None


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
