"""Go's function table (pclntab): which functions and packages a program holds, stripped or not.

The format is that of debug/gosym/pclntab.go; `read_functions` touches disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from imagekit.binary import goname
from imagekit.binary.formats import programs
from imagekit.binary.layout import Layout
from imagekit.binary.window import Window, open_window, readable
from imagekit.errors import FormatError

SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab", "__gopclntab")
_GO_1_2, _GO_1_16, _GO_1_18, _GO_1_20 = 0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1
_LITTLE, _BIG = (
    {pointer: re.compile(rest.replace(b"P", bytes([pointer])), re.DOTALL) for pointer in (4, 8)}
    for rest in (b"\xff\xff\xff\0\0[\1\2\4]P", b"\xff\xff\xff[\xf0\xf1\xfa\xfb]\0\0[\1\2\4]P")
)
"""Pointer size -> what a header has in common: little endian from its second byte on, big endian from the first."""
_NAMES_AT = {_GO_1_20: 3, _GO_1_18: 3, _GO_1_16: 2}
"""Which header word is the distance to the names; the next one ends them, the fourth after it begins the functions."""
_FUNCTION_LIMIT = 1 << 22
_NAMES_LIMIT = 1 << 27
"""Bytes of names; the largest programs known have some 40 million."""
_FILE_LIMIT = 1 << 16
_CANDIDATES = 1 << 12
_CHUNK = 1 << 18
_NAME_LIMIT = 1 << 16
_PACKAGE_LIMIT = 1 << 16
"""kubectl has 2,158; each is a string of its own in memory."""


class FunctionTable:
    """The names of all functions that were linked in, those inlined everywhere included.

    Names are searched where they stand in the mapped file; nothing is kept in memory.
    """

    def __init__(
        self,
        view: Window,
        offset: int,
        names: tuple[int, int],
        files: tuple[int, int] | None = None,
        entries: _Entries | None = None,
    ) -> None:
        self.view = view
        self.offset = offset
        """Where the table begins in its window."""
        self.files = files
        """Where the source files' names stand in its window, from Go 1.16 on one after another."""
        self.entries = entries
        """How names and files are found before Go 1.16."""
        self._start, self._end = names

    def contains(self, *markers: str | bytes) -> bool:
        """Whether any of the markers occurs in any function's name (`._Cfunc_`)."""
        return any(self.where(marker) is not None for marker in markers)

    def starts(self, *prefixes: str | bytes) -> bool:
        """Whether any function's name begins with any of the prefixes (`time.LoadLocation`, `os/user.`)."""
        return any(self.where_starts(prefix) is not None for prefix in prefixes)

    def where(self, marker: str | bytes) -> int | None:
        """Offset in the file of the first name part that equals `marker`."""
        found = self.view.find(_raw(marker), self._start, self._end)
        return self.view.base + found if found >= 0 else None

    def where_starts(self, prefix: str | bytes) -> int | None:
        """Offset in the file of the first name that begins with `prefix`."""
        raw = _raw(prefix)
        if self.view.find(raw, self._start, min(self._start + len(raw), self._end)) == self._start:
            return self.view.base + self._start
        found = self.view.find(b"\0" + raw, self._start, self._end)
        return self.view.base + found + 1 if found >= 0 else None

    def hits(self, pattern: re.Pattern[bytes]) -> Iterator[tuple[int, str]]:
        """Offset in the file and text of the pattern's group, wherever it matches; a name follows a NUL.

        At most 65,536 matches, in the table's order.
        """
        first = b"\0" + self.view.raw(self._start, min(_NAME_LIMIT, self._end - self._start), "function names")
        if found := pattern.match(first):
            yield self.view.base + self._start + found.start(1) - 1, readable(found[1])
        for at, raw in self.view.matches(pattern, self._start, self._end):
            yield self.view.base + at, readable(raw)

    def names(self) -> Iterator[str]:
        """Every function's name, in the table's order, escapes (`yaml%2ev2`) as they stand."""
        if self.entries is not None:
            yield from self.entries.names()
            return
        rest, left = b"", _FUNCTION_LIMIT
        for at in range(self._start, self._end, _CHUNK):
            *whole, rest = (rest + self.view.raw(at, min(_CHUNK, self._end - at), "function names")).split(b"\0")
            left -= len(whole)
            if len(rest) > _NAME_LIMIT or left < 0:
                raise FormatError("function names without an end", offset=self.view.base + at)
            yield from (readable(name) for name in whole if name)

    def packages(self) -> frozenset[str]:
        """Import paths of the packages that the functions belong to; generated and assembly functions have none.

        The runtime brings a few functions of `os/signal` and `runtime/debug` even if nothing imports these. Raises
        `FormatError` for a table with more packages than any program has.
        """
        found: set[str] = set()
        for package in map(goname.package_of, self.names()):
            found.add(package)
            if len(found) > _PACKAGE_LIMIT:
                raise FormatError("packages without an end", offset=self.view.base + self.offset)
        return frozenset(found - {""})


