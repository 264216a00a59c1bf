"""Tar headers, written by hand: the same entry gives the same 512 bytes under every Python (POSIX.1-2001, pax).

Values only. A pax record precedes an entry only when ustar's fields cannot hold it: a name that is not ASCII or cannot
be split into 155 + 100 bytes, a link target of more than 100, a number too large for its octal field.
"""

from __future__ import annotations

from typing import Literal

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two zero blocks close an archive."""

Kind = Literal["dir", "file", "link"]
_TYPE = {"file": b"0", "link": b"2", "dir": b"5"}
_NAME, _PREFIX, _LINK = 100, 155, 100


def header(
    path: str, kind: Kind, *, mode: int, size: int = 0, mtime: int = 0, uid: int = 0, gid: int = 0, target: str = ""
) -> bytes:
    """The header blocks of one entry, the pax record's first; `size` in bytes, `mtime` in seconds since 1970."""
    name = path.encode() + (b"/" if kind == "dir" else b"")
    link = target.encode()
    records: dict[str, bytes] = {}
    prefix, base = _split(name) or _rest(records, "path", name)
    if len(link) > _LINK or not link.isascii():
        _rest(records, "linkpath", link)
    numbers = {"uid": (uid, 7), "gid": (gid, 7), "size": (size, 11), "mtime": (mtime, 11)}
    octal = {key: _octal(records, key, value, width) for key, (value, width) in numbers.items()}
    fields = (
        _field(base, _NAME),
        b"%07o\0" % (mode & 0o7777),
        octal["uid"],
        octal["gid"],
        octal["size"],
        octal["mtime"],
    )
    block = _block(fields, _TYPE[kind], _field(link[:_LINK] if link.isascii() else b"", _LINK), prefix)
    return _pax(records) + block


def padding(size: int) -> int:
    """How many zero bytes follow content of `size` bytes."""
    return -size % BLOCK


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and name as ustar divides them at a slash; None if it cannot."""
    if not name.isascii():
        return None
    if len(name) <= _NAME:
        return b"", name
    cut = name.find(b"/", len(name) - _NAME - 1, len(name) - 1)
    return (name[:cut], name[cut + 1 :]) if 0 < cut <= _PREFIX else None


def _rest(records: dict[str, bytes], key: str, value: bytes) -> tuple[bytes, bytes]:
    records[key] = value
    return b"", value.decode().encode("ascii", "replace")[:_NAME]


def _octal(records: dict[str, bytes], key: str, value: int, width: int) -> bytes:
    if value < 0:
        raise ValueError(f"{key} of a tar entry is negative")
    if value >= 8**width:
        records[key] = str(value).encode()
        value = 0
    return b"%0*o\0" % (width, value)


def _field(value: bytes, width: int) -> bytes:
    return value.ljust(width, b"\0")


def _block(fields: tuple[bytes, ...], kind: bytes, link: bytes, prefix: bytes) -> bytes:
    """One ustar block: owner names empty, device numbers zero."""
    devices = b"%07o\0%07o\0" % (0, 0)
    tail = kind + link + b"ustar\x0000" + bytes(64) + devices + _field(prefix, _PREFIX) + bytes(12)
    front = b"".join(fields)
    return front + b"%06o\0 " % (sum(front) + sum(tail) + 8 * ord(" ")) + tail


def _pax(records: dict[str, bytes]) -> bytes:
    """The extended header (type `x`) for what ustar cannot say, keys sorted; nothing if there is none."""
    if not records:
        return b""
    body = b"".join(_record(key.encode(), records[key]) for key in sorted(records))
    zero = {width: b"%0*o\0" % (width, 0) for width in (7, 11)}
    fields = (_field(b"././@PaxHeader", _NAME), b"%07o\0" % 0o644, zero[7], zero[7], b"%011o\0" % len(body), zero[11])
    return _block(fields, b"x", bytes(_LINK), b"") + body + bytes(padding(len(body)))


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value\\n`, where length counts its own digits."""
    bare = len(key) + len(value) + 3
    length = bare + len(str(bare))
    length = bare + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
