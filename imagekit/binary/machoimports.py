"""What a Mach-O slice imports from each library: what dyld itself reads (mach-o/loader.h, mach-o/fixup-chains.h)."""

from __future__ import annotations

from collections.abc import Iterator

from imagekit.binary import importing
from imagekit.binary.facts import Evidence
from imagekit.binary.importing import Imports
from imagekit.binary.macho import LC_CHAINED_FIXUPS, LC_DYSYMTAB, Command, MachO
from imagekit.binary.window import Window
from imagekit.errors import FormatError

_LC_DYLD_INFO = (0x22, 0x80000022)
_MH_TWOLEVEL = 0x80
_OPCODE_LIMIT = 1 << 17
_SPECIAL = {0: "this image", -1: "main executable", -2: "flat namespace", -3: "weak lookup"}
_CHAINED = {1: ("I", 8, 9), 2: ("Ii", 8, 9), 3: ("QQ", 16, 32)}
"""Imports format -> record, bits of the library's number, where the name's place begins."""
_DONE, _ORDINAL, _ORDINAL_ULEB, _ORDINAL_SPECIAL, _SYMBOL = 0x00, 0x10, 0x20, 0x30, 0x40
_ADDEND, _SEGMENT, _ADVANCE, _BIND, _BIND_ADVANCE, _BIND_TIMES, _THREADED = 0x60, 0x70, 0x80, 0x90, 0xA0, 0xC0, 0xD0


def read(program: MachO) -> tuple[Imports, Evidence | None]:
    """Library -> names as the linker spells them (`_malloc`): from fixups, bind opcodes or, without both, symbols."""
    for kinds, names in (((LC_CHAINED_FIXUPS,), _chained), (_LC_DYLD_INFO, _bound), ((LC_DYSYMTAB,), _undefined)):
        command = program.first(*kinds)
        if command is not None:
            imports = importing.by_library(program.needed, names(program, command))
            where = {_chained: "LC_DYLD_CHAINED_FIXUPS", _bound: "LC_DYLD_INFO"}.get(names, "LC_DYSYMTAB")
            return imports, importing.evidence(where, program.view.base + command.offset, imports)
    return {}, None


def _library(program: MachO, ordinal: int) -> str:
    """Libraries are counted from 1, in the order of their commands."""
    if 0 < ordinal <= len(program.needed):
        return program.needed[ordinal - 1]
    return _SPECIAL.get(ordinal, f"library {ordinal}")


def _chained(program: MachO, command: Command) -> Iterator[tuple[str, str]]:
    offset, size = program.view.unpack("II", command.offset + 8, "chained fixups")
    fixups = program.view.part(offset, size, "chained fixups")
    _, _, imports, symbols, count, kind, compressed = fixups.unpack("IIIIIII", 0, "chained fixups")
    if kind not in _CHAINED or compressed:
        raise FormatError("chained imports of a kind that is not known", offset=fixups.base)
    layout, bits, shift = _CHAINED[kind]
    for word, *_ in fixups.rows(layout, imports, min(count, importing.NAME_LIMIT), "chained imports"):
        ordinal = word & ((1 << bits) - 1)
        ordinal -= 1 << bits if ordinal >= (1 << bits) - 16 else 0
        name = word >> shift & (0x7FFFFF if bits == 8 else 0xFFFFFFFF)
        yield _library(program, ordinal), fixups.text(symbols + name, "chained import")


def _bound(program: MachO, command: Command) -> Iterator[tuple[str, str]]:
    """The opcodes for what is bound at the start, then for what is at the first call."""
    fields = program.view.unpack("10I", command.offset + 8, "LC_DYLD_INFO")
    for offset, size in (fields[2:4], fields[6:8]):
        if size:
            yield from _opcodes(program, program.view.part(offset, size, "bind opcodes"))


def _opcodes(program: MachO, codes: Window) -> Iterator[tuple[str, str]]:
    """A small machine of which only library and name matter; each bind gives one import."""
    at, ordinal, name = 0, 0, ""
    for _ in range(_OPCODE_LIMIT):
        if at >= codes.size:
            return
        byte = codes.number(1, at, "bind opcode")
        opcode, immediate, at = byte & 0xF0, byte & 0x0F, at + 1
        if opcode == _ORDINAL:
            ordinal = immediate
        elif opcode == _ORDINAL_ULEB:
            ordinal, at = _uleb(codes, at)
        elif opcode == _ORDINAL_SPECIAL:
            ordinal = immediate - 16 if immediate else 0
        elif opcode == _SYMBOL:
            name = codes.text(at, "bound name")
            at = codes.find(b"\0", at) + 1
        elif _BIND <= opcode <= _BIND_TIMES and name:
            yield _library(program, ordinal), name
        at = _skipped(codes, opcode, immediate, at)


def _skipped(codes: Window, opcode: int, immediate: int, at: int) -> int:
    """Behind the numbers that follow an opcode."""
    numbers = {_ADDEND: 1, _SEGMENT: 1, _ADVANCE: 1, _BIND_ADVANCE: 1, _BIND_TIMES: 2}.get(opcode, 0)
    if opcode == _THREADED and not immediate:
        numbers = 1
    for _ in range(numbers):
        _, at = _uleb(codes, at)
    return at


def _uleb(codes: Window, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = codes.number(1, at, "bind opcode")
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
    raise FormatError("a number of more than ten bytes", offset=codes.base + at)


def _undefined(program: MachO, command: Command) -> Iterator[tuple[str, str]]:
    """Symbols that the file does not define; the upper byte of n_desc is the library's number."""
    view, table = program.view, program.symbols
    if table is None:
        return
    first, count = view.unpack("II", command.offset + 24, "LC_DYSYMTAB")
    width, layout = (16, "IBBHQ") if program.layout.pointer == 8 else (12, "IBBHI")
    if first + count > table.count:
        raise FormatError("undefined symbols outside of the symbol table", offset=view.base + command.offset)
    rows = view.rows(layout, table.offset + first * width, min(count, importing.NAME_LIMIT), "undefined symbols")
    for name, _, _, description, _ in rows:
        ordinal = description >> 8 if program.flags & _MH_TWOLEVEL else -2
        ordinal -= 256 if ordinal >= 0xFE else 0
        end = table.strings + table.strings_size
        yield _library(program, ordinal), view.text(table.strings + name, "symbol name", end)