class _Entries:
    """The function list of Go 1.2 to 1.15, whose names stand between other tables."""

    def __init__(self, view: Window, table: Window, pointer: int, count: int) -> None:
        self._view, self._table, self._pointer, self._count = view, table, pointer, count

    def name(self, index: int) -> str:
        """Follow function table -> function -> name; raise `FormatError` where that leaves the table."""
        step = self._pointer
        function = self._table.number(step, 8 + step + index * 2 * step + step, "function table")
        return self._table.text(self._table.number(4, function + step, "function"), "function name")

    def names(self) -> Iterator[str]:
        return (self.name(index) for index in range(self._count))

    def files(self) -> Iterator[tuple[int, bytes]]:
        """Offset in the window and name of each source file; the list's place stands behind the functions."""
        step, table = self._pointer, self._table
        start = table.number(4, 8 + step + (2 * self._count + 1) * step, "file list")
        count = table.number(4, start, "file list")
        if count > _FILE_LIMIT:
            raise FormatError(f"{count} source files", offset=table.base + start)
        for (at,) in table.rows("I", start + 4, max(count, 1) - 1, "file list"):
            yield table.base + at - self._view.base, table.text(at, "file name").encode()


def _raw(marker: str | bytes) -> bytes:
    return marker.encode() if isinstance(marker, str) else marker


def read_functions(path: Path) -> FunctionTable | None:
    """The function table of a program (of the first slice that has one); None if there is none that can be read.

    Raises `UnreadableError` if the path cannot be opened, `FormatError` if the program's headers are damaged.
    """
    tables = (find(program.view, program.layout) for program in programs(open_window(path)))
    return next((table for table in tables if table is not None), None)


def find(view: Window, layout: Layout) -> FunctionTable | None:
    """The table in its own section, else wherever mapped bytes hold its magic and pass for one."""
    named = layout.section(*SECTIONS)
    if named is not None and (table := _parse(view, layout, named.offset, named.offset + named.size)):
        return table
    # Linkers keep the section's name; only a file without any is searched where its code stands, too.
    spans = layout.spans(lambda s: not s.executable)
    if not layout.sections:
        spans += layout.spans(lambda s: s.executable)
    candidates = (place for start, end in spans for place in _candidates(view, layout, start, end))
    tables = (_parse(view, layout, at, end) for at, end in islice(candidates, _CANDIDATES))
    return next((table for table in tables if table is not None), None)


def _candidates(view: Window, layout: Layout, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where a table may begin, and where it must end: one pass for all four magics, which differ in one byte."""
    little = view.order == "<"
    pattern = _LITTLE[layout.pointer] if little else _BIG[layout.pointer]
    for at, _ in view.matches(pattern, start, end):
        yield max(at - little, start), end


def _parse(view: Window, layout: Layout, at: int, end: int) -> FunctionTable | None:
    """The table that begins at this offset and ends before `end`; None if it cannot be one."""
    try:
        table = view.part(at, end - at, "function table")
        magic, zero, quantum, pointer = table.unpack("IHBB", 0, "function table header")
        if zero or quantum not in (1, 2, 4) or pointer != layout.pointer:
            return None
        count = table.number(pointer, 8, "function count")
        if not 0 < count <= _FUNCTION_LIMIT:
            return None
        if magic == _GO_1_2:
            return _parse_old(view, table, at, pointer, count)
        return _parse_new(view, table, at, pointer, count) if magic in _NAMES_AT else None
    except FormatError:
        return None


def _parse_new(view: Window, table: Window, at: int, pointer: int, count: int) -> FunctionTable | None:
    magic = table.number(4, 0, "function table header")
    words = table.unpack(("Q" if pointer == 8 else "I") * 5, 8 + _NAMES_AT[magic] * pointer, "function table header")
    names, units, files, lines, functions = words
    field = 4 if magic in (_GO_1_18, _GO_1_20) else pointer
    ordered = 8 < names < units <= files <= lines <= functions
    if not ordered or units - names > _NAMES_LIMIT or functions + (2 * count + 1) * field > table.size:
        return None
    if table.number(1, units - 1, "function names"):
        return None
    return FunctionTable(view, at, (at + names, at + units), files=(at + files, at + lines))


def _parse_old(view: Window, table: Window, at: int, pointer: int, count: int) -> FunctionTable | None:
    table.require(8 + pointer, (2 * count + 1) * pointer, "function table")
    entries = _Entries(view, table, pointer, count)
    if not entries.name(0) or not entries.name(count - 1):
        return None
    return FunctionTable(view, at, (at, at + table.size), entries=entries)
