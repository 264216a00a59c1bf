"""Zip archives whose bytes depend on their entries alone (APPNOTE.TXT 6.3.10). Reads the files it packs.

Python's own zipfile compresses with the zlib that Python was built with, and that gives other bytes from build to build
(reference: python/cpython#91349). Here the records are written by hand around the raw deflate that layers are packed
with (ADR 0002). isal's output depends on how its input is cut: pieces are always 1 MiB.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from imagekit.content import CHUNK
from imagekit.errors import ConfigError, IntegrityError, UnreadableError
from imagekit.oci.layers import Compression, Entry, complete

LEVEL = 2
_EARLIEST, _LATEST = 315532800, 4354819199
"""1980-01-01 and 2107-12-31: what a DOS time can spell (4.4.6)."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_NEEDED = 20
_UNIX = 3 << 8
_UTF8 = 0x800
_STORED, _DEFLATED = 0, 8
_LARGEST = 2**32 - 1
_MOST = 2**16 - 1
_TYPES = {"file": 0o100000, "dir": 0o040000}
_DOS_FOLDER = 0x10


def identity() -> str:
    """What decides the bytes beside the entries: the compressor as `Compression.identity` names it."""
    return Compression("gzip", LEVEL).identity


class _Member(msgspec.Struct, frozen=True):
    """What the central directory says of a member; sizes and offset in bytes."""

    name: bytes
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    attributes: int


def write_zip(stream: BinaryIO, entries: Sequence[Entry], *, mtime: int) -> None:
    """Pour files and folders, sorted by path, into a new seekable `stream`; `mtime` in seconds since 1970, UTC.

    Times before 1980 become 1980. Raises `ConfigError` for links and for more than a zip without extensions can hold,
    `IntegrityError` for a file that is not what its entry promises.
    """
    when = _dos_time(mtime)
    ordered = complete(entries)
    if len(ordered) > _MOST:
        raise ConfigError(f"{len(ordered)} files are too many for a zip", hint="write `format: tar.gz`")
    members = [_add(stream, entry, when) for entry in ordered]
    start = _place(stream)
    for member in members:
        stream.write(_central(member, when))
    size = _place(stream) - start
    stream.write(_END.pack(b"PK\5\6", 0, 0, len(members), len(members), size, start, 0))


def _place(stream: BinaryIO) -> int:
    """Where the stream stands; raises where a 32-bit field could not say it."""
    place = stream.tell()
    if place > _LARGEST:
        raise ConfigError("the zip would be larger than 4 GiB", hint="write `format: tar.gz`")
    return place


def _dos_time(mtime: int) -> tuple[int, int]:
    """Time and date as DOS packs them, in steps of two seconds."""
    moment = datetime.fromtimestamp(min(max(mtime, _EARLIEST), _LATEST), UTC)
    time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
    return time, (moment.year - 1980) << 9 | moment.month << 5 | moment.day


def _add(stream: BinaryIO, entry: Entry, when: tuple[int, int]) -> _Member:
    """Write one member; its header first with zeros, filled in once the sizes are known."""
    if entry.kind not in _TYPES:
        raise ConfigError(f"/{entry.path}: a zip holds files and folders only")
    folder = entry.kind == "dir"
    name = entry.path.encode() + (b"/" if folder else b"")
    offset = _place(stream)
    stream.write(bytes(_LOCAL.size) + name)
    begin = stream.tell()
    crc, size = (0, 0) if folder else _deflate(stream, entry)
    packed = _place(stream) - begin
    member = _Member(
        name=name,
        method=_STORED if folder else _DEFLATED,
        crc=crc,
        packed=packed,
        size=size,
        offset=offset,
        attributes=(_TYPES[entry.kind] | entry.mode) << 16 | (_DOS_FOLDER if folder else 0),
    )
    stream.seek(offset)
    stream.write(_local(member, when))
    stream.seek(begin + packed)
    return member


def _local(member: _Member, when: tuple[int, int]) -> bytes:
    sizes = (member.crc, member.packed, member.size, len(member.name), 0)
    return _LOCAL.pack(b"PK\3\4", _NEEDED, _UTF8, member.method, *when, *sizes)


def _central(member: _Member, when: tuple[int, int]) -> bytes:
    sizes = (member.crc, member.packed, member.size, len(member.name), 0, 0, 0, 0)
    fixed = (_UNIX | _NEEDED, _NEEDED, _UTF8, member.method)
    return _CENTRAL.pack(b"PK\1\2", *fixed, *when, *sizes, member.attributes, member.offset) + member.name


def _deflate(stream: BinaryIO, entry: Entry) -> tuple[int, int]:
    """CRC-32 and size in bytes of the content, which is now in `stream`, deflated."""
    from isal import isal_zlib

    compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -15)
    state, crc, size = hashlib.sha256(), 0, 0
    with _content(entry) as source:
        while piece := source.read(CHUNK):
            state.update(piece)
            crc = isal_zlib.crc32(piece, crc)
            size += len(piece)
            if size > _LARGEST:
                raise ConfigError(f"{entry.path} is larger than 4 GiB", hint="write `format: tar.gz`")
            stream.write(compressor.compress(piece))
    stream.write(compressor.flush())
    if entry.digest not in (None, "sha256:" + state.hexdigest()):
        raise IntegrityError(f"{entry.content!s} was changed while it was packed", hint="build again")
    return crc, size


def _content(entry: Entry) -> BinaryIO:
    """The content, buffered: a read gives a whole piece until the last one."""
    if not isinstance(entry.content, Path):
        return io.BytesIO(entry.content)
    try:
        return entry.content.open("rb")
    except OSError as error:
        raise UnreadableError(f"{entry.content} cannot be packed: {error.strerror}") from error
