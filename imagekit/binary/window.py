"""Window: bounded reads of a file that is mapped, never loaded. Touches disk in `open_window`."""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from imagekit.errors import FormatError, UnreadableError

STRING_LIMIT = 1 << 12
"""Bytes that a NUL-terminated name may have (Linux PATH_MAX)."""
RAW_LIMIT = 1 << 24
"""Bytes that are copied out of the mapping at a time, at most."""
HIT_LIMIT = 1 << 16
"""Hits of one search that are looked at; a real table gives a handful."""


class Window:
    """A stretch of a file and its byte order; every offset is relative to `base` and checked before it is used.

    Reads past the end raise `FormatError`, whose offset is counted from the start of the file.
    """

    __slots__ = ("base", "buffer", "order", "size")

    def __init__(self, buffer: mmap.mmap | bytes, base: int, size: int, order: str = "<") -> None:
        self.buffer = buffer
        self.base = base
        self.size = size
        self.order = order

    def ordered(self, order: str) -> Window:
        """The same stretch, read as little (`<`) or big (`>`) endian."""
        return Window(self.buffer, self.base, self.size, order)

    def part(self, offset: int, size: int, what: str) -> Window:
        """A smaller stretch; raise `FormatError` if it is not all inside."""
        self.require(offset, size, what)
        return Window(self.buffer, self.base + offset, size, self.order)

    def require(self, offset: int, size: int, what: str) -> None:
        """Raise `FormatError` unless `size` bytes from `offset` are all inside."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise FormatError(
                f"{what}: {size} bytes at {offset:#x} do not fit in {self.size} bytes",
                offset=self.base + max(offset, 0),
            )

    def unpack(self, layout: str, offset: int, what: str) -> tuple[Any, ...]:
        """Integers laid out as `struct` says, without padding."""
        self.require(offset, struct.calcsize("=" + layout), what)
        return struct.unpack_from(self.order + layout, self.buffer, self.base + offset)

    def number(self, width: int, offset: int, what: str) -> int:
        """One unsigned integer of 1, 2, 4 or 8 bytes."""
        value: int = self.unpack({1: "B", 2: "H", 4: "I", 8: "Q"}[width], offset, what)[0]
        return value

    def rows(self, layout: str, offset: int, count: int, what: str) -> list[tuple[Any, ...]]:
        """`count` records of the same layout, one after another."""
        return list(
            struct.iter_unpack(self.order + layout, self.raw(offset, count * struct.calcsize("=" + layout), what))
        )

    def raw(self, offset: int, size: int, what: str) -> bytes:
        """A copy of at most 16 MiB."""
        self.require(offset, size, what)
        if size > RAW_LIMIT:
            raise FormatError(f"{what}: {size} bytes are more than {RAW_LIMIT}", offset=self.base + offset)
        return bytes(self.buffer[self.base + offset : self.base + offset + size])

    def text(self, offset: int, what: str, end: int | None = None) -> str:
        """A NUL-terminated name of at most 4 KiB that ends before `end`; bytes that are not UTF-8 are escaped."""
        self.require(offset, 0, what)
        stop = min(self.size if end is None else end, self.size, offset + STRING_LIMIT)
        found = self.find(b"\0", offset, stop)
        if found < 0:
            raise FormatError(f"{what}: no end of string", offset=self.base + offset)
        return readable(self.raw(offset, found - offset, what))

    def find(self, needle: bytes, start: int = 0, end: int | None = None) -> int:
        """Offset of the first `needle` that is wholly between `start` and `end`, -1 if there is none."""
        stop = self.size if end is None else min(end, self.size)
        if start > stop:
            return -1
        found = self.buffer.find(needle, self.base + start, self.base + stop)
        return found - self.base if found >= 0 else -1

    def matches(self, pattern: re.Pattern[bytes], start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Offset and bytes of what the pattern (its first group, if it has one) matches; 65,536 matches at most.

        Each search stands alone, so that nothing holds the mapping when the caller stops or fails.
        """
        at, stop = self.base + start, self.base + min(end, self.size)
        for _ in range(HIT_LIMIT):
            found = pattern.search(self.buffer, at, stop)
            if found is None:
                return
            group = 1 if pattern.groups else 0
            yield found.start(group) - self.base, found[group]
            at = max(found.end(), at + 1)

    def records(
        self, start: int, count: int, width: int, needle: bytes, hits: Iterable[int] = range(HIT_LIMIT)
    ) -> Iterator[int]:
        """Offsets of the records of a table that begin with `needle`; raise `FormatError` for far too many hits.

        Searches that share an iterator as `hits` share what they may find.
        """
        found, end = start, start + count * width
        for _ in hits:
            found = self.find(needle, found, end)
            if found < 0:
                return
            if not (found - start) % width:
                yield found
            found += 1
        raise FormatError("a table repeats itself too often", offset=self.base + start)


def readable(raw: bytes) -> str:
    """Bytes as text; what is not UTF-8 becomes `\\xff`-like escapes, so that the text can always be written."""
    return raw.decode("utf-8", "backslashreplace")


def open_window(path: Path) -> Window:
    """The whole regular file, mapped read-only; raise `UnreadableError` if it cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"{path} is not a regular file", hint="name the program's own file")
            if not status.st_size:
                return Window(b"", 0, 0)
            return Window(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), 0, status.st_size)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableError(f"cannot read {path}: {reason}", hint="check the path and its permissions") from error
