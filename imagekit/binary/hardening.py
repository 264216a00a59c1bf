"""Hardening that an ELF file's own headers show, asked of each kind of file only where it means something.

A key that does not apply is `n/a`; None is not known. What is known has its evidence under the key's name.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from imagekit.binary import elf
from imagekit.binary.cnames import Imports
from imagekit.binary.elf import Elf
from imagekit.binary.facts import CgoUse, Evidence
from imagekit.binary.layout import Layout

Value = str | bool | None
NOT_APPLICABLE = "n/a"
DEBUG_SECTIONS = (".debug_", ".zdebug_")
_NX_BY_KERNEL = ("openbsd", "netbsd", "solaris", "illumos", "dragonfly", "android")
"""Systems that do not read PT_GNU_STACK: stacks are never executable there."""
_NO_FORTIFY = ("musl",)
"""C libraries without the functions that fortified programs call."""


class Hardening(msgspec.Struct, frozen=True):
    values: dict[str, Value]
    evidence: dict[str, Evidence]


class Notes:
    """Collects the keys in order; a value that is silent has no evidence."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._values: dict[str, Value] = {}
        self._evidence: dict[str, Evidence] = {}

    def add(self, key: str, value: Value, where: str = "", offset: int | None = None, shown: str = "") -> None:
        """`offset` counts from the start of the program; without `shown` the value itself is what was read."""
        self._values[key] = value
        if value is not None and value != NOT_APPLICABLE:
            at = None if offset is None else self._base + offset
            self._evidence[key] = Evidence(where, at, shown or str(value))

    def done(self) -> Hardening:
        return Hardening(self._values, self._evidence)


def of_elf(program: Elf, cgo: CgoUse, system: str, libc: str | None, is_go: bool, imported: Imports) -> Hardening:
    """pie, nx, relro, text_relocations, writable_code, stack_protector, fortify, symbols, debug."""
    notes = Notes(program.view.base)
    _pie(program, notes)
    _nx(program, system, notes)
    _relro(program, notes)
    dynamic = program.dynamic
    text = dynamic.text_relocations if dynamic.offset is not None else NOT_APPLICABLE
    notes.add("text_relocations", text, "PT_DYNAMIC", dynamic.offset, "DT_TEXTREL" if text is True else "no DT_TEXTREL")
    writable_code(program.layout, "program headers", program.program_headers, notes)
    has_c = not (is_go and cgo is CgoUse.ABSENT)
    _asked(program, imported, "stack_protector", (b"__stack_chk_fail",), has_c, notes)
    checked = (name for name in imported if name.endswith(b"_chk"))
    _asked(program, imported, "fortify", checked, has_c and libc not in _NO_FORTIFY, notes)
    _sections(program, notes)
    return notes.done()


def _pie(program: Elf, notes: Notes) -> None:
    """Asked of what is a program: shared objects are position-independent in any case."""
    dynamic = program.dynamic
    if program.kind == elf.ET_DYN and dynamic.pie:
        notes.add("pie", True, "PT_DYNAMIC", dynamic.pie_offset, "ET_DYN, DF_1_PIE")
    elif program.kind == elf.ET_EXEC or (program.kind == elf.ET_DYN and program.interpreter is not None):
        notes.add("pie", False, "ELF header", 16, "ET_EXEC" if program.kind == elf.ET_EXEC else "ET_DYN, no DF_1_PIE")
    else:
        notes.add("pie", NOT_APPLICABLE)


def _nx(program: Elf, system: str, notes: Notes) -> None:
    stack = program.segment(elf.PT_GNU_STACK)
    if system in _NX_BY_KERNEL or program.kind == elf.ET_REL:
        notes.add("nx", NOT_APPLICABLE)
    elif stack is None:
        notes.add("nx", False, "program headers", program.program_headers, "no PT_GNU_STACK")
    else:
        at, executable = _header_of(program, stack), bool(stack.flags & elf.PF_X)
        notes.add("nx", not executable, "PT_GNU_STACK", at, "executable" if executable else "not executable")


def _relro(program: Elf, notes: Notes) -> None:
    """`n/a` where nothing is relocated when the program starts, so that nothing could be made read-only after."""
    segment, dynamic = program.segment(elf.PT_GNU_RELRO), program.dynamic
    if segment is not None:
        value = "full" if dynamic.bind_now else "partial"
        bound = "bound at the start" if dynamic.bind_now else "no DT_BIND_NOW"
        notes.add("relro", value, "PT_GNU_RELRO", _header_of(program, segment), bound)
    elif program.kind != elf.ET_REL and (dynamic.offset is not None or program.kind == elf.ET_DYN):
        notes.add("relro", "none", "program headers", program.program_headers, "no PT_GNU_RELRO")
    else:
        notes.add("relro", NOT_APPLICABLE)


def _header_of(program: Elf, segment: elf.Segment) -> int:
    return program.program_headers + program.segments.index(segment) * (56 if program.bits == 64 else 32)


def _asked(program: Elf, imported: Imports, key: str, names: Iterable[bytes], applies: bool, notes: Notes) -> None:
    """Whether the C parts import one of the names; a static libc has such functions in any case: not known."""
    found = next((name for name in names if name in imported), None)
    if not applies or not program.dynamic.needed:
        notes.add(key, None if applies else NOT_APPLICABLE)
    elif found is None:
        at = program.dynamic.symbols[0] if program.dynamic.symbols else None
        notes.add(key, False, "dynamic symbols", at, "none is imported")
    else:
        at = imported[found] - program.view.base
        notes.add(key, True, "dynamic symbols", at, found.decode("ascii", "backslashreplace"))


def writable_code(layout: Layout, where: str, headers: int, notes: Notes) -> None:
    """Whether something that is mapped can be both written and executed."""
    found = next((s for s in layout.segments if s.writable and s.executable), None)
    at, shown = (headers, "none") if found is None else (found.offset, f"{found.name} at {found.address:#x}")
    notes.add("writable_code", found is not None, where, at, shown)


def _sections(program: Elf, notes: Notes) -> None:
    table = program.section(".symtab")
    at = table.offset if table else program.section_headers
    notes.add("symbols", table is not None, "section headers", at, ".symtab" if table else "no .symtab")
    first = next((s for s in program.sections if s.name.startswith(DEBUG_SECTIONS)), None)
    at, shown = (first.offset, first.name) if first else (program.section_headers, "no debug sections")
    notes.add("debug", first is not None, "section headers", at, shown)
