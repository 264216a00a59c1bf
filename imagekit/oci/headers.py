"""Tar headers, read strictly: ustar, pax and GNU long names; sparse files and whatever else is refused.

Values from bytes: the source is read forward only, so it may be a stream that is being decompressed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

import msgspec

from imagekit.errors import FormatError, UnreadableError
from imagekit.oci import tar
from imagekit.oci.inflate import GZIP, ZSTD

FILE, HARD_LINK, LINK, FOLDER = b"0", b"1", b"2", b"5"
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENDED = (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK)
_OLD_FILE = b"\0"
_PACKED = ((GZIP, "gzip"), (ZSTD, "zstd"), (b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"))
_LONGEST_RECORD = 64 << 10
_MOST_RECORDS = 512
_READ = (b"path", b"linkpath", b"size")
"""The pax records that matter here; others are passed over, so that no archive fills the memory with them."""
_OCTAL = re.compile(rb"[ \0]*([0-7]{1,12})[ \0]*")
_RECORD = re.compile(rb"(\d{1,6}) ")


class Source(Protocol):
    """Bytes at offsets that only grow; `str()` is what errors call it."""

    def read_at(self, offset: int, size: int, /) -> bytes: ...


class Head(msgspec.Struct, frozen=True):
    """One entry: what its header says, where header (with its records) and content begin, in bytes."""

    name: str
    kind: bytes
    size: int
    start: int
    content: int
    mode: int = 0
    target: str = ""
    uid: int = 0
    gid: int = 0

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.content + self.size + tar.padding(self.size)


def heads(source: Source, kinds: tuple[bytes, ...]) -> Iterator[Head]:
    """Every entry up to the first block of zeros, pax and GNU records merged in; the content is there to be read.

    Raises `FormatError` for what is no tar, is damaged, or has an entry of another kind than `kinds`, `UnreadableError`
    for a tar that is compressed as a whole.
    """
    position, start = 0, 0
    records: dict[str, str] = {}
    while (block := source.read_at(position, tar.BLOCK)).strip(b"\0"):
        head = _parsed(source, block, position)
        if head.kind in _EXTENDED:
            records.update(_records(source, head))
        elif head.kind not in kinds:
            raise FormatError(f"{source}: {head.name!r} is a tar entry of type {head.kind!r}", offset=position)
        else:
            head = _merged(source, head, records, start)
            yield head
            start, records = head.end, {}
        position = head.end
    if records or len(block) < tar.BLOCK:
        raise FormatError(f"{source}: the tar is cut", offset=position)


def _parsed(source: Source, block: bytes, start: int) -> Head:
    if len(block) < tar.BLOCK or block[257:262] != b"ustar" or not _checksum_fits(source, block, start):
        raise _no_tar(source, block, start)
    name, prefix, target = (_text(block[a:b]) for a, b in ((0, 100), (345, 500), (157, 257)))
    if prefix and block[257:265] == b"ustar\x0000":
        name = f"{prefix}/{name}"
    kind = FILE if block[156:157] == _OLD_FILE else block[156:157]
    stated = _number(source, block, slice(124, 136), start)
    size = stated if kind in (FILE, *_EXTENDED) else 0
    mode = _number(source, block, slice(100, 108), start)
    uid, gid = _owner(block[108:116]), _owner(block[116:124])
    return Head(name, kind, size, start, start + tar.BLOCK, mode, target, uid, gid)


def _no_tar(source: Source, block: bytes, start: int) -> UnreadableError:
    packer = next((name for magic, name in _PACKED if block.startswith(magic) and not start), "")
    if packer:
        return UnreadableError(f"{source} is compressed with {packer}", hint=f"unpack it first, with {packer} -dc")
    return FormatError(f"{source} is not a tar archive, or is damaged", offset=start)


def _checksum_fits(source: Source, block: bytes, start: int) -> bool:
    stated = _number(source, block, slice(148, 156), start)
    return stated == sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")


def _number(source: Source, block: bytes, where: slice, start: int) -> int:
    field = block[where]
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if octal := _OCTAL.fullmatch(field):
        return int(octal[1], 8)
    raise FormatError(f"{source} is not a tar archive, or is damaged", offset=start + where.start)


def _owner(field: bytes) -> int:
    """A user's or group's number; 0 where the field is empty, as some tools leave it."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    octal = _OCTAL.fullmatch(field)
    return int(octal[1], 8) if octal else 0


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _records(source: Source, head: Head) -> dict[str, str]:
    if head.size > _LONGEST_RECORD:
        raise FormatError(f"{source}: an extended header of {head.size} bytes", offset=head.start)
    body = source.read_at(head.content, head.size)
    match head.kind:
        case b"L":
            return {"path": _text(body)}
        case b"K":
            return {"linkpath": _text(body)}
        case b"g":
            return {}
    return dict(_pairs(source, body, head))


def _pairs(source: Source, body: bytes, head: Head) -> Iterator[tuple[str, str]]:
    for _ in range(_MOST_RECORDS):
        if not body:
            return
        length = _RECORD.match(body)
        end = int(length[1]) if length else 0
        key, equals, value = body[length.end() if length else 0 : max(end - 1, 0)].partition(b"=")
        if not equals or body[end - 1 : end] != b"\n" or key.startswith(b"GNU.sparse"):
            raise FormatError(f"{source}: a damaged or sparse pax record", offset=head.content)
        if key in _READ:
            yield _text(key), _text(value)
        body = body[end:]
    if body:
        raise FormatError(f"{source}: more than {_MOST_RECORDS} pax records for one entry", offset=head.content)


def _merged(source: Source, head: Head, records: dict[str, str], start: int) -> Head:
    size = records.get("size", "")
    if size and not (size.isascii() and size.isdecimal() and len(size) < 20 and head.kind == FILE):
        raise FormatError(f"{source}: a size that is no number", offset=start)
    return msgspec.structs.replace(
        head,
        name=records.get("path", head.name),
        target=records.get("linkpath", head.target),
        size=int(size) if size else head.size,
        start=start,
    )
