"""Entries of a layer's tar: every header field and the digest of the content, read as a stream. Touches a store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from imagekit.content import CHUNK, Digest
from imagekit.errors import IntegrityError
from imagekit.oci import tar
from imagekit.oci.headers import FILE, FOLDER, HARD_LINK, LINK, Head, heads
from imagekit.oci.inflate import Inflated
from imagekit.oci.members import MOST_MEMBERS

_KINDS = {
    FILE: "file",
    HARD_LINK: "hard link",
    LINK: "link",
    FOLDER: "folder",
    b"3": "character device",
    b"4": "block device",
    b"6": "pipe",
}
_RECORD = re.compile(rb"\d+ (mtime|uid|gid|uname|gname)=([^\n]{0,64})\n")
_OCTAL = re.compile(rb"[ \0]*([0-7]{1,22})[ \0]*")
_NUMBERS = {"uid": (108, 116), "gid": (116, 124), "mtime": (136, 148)}
_NAMES = {"uname": (265, 297), "gname": (297, 329)}
_FORMATS = {b"ustar\x0000": "ustar", b"ustar  \0": "gnu"}


class Entry(msgspec.Struct, frozen=True):
    """One entry: `fields` by name, `digest` of a file's content, `header` of all its header blocks."""

    position: int
    fields: dict[str, str]
    size: int
    digest: Digest
    header: Digest


class _Recorder:
    """Passes reads on and keeps what was read, which between two entries is exactly the header blocks."""

    def __init__(self, source: Inflated) -> None:
        self._source, self._seen = source, bytearray()

    def __str__(self) -> str:
        return str(self._source)

    def read_at(self, offset: int, size: int, /) -> bytes:
        piece = self._source.read_at(offset, size)
        self._seen += piece
        return piece

    def taken(self) -> bytes:
        """The blocks since the last call."""
        raw = bytes(self._seen)
        self._seen.clear()
        return raw


def read_entries(source: Inflated) -> dict[str, Entry]:
    """Every entry by its path, in the order of the tar; a second one at a path gets a number behind it.

    Raises `FormatError` for a damaged tar, `IntegrityError` for more entries than any image has.
    """
    found: dict[str, Entry] = {}
    recorder = _Recorder(source)
    for head in heads(recorder, tuple(_KINDS)):
        if len(found) >= MOST_MEMBERS:
            raise IntegrityError(f"{source} has more than {MOST_MEMBERS} entries")
        name = _unused(_path(head.name), found)
        raw = recorder.taken()
        found[name] = Entry(len(found), _fields(head, raw), head.size, _content(source, head), _digest(raw))
    return found


def _unused(name: str, found: dict[str, Entry]) -> str:
    number, free = 1, name
    while free in found:
        number += 1
        free = f"{name} ({number})"
    return free


def _path(name: str) -> str:
    """As the tar writes it, with a slash before it; what is not UTF-8 is escaped."""
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "/" + shown.removeprefix("./").strip("/")


def _fields(head: Head, raw: bytes) -> dict[str, str]:
    """What the last block and the pax records before it say; in the order in which differences are told."""
    block = raw[-tar.BLOCK :]
    records = {key.decode(): value for key, value in _RECORD.findall(raw[: -tar.BLOCK])}
    numbers = {name: _number(block[a:b]) for name, (a, b) in _NUMBERS.items()}
    names = {
        name: block[a:b].partition(b"\0")[0].decode("utf-8", "backslashreplace") for name, (a, b) in _NAMES.items()
    }
    said = {key: value.decode("utf-8", "backslashreplace") for key, value in records.items()}
    return {
        "type": _KINDS[head.kind],
        "mode": f"{head.mode & 0o7777:04o}",
        **numbers,
        **names,
        **said,
        "target": _path(head.target) if head.target else "",
        "header format": _FORMATS.get(block[257:265], "tar")
        + (" with extended header" if len(raw) > tar.BLOCK else ""),
    }


def _number(field: bytes) -> str:
    if field[0] & 0x80:
        return str(int.from_bytes(field[1:], "big"))
    octal = _OCTAL.fullmatch(field)
    return str(int(octal[1], 8)) if octal else ""


def _content(source: Inflated, head: Head) -> Digest:
    state, at, end = hashlib.sha256(), head.content, head.content + head.size
    for piece in _pieces(source, at, end):
        state.update(piece)
    return Digest("sha256:" + state.hexdigest())


def _pieces(source: Inflated, at: int, end: int) -> Iterator[bytes]:
    while at < end:
        piece = source.read_at(at, min(CHUNK, end - at))
        if not piece:
            raise IntegrityError(f"{source} is cut")
        yield piece
        at += len(piece)


def _digest(raw: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(raw).hexdigest())


def extract(source: Inflated, wanted: dict[int, Path]) -> None:
    """Write the content of the entries at these positions to files of our own names; reads no further than the last."""
    left = dict(wanted)
    for position, head in enumerate(heads(source, tuple(_KINDS))):
        if path := left.pop(position, None):
            with path.open("wb") as out:
                for piece in _pieces(source, head.content, head.content + head.size):
                    out.write(piece)
        if not left:
            return
