"""What the user says about registries: registries.yaml. Reads a file.

It is `$IMAGEKIT_REGISTRIES`, else `$XDG_CONFIG_HOME/imagekit/registries.yaml`; none is needed. Nothing a registry or an
image says can add to it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from imagekit.errors import ConfigError, UsageError
from imagekit.oci.reference import Reference


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is special about one registry."""

    plain_http: bool = False
    """Speak http to it, without encryption, credentials included."""
    mirrors: tuple[str, ...] = ()
    """`host[:port][/prefix]`: asked first, in this order, for what is read; never written to."""
    token_hosts: tuple[str, ...] = ()
    """Hosts outside its own domain, `host[:port]`, whose token service may see its credentials."""
    storage_hosts: tuple[str, ...] = ()
    """`host[:port]` where it may send us for blobs and uploads, be the address a private one, or this machine's."""


class Registries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """registries.yaml; hosts are spelled as in references, with their port."""

    version: int = 1
    registries: dict[str, Host] = {}

    def host(self, name: str) -> Host:
        """What is said of `host[:port]`; nothing special for one that is not named."""
        return self.registries.get(name, _NOTHING)


_NOTHING = Host()


def registries_file() -> Path | None:
    """Where registries.yaml is; None if there is none. Raises `UsageError` if the variable names one that is not."""
    given = os.environ.get("IMAGEKIT_REGISTRIES")
    if given:
        if not Path(given).is_file():
            raise UsageError(f"IMAGEKIT_REGISTRIES: {given} is not a file", hint="correct or unset the variable")
        return Path(given)
    try:
        root = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:
        return None
    path = Path(root) / "imagekit" / "registries.yaml"
    return path if path.is_file() else None


def load_registries() -> Registries:
    """What registries.yaml says; raises `ConfigError` with file and line for what it cannot say."""
    path = registries_file()
    if path is None:
        return Registries()
    from imagekit.loading import load_document

    found = load_document(path, Registries).value
    if found.version != 1:
        raise ConfigError(f"{path}: version {found.version} is not known", hint="write version: 1")
    for name, host in found.registries.items():
        _check(path, name, host)
    return found


def _check(path: Path, name: str, host: Host) -> None:
    for each in (name, *host.token_hosts, *host.storage_hosts):
        if "/" in each or not _is_host(each):
            raise ConfigError(f"{path}: {each!r} is not a registry's host", hint="write host or host:port")
    for mirror in host.mirrors:
        if not _is_host(mirror.partition("/")[0]):
            raise ConfigError(f"{path}: the mirror {mirror!r} of {name} is none", hint="write host[:port][/prefix]")
        mirrored(mirror, Reference(name, "x"))


def _is_host(text: str) -> bool:
    try:
        return Reference.parse(f"{text}/x").host == text
    except UsageError:
        return False


def mirrored(mirror: str, reference: Reference) -> Reference:
    """Where a mirror keeps what `reference` names."""
    host, _, prefix = mirror.partition("/")
    place = Reference.parse("/".join(filter(None, (host, prefix, reference.repository))))
    return Reference(place.host, place.repository, reference.tag, reference.digest)
