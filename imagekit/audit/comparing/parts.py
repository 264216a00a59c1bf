"""Parts: the named stretches that a program's file is made of, so that two files are compared like by like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise

import msgspec

from imagekit.binary import functions
from imagekit.binary.elf import PF_W, PF_X, PT_LOAD, SHT_NOBITS, SHT_NULL, Elf
from imagekit.binary.formats import Program
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.binary.window import Window

_COMMANDS = {
    0x2: "LC_SYMTAB",
    0xB: "LC_DYSYMTAB",
    0xC: "LC_LOAD_DYLIB",
    0xE: "LC_LOAD_DYLINKER",
    0x19: "LC_SEGMENT_64",
    0x1: "LC_SEGMENT",
    0x1B: "LC_UUID",
    0x1D: "LC_CODE_SIGNATURE",
    0x24: "LC_VERSION_MIN_MACOSX",
    0x2A: "LC_SOURCE_VERSION",
    0x32: "LC_BUILD_VERSION",
    0x80000028: "LC_MAIN",
}
_NAMES_WORD = {0xFFFFFFF1: 3, 0xFFFFFFF0: 3, 0xFFFFFFFA: 2}
"""By magic (Go 1.20, 1.18, 1.16): which word of the header says where the names begin; the other tables follow."""
_TABLES = ("Go function names", "Go compile units", "Go file names", "Go line tables")
_BUILD_ID, _HEAD = b'\xff Go build ID: "', 4096


class Part(msgspec.Struct, frozen=True):
    """`size` bytes from `offset` on, relative to the program's window."""

    name: str
    offset: int
    size: int


def parts(program: Program) -> tuple[Part, ...]:
    """Headers, sections and whatever lies between them, in the order of the file; each byte belongs to one part."""
    match program:
        case Elf():
            named = _elf(program)
        case MachO():
            named = _macho(program)
        case Pe():
            named = _pe(program)
    inner = sorted((*_build_id(program), *_function_table(program)), key=lambda part: part.offset)
    return _whole(program.view, chain.from_iterable(_carved(part, inner) for part in named))


def _carved(outer: Part, inner: Sequence[Part]) -> Iterator[Part]:
    """A part without those that lie wholly in it, and these."""
    at, end = outer.offset, outer.offset + outer.size
    for part in inner:
        if at <= part.offset and part.offset + part.size <= end:
            yield Part(outer.name, at, part.offset - at)
            yield part
            at = part.offset + part.size
    yield Part(outer.name, at, end - at)


def _build_id(program: Program) -> Iterator[Part]:
    """Go's build id, which formats without notes have at the begin of the code."""
    section = program.layout.section(".text", "__text")
    if section is None:
        return
    view, head = program.view, min(_HEAD, section.size)
    start = view.find(_BUILD_ID, section.offset, section.offset + head)
    end = view.find(b'"\n', start, start + _HEAD) if start >= 0 else -1
    if end >= 0:
        yield Part("Go build id", start, end - start)


def _function_table(program: Program) -> Iterator[Part]:
    """The tables of Go's function table (1.16 and later), whose order `functions.find` has checked."""
    table = functions.find(program.view, program.layout)
    if table is None:
        return
    view, at = program.view, table.offset
    magic, _, _, pointer = view.unpack("IHBB", at, "function table header")
    if magic not in _NAMES_WORD:
        return
    first = at + 8 + _NAMES_WORD[magic] * pointer
    starts = view.unpack(("Q" if pointer == 8 else "I") * (len(_TABLES) + 1), first, "function table header")
    for name, (start, end) in zip(_TABLES, pairwise(starts), strict=True):
        yield Part(name, at + start, end - start)
    section = program.layout.section(*functions.SECTIONS)
    if section is not None and section.offset == at:
        yield Part("Go functions", at + starts[-1], section.size - starts[-1])


def _whole(view: Window, named: Iterable[Part]) -> tuple[Part, ...]:
    """The parts that stand in the file, cut where they overlap, with what lies between and behind them."""
    found: list[Part] = []
    at, last, seen = 0, "start", dict[str, int]()
    for part in sorted(named, key=lambda each: (each.offset, -each.size)):
        if part.offset > at:
            found.append(Part(f"after {last}", at, part.offset - at))
        start, end = max(part.offset, at), min(part.offset + part.size, view.size)
        if end > start:
            seen[part.name] = number = seen.get(part.name, 0) + 1
            found.append(Part(part.name if number == 1 else f"{part.name} ({number})", start, end - start))
            at, last = end, part.name
    if at < view.size:
        found.append(Part(f"after {last}", at, view.size - at))
    return tuple(found)


def _elf(program: Elf) -> Iterator[Part]:
    wide = program.bits == 64
    yield Part("ELF header", 0, 64 if wide else 52)
    yield Part("program headers", program.program_headers, len(program.segments) * (56 if wide else 32))
    if program.sections:
        at = program.view.number(8 if wide else 4, 0x28 if wide else 0x20, "section headers")
        yield Part("section headers", at, len(program.sections) * (64 if wide else 40))
    for section in program.sections:
        if section.kind not in (SHT_NULL, SHT_NOBITS):
            yield Part(section.name or "unnamed section", section.offset, section.size)
    if not program.sections:
        for segment in program.segments:
            if segment.kind == PT_LOAD:
                rights = "r" + ("w" if segment.flags & PF_W else "-") + ("x" if segment.flags & PF_X else "-")
                yield Part(f"segment {rights}", segment.offset, segment.size)


def _macho(program: MachO) -> Iterator[Part]:
    head = 32 if program.layout.pointer == 8 else 28
    yield Part("Mach-O header", 0, head)
    for command in program.commands:
        yield Part(_COMMANDS.get(command.kind, f"load command {command.kind:#x}"), command.offset, command.size)
    for section in program.layout.sections:
        yield Part(section.name, section.offset, section.size)
    if program.symbols:
        width = 16 if program.layout.pointer == 8 else 12
        yield Part("symbol table", program.symbols.offset, program.symbols.count * width)
        yield Part("symbol names", program.symbols.strings, program.symbols.strings_size)
    if program.signature:
        yield Part("code signature", *program.signature)


def _pe(program: Pe) -> Iterator[Part]:
    yield Part("DOS header", 0, program.header)
    yield Part("COFF header", program.header, 24)
    optional = program.view.number(2, program.header + 20, "optional header size")
    yield Part("optional header", program.header + 24, optional)
    yield Part("section table", program.header + 24 + optional, len(program.sections) * 40)
    for section in program.sections:
        if section.size:
            yield Part(section.name, section.offset, section.size)
    if program.symbol_count:
        yield Part("COFF symbols", program.symbols, program.symbol_count * 18)
    if program.signed:
        yield Part("Authenticode signature", *program.directory(4))
