"""Which proxy a request goes through: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, read as Go programs read them.

Upper case before lower case. This machine is never reached through one. Reads the environment.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import unquote, urlsplit

import msgspec

from imagekit.errors import UsageError
from imagekit.oci.addresses import Kind, kind_of


class Proxy(msgspec.Struct, frozen=True):
    """A proxy's address without its account; the account as `name:password`, never shown."""

    url: str
    account: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"


def find_proxy(scheme: str, host: str, port: int | None) -> Proxy | None:
    """The proxy for requests to a host; None for straight ones. Raises `UsageError` for an address that is none."""
    name = f"{scheme.upper()}_PROXY"
    given = _variable(name)
    if not given or kind_of(host) is Kind.LOOPBACK or _excepted(host, port, _variable("NO_PROXY")):
        return None
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        where = f"{parts.scheme}://{_bracketed(parts.hostname or '')}:{parts.port or _default(parts.scheme)}"
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # its value may hold a password
        raise UsageError(f"{name} is not the address of an http proxy", hint="write http://proxy.example:3128")
    account = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    return Proxy(where, account)


def _variable(name: str) -> str:
    return (os.environ.get(name) or os.environ.get(name.lower()) or "").strip()


def _default(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _excepted(host: str, port: int | None, exceptions: str) -> bool:
    return any(_meets(host, port, word.strip().lower()) for word in exceptions.split(",") if word.strip())


def _meets(host: str, port: int | None, word: str) -> bool:
    """One word of NO_PROXY: `*`, a network, `host`, `.domain`, each but the first with a port perhaps."""
    if word == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(word, strict=False)
    except ValueError:
        pass
    name, _, wanted = word.rpartition(":") if word.rpartition(":")[2].isdecimal() else (word, "", "")
    name = name.strip("[]").removeprefix("*")
    if wanted and wanted != str(port):
        return False
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith("." + name)
