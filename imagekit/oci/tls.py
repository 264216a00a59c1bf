"""Trust in a registry's certificate, and our own certificate for it: where docker and podman look. Reads files.

For `host[:port]` a folder of that name under `certs.d` may hold authorities (`*.crt`) and a client's certificate with
its key (`*.cert` beside `*.key`). The first folder that is there counts.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from imagekit.errors import UsageError

SYSTEM_FOLDERS = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
_USER_FOLDERS = ("containers/certs.d", "docker/certs.d")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9a-fA-F:]+")


def certificates_folder(host: str, port: int | None) -> Path | None:
    """The folder with certificates for a host; None if there is none."""
    if not _NAME.fullmatch(host) or ".." in host:
        return None
    name = f"[{host}]" if ":" in host else host
    names = (f"{name}:{port}", name) if port in (443, None) else (f"{name}:{port}",)
    return next((folder / each for folder in _folders() for each in names if (folder / each).is_dir()), None)


def _folders() -> Iterator[Path]:
    try:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        pass
    else:
        yield from (home / name for name in _USER_FOLDERS)
    yield from SYSTEM_FOLDERS


def context(folder: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with the system's authorities, and those and the client certificate in `folder`.

    Raises `UsageError` that names the file which cannot be used.
    """
    made = _system()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if folder is not None:
        _add_authorities(made, folder)
        _add_own(made, folder)
    return made


def _system() -> ssl.SSLContext:
    """The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` honoured); certifi's where a system has none."""
    made = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    folder = Path(paths.capath) if paths.capath else None
    if paths.cafile is None and not (folder and any(folder.iterdir())):
        import certifi

        made.load_verify_locations(certifi.where())
    return made


def _add_authorities(made: ssl.SSLContext, folder: Path) -> None:
    for path in sorted(folder.glob("*.crt")):
        try:
            made.load_verify_locations(path)
        except OSError as error:
            raise _unusable(path, "not certificates in PEM", error) from error


def _add_own(made: ssl.SSLContext, folder: Path) -> None:
    """The first pair only: a handshake shows one certificate."""
    for path in sorted(folder.glob("*.cert"))[:1]:
        key = path.with_suffix(".key")
        try:
            # an empty password, or OpenSSL would ask the terminal for one
            made.load_cert_chain(path, key, password="")
        except (OSError, ValueError) as error:
            raise _unusable(path, f"no client certificate with its unencrypted key in {key.name}", error) from error


def _unusable(path: Path, why: str, error: Exception) -> UsageError:
    return UsageError(f"{path}: {why} ({type(error).__name__})", hint="replace the file, or take it away")
