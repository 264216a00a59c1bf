"""Bytes of a file behind all that its headers describe: what self-extracting programs, and others, carry along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from imagekit.binary.elf import SHT_NOBITS, SHT_NULL, Elf
from imagekit.binary.facts import Evidence
from imagekit.binary.formats import Program
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe

_PADDING = 1 << 12
"""Fewer zeroes than that fill a page, or a sector before a PE file's signature: no overlay."""


def find(program: Program) -> tuple[int, Evidence] | None:
    """How many there are, and where they begin; the signature of a PE file, which stands last, is not counted."""
    view, begin = program.view, min(max(_ends(program)), program.view.size)
    left = view.size - begin
    if isinstance(program, Pe) and program.certificates[0] >= begin:
        left -= program.certificates[1]
    if left <= 0 or (left < _PADDING and not any(view.raw(begin, left, "overlay"))):
        return None
    return left, Evidence("behind all that the headers describe", view.base + begin, f"{left} bytes")


def _ends(program: Program) -> Iterator[int]:
    match program:
        case Elf():
            return _elf(program)
        case MachO():
            return _macho(program)
        case Pe():
            return _pe(program)
    assert_never(program)


def _elf(program: Elf) -> Iterator[int]:
    row = 56 if program.bits == 64 else 32
    yield program.program_headers + len(program.segments) * row
    yield program.section_headers + len(program.sections) * (64 if program.bits == 64 else 40)
    yield from (s.offset + s.size for s in program.segments)
    yield from (s.offset + s.size for s in program.sections if s.kind not in (SHT_NULL, SHT_NOBITS))


def _macho(program: MachO) -> Iterator[int]:
    yield sum((program.commands[-1].offset, program.commands[-1].size)) if program.commands else 0
    yield from (s.offset + s.size for s in program.layout.segments)
    if program.symbols:
        yield program.symbols.strings + program.symbols.strings_size
    if program.signature:
        yield sum(program.signature)


def _pe(program: Pe) -> Iterator[int]:
    yield from (s.offset + s.size for s in program.sections)
    yield program.layout.segments[-1].size  # the headers
    strings = program.symbols + program.symbol_count * 18
    if program.symbols and strings + 4 <= program.view.size:
        yield strings + program.view.number(4, strings, "string table")
