"""What a PE file imports from each DLL (PE Format, "The .idata Section" and "Delay-Load Import Tables")."""

from __future__ import annotations

from collections.abc import Iterator

from imagekit.binary import importing
from imagekit.binary.facts import Evidence
from imagekit.binary.importing import Imports
from imagekit.binary.pe import Library, Pe

_HINT = 2
"""Bytes before a name."""


def read(program: Pe) -> tuple[Imports, Evidence | None]:
    """DLL -> names; `#12` is what is wanted by its number."""
    if not program.libraries:
        return {}, None
    imports = importing.by_library(program.needed, _names(program))
    delayed = tuple(dict.fromkeys(library.name for library in program.libraries if library.delayed))
    first, remark = program.libraries[0], f"; at the first call: {', '.join(delayed[:8])}" if delayed else ""
    where = "delay import table" if first.delayed else "import table"
    return imports, importing.evidence(where, program.view.base + first.offset, imports, remark)


def _names(program: Pe) -> Iterator[tuple[str, str]]:
    for library in program.libraries:
        for name in _wanted(program, library):
            yield library.name, name


def _wanted(program: Pe, library: Library) -> Iterator[str]:
    """The list of one DLL: numbers with the highest bit set, or addresses of names; zero ends it."""
    view, layout, width = program.view, program.layout, 8 if program.wide else 4
    by_number = 1 << (8 * width - 1)
    for index in range(importing.NAME_LIMIT):
        at = layout.offset_of(library.wanted + index * width, width)
        entry = view.number(width, at, "import list") if at is not None else 0
        if not entry:
            return
        if entry & by_number:
            yield f"#{entry & 0xFFFF}"
            continue
        # The addresses of Visual C++ 6's delayed imports are absolute.
        found = layout.offset_of(program.base + entry + _HINT) or layout.offset_of(entry + _HINT)
        if found is None:
            return
        yield view.text(found, "imported name")
