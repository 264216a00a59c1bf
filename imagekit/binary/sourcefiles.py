"""The source files that Go's function table lists: absolute paths tell of the machine that built the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import nsmallest

import msgspec

from imagekit.binary.facts import Evidence
from imagekit.binary.functions import FunctionTable
from imagekit.binary.window import readable
from imagekit.errors import FormatError

KEPT = 20
_ABSOLUTE = re.compile(rb"\0(/[^\0]{1,4095}|[A-Za-z]:[/\\][^\0]{0,4095}|\\\\[^\0]{1,4095})")
_PROC = b"/src/runtime/proc.go"
"""A file of every Go program: what stands before it is GOROOT."""
_NAME_LIMIT = 1 << 12


class Leak(msgspec.Struct, frozen=True):
    """`paths` are at most 20, those outside of Go's own tree first; `total` counts all, up to 65,536."""

    paths: tuple[str, ...]
    total: int
    evidence: Evidence | None


def leaked(table: FunctionTable) -> Leak | None:
    """The absolute paths of the table's file list; None if it has no list that can be read."""
    if table.files is None and table.entries is None:
        return None
    try:
        goroot, total = _goroot(table), 0

        def counted() -> Iterator[tuple[bool, bytes, int]]:
            nonlocal total
            for at, path in _absolute(table):
                total += 1
                yield goroot is not None and path.startswith(goroot), path, at

        kept = nsmallest(KEPT, counted())
    except FormatError:
        return None
    paths = tuple(readable(path) for _, path, _ in kept)
    said = Evidence("function table, file list", table.view.base + kept[0][2], readable(kept[0][1])) if kept else None
    return Leak(paths, total, said)


def _absolute(table: FunctionTable) -> Iterator[tuple[int, bytes]]:
    """Offset in the window and path, in the table's order."""
    if table.entries is not None:
        yield from ((at, path) for at, path in table.entries.files() if _ABSOLUTE.match(b"\0" + path))
    elif table.files is not None:
        yield from table.view.matches(_ABSOLUTE, table.files[0] - 1, table.files[1])


def _goroot(table: FunctionTable) -> bytes | None:
    """The folder of Go's own sources, with the slash behind it."""
    if table.entries is not None:
        own = next((path for _, path in table.entries.files() if path.endswith(_PROC)), None)
        return None if own is None else own[: -len(_PROC)] + b"/"
    start, end = table.files or (0, 0)
    found = table.view.find(_PROC + b"\0", start, end)
    if found < 0:
        return None
    before = table.view.raw(max(start, found - _NAME_LIMIT), found - max(start, found - _NAME_LIMIT), "file name")
    return before.rpartition(b"\0")[2] + b"/"
