"""Where a url leads: its origin, what kind of address it has, and whether a registry may send us there.

Values only. A registry was named by the user; where it sends us on (redirects, `Location`, token realms, `Link`) was
not, and is taken for hostile until it is shown to be harmless.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from enum import Enum
from urllib.parse import urljoin, urlsplit

from imagekit.errors import NetworkError
from imagekit.text import line

_SHOWN = 300
_PORTS = {"https": 443, "http": 80}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LONGEST_COUNTRY_LABEL = 3
Origin = tuple[str, str, int | None]
"""Scheme, host and port: what credentials are bound to (RFC 6454)."""


class Kind(Enum):
    """Whom an address belongs to."""

    PUBLIC = "a public address"
    PRIVATE = "a private address"
    LOOPBACK = "this machine"
    LINK = "a link-local address"


def origin(url: str) -> Origin:
    """Scheme, host and port of `url`, the port filled in; raises `ValueError` for a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


def authority(url: str) -> str:
    """`host[:port]` of `url`, as references spell it: without the usual port, IPv6 in brackets."""
    scheme, host, port = origin(url)
    name = f"[{host}]" if ":" in host else host
    return line(name if port == _PORTS.get(scheme) else f"{name}:{port}")


def kind_of(address: str) -> Kind | None:
    """The kind of an IP address, also where it is wrapped in IPv6; `localhost` counts; None for another name."""
    name = address.strip("[]").partition("%")[0].rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Kind.LOOPBACK
    try:
        found = _unwrapped(ipaddress.ip_address(name))
    except ValueError:
        return None
    if found.is_loopback or found.is_unspecified:
        return Kind.LOOPBACK
    if found.is_link_local or found.is_multicast:
        return Kind.LINK
    return Kind.PUBLIC if found.is_global else Kind.PRIVATE


def _unwrapped(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), else itself."""
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or found


def may_lead(kind: Kind, homes: Collection[Kind]) -> bool:
    """Whether somebody at addresses of kind `homes` may send us to one of kind `kind`.

    To public ones always, to link-local ones (where clouds keep their secrets) never, else only among their own kind.
    """
    return kind is Kind.PUBLIC or (kind is not Kind.LINK and kind in homes)


def joined(url: str, location: str) -> str:
    """Where `Location` of an answer from `url` leads; '' for what is no address. Users in it are refused as well."""
    try:
        new = urljoin(url, location)
        scheme, host, _ = origin(new)
    except ValueError:
        return ""
    clean = new.isascii() and new.isprintable() and " " not in new and "@" not in urlsplit(new).netloc
    return new if clean and host and scheme in _PORTS else ""


def same_site(host: str, other: str) -> bool:
    """Whether two hosts are one, or neighbours under a domain of at least two labels that can be somebody's own.

    `registry.example.com` and `auth.example.com` or `example.com` are; what only shares `com` or `co.uk` is not.
    """
    if host == other:
        return True
    if kind_of(host) or kind_of(other):
        return False
    domains = [host, host.partition(".")[2]]
    return any(_is_owned(domain) and f".{other}".endswith(f".{domain}") for domain in domains)


def _is_owned(domain: str) -> bool:
    labels = domain.split(".")
    short = len(labels) == 2 and len(labels[1]) == 2 and len(labels[0]) <= _LONGEST_COUNTRY_LABEL
    return len(labels) > 1 and not short


def shown_url(url: str) -> str:
    """`url` for messages, without user and query: uploads and signed addresses keep their secrets there."""
    scheme, mark, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return line(scheme + mark + host.rpartition("@")[2] + slash + path)[:_SHOWN]


def unencrypted(url: str, sender: str = "") -> NetworkError:
    """The error for an address, to which `sender` sends us, that is neither https nor http where that may be spoken."""
    sent = f"{shown_url(sender)} sends us to " if sender else ""
    return NetworkError(
        f"{sent}{shown_url(url)}, which would not be encrypted",
        hint="serve it over https; plain http is spoken to localhost, and to hosts with plain_http in registries.yaml",
    )
