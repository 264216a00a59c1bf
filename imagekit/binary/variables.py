"""The string variables of a Go program as its file holds them: the proof that `-X importpath.variable=value` took.

Touches disk.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from struct import pack

import msgspec

from imagekit.binary import goname, symbols
from imagekit.binary.elf import Elf
from imagekit.binary.formats import Program, programs
from imagekit.binary.layout import Layout
from imagekit.binary.macho import MachO
from imagekit.binary.window import open_window
from imagekit.errors import FormatError

_SET = ".str"
VALUE_LIMIT = 1 << 20
"""Bytes that a value may have; a command line has no room for more."""
_POINTER_MASK = (1 << 36) - 1
"""The target's bits in a chained fixup (DYLD_CHAINED_PTR_64 and _OFFSET, mach-o/fixup-chains.h)."""


class StringVariable(msgspec.Struct, frozen=True):
    """`address` is where the variable's string header is, at the program's preferred base."""

    address: int
    value: str


def string_variable(path: Path, name: str) -> StringVariable | None:
    """The variable `importpath.variable`, through the symbol table (of the first slice that has it).

    None if the table does not name it: stripped, misspelled, or dropped by the linker because nothing reads it.
    Raises `UnreadableError` for a path that cannot be opened, `FormatError` for a damaged file.
    """
    symbol = goname.symbol(name)
    for program in programs(open_window(path)) if symbol else ():
        address = symbols.address(program, symbol)
        if address is not None:
            return StringVariable(address, _string(program, address))
    return None


def set_variables(path: Path) -> dict[str, str]:
    """The variables that `-X` set, in a file with symbols: the linker calls the text of each `importpath.variable.str`.

    Raises `UnreadableError` for a path that cannot be opened, `FormatError` for a damaged file.
    """
    found: dict[str, str] = {}
    for program in programs(open_window(path)):
        for name in symbols.ending_in(program, _SET):
            package, _, variable = name.removeprefix("_").removesuffix(_SET).rpartition(".")
            address = symbols.address(program, f"{package}.{variable}")
            if address is not None:
                with suppress(FormatError):  # another symbol of that ending
                    found[f"{goname.unescaped(package)}.{variable}"] = _string(program, address)
    return found


def string_at(path: Path, address: int) -> str | None:
    """The string whose header is at a known address, symbols or none; None if no such address is mapped.

    Raises `UnreadableError` for a path that cannot be opened, `FormatError` for a damaged file.
    """
    for program in programs(open_window(path)):
        if program.layout.segment_at(address) is not None:
            return _string(program, address)
    return None


def _string(program: Program, address: int) -> str:
    """Follow the header (pointer, length) to the bytes; memory that is not in the file is zero, hence ''."""
    view, layout = program.view, program.layout
    header = layout.offset_of(address, 2 * layout.pointer)
    if header is None:
        return ""
    stored, length = view.unpack("QQ" if layout.pointer == 8 else "II", header, "Go string")
    if not length:
        return ""
    start = layout.offset_of(_target(program, address, stored), length) if length <= VALUE_LIMIT else None
    if start is None:
        raise FormatError(f"no Go string at address {address:#x}: {length} bytes", offset=view.base + header)
    return view.raw(start, length, "Go string").decode("utf-8", "surrogateescape")


def _target(program: Program, address: int, stored: int) -> int:
    """What the pointer at `address` will hold before any slide."""
    if isinstance(program, Elf):
        return _relocated(program, address, stored)
    if isinstance(program, MachO) and program.chained_fixups:
        return _chained(program.layout, stored)
    return stored


def _relocated(program: Elf, address: int, stored: int) -> int:
    """The addend of a RELA entry for this address; REL and relative relocations keep it in place."""
    view, width = program.view, program.layout.pointer
    needle = pack(view.order + ("Q" if width == 8 else "I"), address)
    for table in program.dynamic.relocations:
        step = 3 * width
        at = next(view.records(table.offset, table.size // step, step, needle), None) if table.addends else None
        if at is not None:
            return view.number(width, at + 2 * width, "relocation")
    return stored


def _chained(layout: Layout, stored: int) -> int:
    """A chained pointer's target: an address, or a distance from the first mapped segment."""
    target = stored & _POINTER_MASK
    if layout.offset_of(target) is not None:
        return target
    return target + min((s.address for s in layout.segments if s.size), default=0)
