"""C functions that an ELF program calls: by its dynamic symbols or, if it is static, its symbol table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import pack

from imagekit.binary.elf import SHT_NOBITS, SHT_SYMTAB, Elf, Section
from imagekit.binary.facts import Evidence
from imagekit.binary.gonames import NAME_SERVICE, Found
from imagekit.errors import FormatError

_ASKED = re.compile(rb"(?:dlm?open|" + NAME_SERVICE.encode() + rb")\0")
_SANITIZER = re.compile(rb"\0(__[atm]san_init)(?=\0)")
_SANITIZERS = {b"t": "race", b"a": "asan", b"m": "msan"}
_SHN_UNDEF = 0
_TOLD_BY_STRINGS = ((b"\0/etc/gai.conf\0", "getaddrinfo"), (b"Illegal status in __nss_next.", "__nss_next"))
"""Strings of glibc that stand in a program only together with the function: for static programs without symbols."""


def called(program: Elf) -> Found:
    """Names of the name service and of loading that a program imports, in the order of its string table."""
    dynamic = program.dynamic
    if dynamic.names is None or dynamic.symbols is None:
        return {}
    return dict(_named(program, dynamic.names, dynamic.symbols, defined=False))


def held(program: Elf) -> Found:
    """Those that a static program has inside; by glibc's own strings where the symbols were removed.

    `dlopen` is left out: glibc puts it into every static program, called or not.
    """
    table, names = _table(program), _static_names(program)
    if table is None or names is None:
        return dict(_by_strings(program))
    symbols = table.offset, table.size // (24 if program.bits == 64 else 16)
    found = _named(program, names, symbols, defined=True)
    return {name: said for name, said in found if not name.startswith("dl")} or dict(_by_strings(program))


def _table(program: Elf) -> Section | None:
    return next((s for s in program.sections if s.kind == SHT_SYMTAB), None)


def _static_names(program: Elf) -> tuple[int, int] | None:
    """Offset and size of the symbol table's strings."""
    table = _table(program)
    if table is None or table.link >= len(program.sections):
        return None
    strings = program.sections[table.link]
    return None if strings.kind == SHT_NOBITS else (strings.offset, strings.size)


def sanitizers(program: Elf) -> Found:
    """`race`, `asan`, `msan`: the runtimes of the compilers' sanitizers, by their entry points."""
    found: Found = {}
    for where, names in (("dynamic symbols", program.dynamic.names), ("symbol table", _static_names(program))):
        for at, raw in program.view.matches(_SANITIZER, names[0], sum(names)) if names else ():
            found.setdefault(_SANITIZERS[raw[2:3]], Evidence(where, program.view.base + at, raw.decode()))
    return found


def _named(
    program: Elf, names: tuple[int, int], symbols: tuple[int, int], *, defined: bool
) -> Iterator[tuple[str, Evidence]]:
    """Names that a symbol of that kind has; strings may share their ends, so that a string alone is no name."""
    view, (start, count) = program.view, symbols
    width = 24 if program.bits == 64 else 16
    for at, raw in view.matches(_ASKED, names[0], sum(names)):
        needle = pack(view.order + "I", at - names[0])
        try:
            rows = [_section(program, row) for row in view.records(start, count, width, needle)]
        except FormatError:
            return
        if any((section != _SHN_UNDEF) == defined for section in rows):
            name = raw[:-1].decode()
            yield name, Evidence("symbol table" if defined else "dynamic symbols", view.base + at, name)


def _section(program: Elf, row: int) -> int:
    return program.view.number(2, row + (6 if program.bits == 64 else 14), "symbol")


def _by_strings(program: Elf) -> Iterator[tuple[str, Evidence]]:
    for needle, name in _TOLD_BY_STRINGS:
        for start, end in program.layout.spans(lambda segment: not segment.executable):
            found = program.view.find(needle, start, end)
            if found >= 0:
                yield name, Evidence("loaded bytes", program.view.base + found, needle.strip(b"\0").decode())
                break
