"""C functions that an ELF program calls: by its dynamic symbols or, if it is static, its symbol table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import pack

from imagekit.binary.elf import SHT_NOBITS, SHT_SYMTAB, Elf, Section
from imagekit.binary.facts import Evidence
from imagekit.binary.gonames import NAME_SERVICE, Found
from imagekit.errors import FormatError

_NSS = re.compile(rb"(?:" + NAME_SERVICE.encode() + rb")\0")
_SANITIZERS = {b"__tsan_init": "race", b"__asan_init": "asan", b"__msan_init": "msan"}
_LOADERS = (b"dlopen", b"dlmopen")
_SHN_UNDEF = 0
_SYMBOL_LIMIT, _NAME_LIMIT = 1 << 14, 64
Imports = dict[bytes, int]
"""Name of an imported symbol (its first 64 bytes) -> where it stands in the file."""
_TOLD_BY_STRINGS = ((b"\0/etc/gai.conf\0", "getaddrinfo"), (b"Illegal status in __nss_next.", "__nss_next"))
"""Strings of glibc that stand in a program only together with the function: for static programs without symbols."""


def imports(program: Elf) -> Imports:
    """The symbols that the dynamic table asks for, in its order, of the first 16,384; {} where there are none."""
    view, dynamic, wide = program.view, program.dynamic, program.bits == 64
    if dynamic.names is None or dynamic.symbols is None:
        return {}
    at, count = dynamic.symbols
    rows = view.rows("IBBHQQ" if wide else "IIIBBH", at, min(count, _SYMBOL_LIMIT), "dynamic symbols")
    start, size, column, found = view.base + dynamic.names[0], dynamic.names[1], 3 if wide else 5, Imports()
    for row in rows:
        if row[column] == _SHN_UNDEF and 0 < row[0] < size:
            at = start + row[0]
            found[bytes(view.buffer[at : at + _NAME_LIMIT]).partition(b"\0")[0]] = at
    return found


def called(imported: Imports) -> Found:
    """Those of the name service and of loading."""
    return {
        (word := name.decode()): Evidence("dynamic symbols", at, word)
        for name, at in imported.items()
        if name in _LOADERS or (name.startswith((b"get", b"init")) and _NSS.match(name + b"\0"))
    }


def held(program: Elf) -> Found:
    """Those that a static program has inside; by glibc's own strings where the symbols were removed.

    `dlopen` is left out: glibc puts it into every static program, called or not.
    """
    table, names = _table(program), _static_names(program)
    if table is None or names is None:
        return dict(_by_strings(program))
    symbols = table.offset, table.size // (24 if program.bits == 64 else 16)
    return dict(_defined(program, names, symbols)) or dict(_by_strings(program))


def _table(program: Elf) -> Section | None:
    return next((s for s in program.sections if s.kind == SHT_SYMTAB), None)


def _static_names(program: Elf) -> tuple[int, int] | None:
    """Offset and size of the symbol table's strings."""
    table = _table(program)
    if table is None or table.link >= len(program.sections):
        return None
    strings = program.sections[table.link]
    return None if strings.kind == SHT_NOBITS else (strings.offset, strings.size)


def sanitizers(program: Elf, imported: Imports) -> Found:
    """`race`, `asan`, `msan`: the runtimes of the compilers' sanitizers, by their entry points.

    gcc's are libraries; clang's stand in the program itself, which exports them.
    """
    found = {_SANITIZERS[n]: Evidence("dynamic symbols", imported[n], n.decode()) for n in _SANITIZERS if n in imported}
    names = program.dynamic.names
    for name, word in _SANITIZERS.items() if names and not found else ():
        at = program.view.find(b"\0" + name + b"\0", names[0], sum(names)) if names else -1
        if at >= 0:
            found[word] = Evidence("dynamic symbols", program.view.base + at + 1, name.decode())
    return found


def _defined(program: Elf, names: tuple[int, int], symbols: tuple[int, int]) -> Iterator[tuple[str, Evidence]]:
    """Names of the name service that a symbol has; strings may share their ends, so that a string alone is no name."""
    view, (start, count) = program.view, symbols
    width = 24 if program.bits == 64 else 16
    for at, raw in view.matches(_NSS, names[0], sum(names)):
        needle = pack(view.order + "I", at - names[0])
        try:
            inside = any(_section(program, row) != _SHN_UNDEF for row in view.records(start, count, width, needle))
        except FormatError:
            return
        if inside:
            name = raw[:-1].decode()
            yield name, Evidence("symbol table", view.base + at, name)


def _section(program: Elf, row: int) -> int:
    return program.view.number(2, row + (6 if program.bits == 64 else 14), "symbol")


def _by_strings(program: Elf) -> Iterator[tuple[str, Evidence]]:
    for needle, name in _TOLD_BY_STRINGS:
        for start, end in program.layout.spans(lambda segment: not segment.executable):
            found = program.view.find(needle, start, end)
            if found >= 0:
                yield name, Evidence("loaded bytes", program.view.base + found, needle.strip(b"\0").decode())
                break
