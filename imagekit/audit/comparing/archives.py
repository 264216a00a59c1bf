"""Two archives compared entry by entry: tars, gzipped or not, and zips. Touches disk."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from imagekit.audit.comparing.difference import Change, LayerChange, Member
from imagekit.audit.comparing.layers import Held, compare_layers
from imagekit.audit.comparing.told import changes
from imagekit.content import Digest, hash_file
from imagekit.errors import FormatError
from imagekit.oci.documents import LAYER_GZIP, LAYER_TAR, Descriptor
from imagekit.oci.inflate import Inflated

_GZIP, _ZIP = b"\x1f\x8b", b"PK"


def compare_archives(one: Path, other: Path) -> LayerChange:
    """What differs between two archives that are not the same bytes.

    Raises `FormatError` for a damaged one, `IntegrityError` for one that cannot be decompressed.
    """
    if _starts(one, _ZIP) and _starts(other, _ZIP):
        return _zips(one, other)
    return compare_layers(_held(one), _held(other), "", 1)


def _starts(path: Path, magic: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic


class _File:
    """One file as a store of one blob."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def has(self, _digest: Digest, /) -> bool:
        return True

    def open(self, _digest: Digest, /) -> BinaryIO:
        return self._path.open("rb")


def _held(path: Path) -> Held:
    store, (digest, size) = _File(path), hash_file(path)
    layer = Descriptor(LAYER_GZIP if _starts(path, _GZIP) else LAYER_TAR, digest, size)
    with Inflated(store, layer) as source:
        return Held(store, layer, source.finish())


def _zips(one: Path, other: Path) -> LayerChange:
    before, after = _entries(one), _entries(other)
    members = []
    for path in dict.fromkeys((*before, *after)):
        if path in before and path in after:
            found = changes(before[path], after[path])
        else:
            found = (Change("entry", *("there" if path in side else None for side in (before, after))),)
        if found:
            members.append(Member(path=f"/{path}", changes=found))
    digests = [hash_file(path)[0] for path in (one, other)]
    why = "" if members else "the same entries, written otherwise"
    return LayerChange(
        platform="", number=1, one=digests[0], other=digests[1], same_content=False, why=why, members=tuple(members)
    )


def _entries(path: Path) -> Mapping[str, Mapping[str, str]]:
    try:
        with zipfile.ZipFile(path) as opened:
            return {entry.filename: _fields(entry) for entry in opened.infolist()}
    except zipfile.BadZipFile as error:
        raise FormatError(f"{path}: {error}") from error


def _fields(entry: zipfile.ZipInfo) -> dict[str, str]:
    year, month, day, hour, minute, second = entry.date_time
    return {
        "mode": f"{entry.external_attr >> 16 & 0o7777:04o}",
        "mtime": f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}",
        "compression": str(entry.compress_type),
        "content": f"{entry.file_size} bytes, CRC-32 {entry.CRC:08x}",
    }
