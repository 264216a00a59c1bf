"""imagekit.lock: which bytes the name of a base stands for, tomorrow too. Touches disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from imagekit.content import Digest, parse_digest, parse_json, readable_json, write_whole
from imagekit.errors import ConfigError, IntegrityError
from imagekit.oci.reference import Reference

NAME = "imagekit.lock"
_HINT = "run: imagekit lock"
_LARGEST = 1 << 20


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`bases`: a reference as imagekit.yaml writes it -> the digest of its manifest or index."""

    version: Literal[1] = 1
    bases: dict[str, str] = {}

    def pinned(self, base: str) -> Reference:
        """The base at its digest: the one that it names itself, else the locked one; `ConfigError` if neither is."""
        named = Reference.parse(base)
        if named.digest:
            return named
        if base not in self.bases:
            raise ConfigError(f"{NAME} says nothing of the base {base}", hint=_HINT)
        return named.at(Digest(self.bases[base]))


def read(root: Path) -> Lock:
    """The lock beside imagekit.yaml; one without bases if there is none. Raises `ConfigError` for what is no lock."""
    path = root / NAME
    try:
        with path.open("rb") as stream:
            lock = parse_json(stream.read(_LARGEST), Lock)
        for digest in lock.bases.values():
            parse_digest(digest)
    except FileNotFoundError:
        return Lock()
    except (OSError, msgspec.MsgspecError, ValueError, IntegrityError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint=f"restore it, or delete it and {_HINT}") from error
    return lock


def write(root: Path, lock: Lock) -> bool:
    """Write the lock, whole; whether that changed anything."""
    content = readable_json(lock)
    path = root / NAME
    if path.is_file() and path.read_bytes() == content:
        return False
    write_whole(path, content)
    return True
