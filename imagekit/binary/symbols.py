"""Addresses of named symbols, found by search in the mapped symbol tables of ELF, Mach-O and PE, never by a walk."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack
from typing import assert_never

from imagekit.binary import pe
from imagekit.binary.elf import SHT_SYMTAB, Elf
from imagekit.binary.formats import Program
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.binary.window import STRING_LIMIT, Window, readable
from imagekit.errors import FormatError

_SHN_UNDEF = 0
_COFF_SYMBOL = 18
_MACHO_STAB, _MACHO_TYPE, _MACHO_SECTION = 0xE0, 0x0E, 0x0E
_ENDING_LIMIT = 1 << 12
_NAME_LIMIT = 1 << 8
"""Places of a name in a string table that are looked at; a real one has a few."""
_HIT_LIMIT = 1 << 18
"""Places in the symbol table that are looked at for all of these together."""


def address(program: Program, name: str) -> int | None:
    """Where the program defines the symbol, as an absolute address at the preferred base; None if it does not."""
    match program:
        case Elf():
            return next(_elf(program, name), None)
        case MachO():
            return next((a for spelled in ("_" + name, name) for a in _macho(program, spelled)), None)
        case Pe():
            return next((a for spelled in (name, "_" + name) for a in _pe(program, spelled)), None)
    assert_never(program)


def ending_in(program: Program, suffix: str) -> Iterator[str]:
    """Every name in the program's string table that ends so, at most 4,096 of them, in the table's order."""
    view, span = program.view, _strings(program)
    if span is None:
        return
    raw, (at, end) = _raw(suffix) + b"\0", span
    for _ in range(_ENDING_LIMIT):
        found = view.find(raw, at, end)
        if found < 0:
            return
        start = max(at, found - STRING_LIMIT)
        yield readable(view.raw(start, found - start, "symbol name").rpartition(b"\0")[2] + _raw(suffix))
        at = found + len(raw)


def _strings(program: Program) -> tuple[int, int] | None:
    """Where the string table begins and ends; None without one."""
    match program:
        case Elf():
            table = next((s for s in program.sections if s.kind == SHT_SYMTAB), None)
            if table is None or table.link >= len(program.sections):
                return None
            strings = program.sections[table.link]
            return strings.offset, strings.offset + strings.size
        case MachO():
            found = program.symbols
            return (found.strings, found.strings + found.strings_size) if found else None
        case Pe():
            start = program.symbols + program.symbol_count * _COFF_SYMBOL
            return (start, start + program.view.number(4, start, "string table")) if program.symbol_count else None
    assert_never(program)


def _names(view: Window, start: int, size: int, name: str) -> Iterator[int]:
    """Distances from the start of a string table at which the name stands; linkers may share common endings."""
    raw, at, end = _raw(name) + b"\0", start, start + size
    for _ in range(_NAME_LIMIT):
        at = view.find(raw, at, end)
        if at < 0:
            return
        yield at - start
        at += 1
    raise FormatError(f"the string table repeats {name!r} too often", offset=view.base + start)


def _elf(program: Elf, name: str) -> Iterator[int]:
    view, wide = program.view, program.bits == 64
    table = next((s for s in program.sections if s.kind == SHT_SYMTAB), None)
    if table is None or table.link >= len(program.sections):
        return
    strings, width, hits = program.sections[table.link], 24 if wide else 16, iter(range(_HIT_LIMIT))
    for index in _names(view, strings.offset, strings.size, name):
        needle = pack(view.order + "I", index)
        for at in view.records(table.offset, table.size // width, width, needle, hits):
            if wide:
                _, _, _, section, value, _ = view.unpack("IBBHQQ", at, "symbol")
            else:
                _, value, _, _, _, section = view.unpack("IIIBBH", at, "symbol")
            if section != _SHN_UNDEF:
                yield value


def _macho(program: MachO, name: str) -> Iterator[int]:
    view, table, wide = program.view, program.symbols, program.layout.pointer == 8
    if table is None:
        return
    hits = iter(range(_HIT_LIMIT))
    for index in _names(view, table.strings, table.strings_size, name):
        needle = pack(view.order + "I", index)
        for at in view.records(table.offset, table.count, 16 if wide else 12, needle, hits):
            _, kind, _, _, value = view.unpack("IBBHQ" if wide else "IBBHI", at, "symbol")
            if not kind & _MACHO_STAB and kind & _MACHO_TYPE == _MACHO_SECTION:
                yield value


def _pe(program: Pe, name: str) -> Iterator[int]:
    """COFF symbols: a name of up to 8 bytes stands in the record, a longer one in the table after the records."""
    view, start, raw = program.view, program.symbols, _raw(name)
    if not program.symbol_count:
        return
    if len(raw) <= 8:
        yield from _pe_rows(program, raw.ljust(8, b"\0"))
        return
    strings = start + program.symbol_count * _COFF_SYMBOL
    for index in _names(view, strings, view.number(4, strings, "string table"), name):
        yield from _pe_rows(program, pack("<II", 0, index))


def _pe_rows(program: Pe, needle: bytes) -> Iterator[int]:
    view = program.view
    for at in view.records(program.symbols, program.symbol_count, _COFF_SYMBOL, needle):
        value, section = view.unpack("IH", at + 8, "symbol")
        if 0 < section <= len(program.sections):
            yield program.base + _base(program, section) + value


def _base(program: pe.Pe, section: int) -> int:
    return program.sections[section - 1].address


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
