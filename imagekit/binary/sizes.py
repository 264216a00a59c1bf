"""How many bytes of a program belong to which Go package, read from its function table. `by_package` touches disk.

The table (debug/gosym/pclntab.go, runtime/symtab.go) gives each function's entry address; a function ends where the
next one begins. What C code, data and the table itself take is not in these numbers.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from struct import Struct

import msgspec

from imagekit.binary import buildinfo, formats, functions, goname, macho
from imagekit.binary.facts import GoBuild
from imagekit.binary.formats import Program
from imagekit.binary.functions import FunctionTable
from imagekit.binary.window import STRING_LIMIT, Window, open_window, readable
from imagekit.errors import FormatError

_GO_1_2, _GO_1_16, _GO_1_18, _GO_1_20 = 0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1
_WORDS = {_GO_1_20: (3, 7), _GO_1_18: (3, 7), _GO_1_16: (2, 6)}
"""Header words, counted from the one after the function count's: where names begin, and where functions do."""
_FUNCTION_LIMIT = 1 << 20
"""kubectl has 85,000; more than a million would take longer than a second."""
_NAME_BYTES = 1 << 26
"""Bytes of names that are read in all; a table that points many functions at one long name is a trap."""


class PackageSize(msgspec.Struct, frozen=True):
    """The code of one package in bytes; `module` is '' for the standard library and where it is not known.

    The main package is `main`, as in the table; the package '' is what belongs to none (assembly, equality functions).
    """

    package: str
    module: str
    size: int


class _Functions(msgspec.Struct, frozen=True):
    """The function list of one table: records of `field` bytes twice, from `start` on."""

    table: Window
    count: int
    field: int
    start: int
    """Distance of the list from the table's begin; what the second field of a record counts from, too, from Go 1.16."""
    names: int
    """Distance of the names from the table's begin: 0 for Go 1.2, which counts from there."""
    name_at: int
    """Distance of a function's name from the begin of the function."""
    based: bool
    """Whether the second field counts from the list instead of the table."""


def by_package(path: Path, slice_: str = "") -> tuple[PackageSize, ...]:
    """The code of each package in bytes, the largest first, equal ones by name; of one slice of a fat Mach-O.

    () where there is no function table, or none that can be believed. Raises `UnreadableError` if the path cannot be
    opened.
    """
    view = open_window(path)
    try:
        return next((of_program(program) for name, program in named_programs(view) if name == slice_ or not slice_), ())
    except FormatError:
        return ()
    finally:
        if not isinstance(view.buffer, bytes):
            view.buffer.close()


def named_programs(view: Window) -> Iterator[tuple[str, Program]]:
    """(slice, program); the slice of a file that is not fat is ''."""
    if formats.recognise(view) == "fat":
        for name, part in macho.slices(view):
            if formats.recognise(part) == "macho":
                yield name, formats.program(part, "macho")
    else:
        yield from (("", program) for program in formats.programs(view))


def of_program(program: Program) -> tuple[PackageSize, ...]:
    """The same for headers that are read already; raise `FormatError` for a table that contradicts itself."""
    table = functions.find(program.view, program.layout)
    if table is None:
        return ()
    build = buildinfo.read(program.view, program.layout)
    modules = _Modules(build[0] if build else None)
    sizes: defaultdict[str, int] = defaultdict(int)
    for name, size in _functions(table):
        sizes[name] += size
    found = (PackageSize(package, modules.of(package), size) for package, size in sizes.items() if size)
    return tuple(sorted(found, key=lambda each: (-each.size, each.package)))


def _functions(table: FunctionTable) -> Iterator[tuple[str, int]]:
    """(package, bytes) of every function, in the order of addresses."""
    listed = _listed(table)
    numbers = array("I" if listed.field == 4 else "Q")
    numbers.frombytes(listed.table.raw(listed.start, (2 * listed.count + 1) * listed.field, "function list"))
    if (listed.table.order == "<") != (sys.byteorder == "little"):
        numbers.byteswap()
    entries = numbers[::2]
    ordered = all(begin <= end for begin, end in pairwise(entries))
    if not ordered or entries[-1] - entries[0] > table.view.size:
        raise FormatError("functions overlap or are larger than the file", offset=listed.table.base + listed.start)
    sizes = (end - begin for begin, end in pairwise(entries))
    return zip(_packages(listed, numbers[1::2]), sizes, strict=True)


def _listed(table: FunctionTable) -> _Functions:
    """Where the list stands; `functions.find` has checked that the header is in order."""
    view = table.view.part(table.offset, table.view.size - table.offset, "function table")
    magic, _, _, pointer = view.unpack("IHBB", 0, "function table header")
    count = view.number(pointer, 8, "function count")
    if count > _FUNCTION_LIMIT:
        raise FormatError(f"{count} functions", offset=view.base + 8)
    if magic == _GO_1_2:
        return _Functions(view, count, pointer, 8 + pointer, 0, pointer, False)
    names, start = (view.number(pointer, 8 + word * pointer, "function table header") for word in _WORDS[magic])
    field = pointer if magic == _GO_1_16 else 4
    return _Functions(view, count, field, start, names, field, True)


def _packages(listed: _Functions, functions_: Iterable[int]) -> Iterator[str]:
    """The package of each function. Neighbours mostly share it: a name that begins as the last one is not split."""
    view, number = listed.table, Struct(listed.table.order + "I")
    buffer, base, end = view.buffer, view.base, view.base + view.size
    first = base + listed.name_at + (listed.start if listed.based else 0)
    names, left = base + listed.names, _NAME_BYTES
    package, prefix = "", b""
    for function in functions_:
        if first + function + number.size > end:
            raise FormatError("a function outside of its table", offset=first)
        at = names + number.unpack_from(buffer, first + function)[0]
        stop = buffer.find(b"\0", at, min(at + STRING_LIMIT, end))
        left -= stop - at
        if stop < 0 or left < 0:
            raise FormatError("function names without an end", offset=at)
        begins = buffer.find(prefix, at, min(at + len(prefix), stop)) == at
        if not prefix or not begins or buffer.find(b"/", at + len(prefix), stop) >= 0:
            name = readable(buffer[at:stop])
            package = goname.package_of(name)
            prefix = (goname.escaped(package) + ".").encode("utf-8", "surrogateescape") if package else b""
        yield package


class _Modules:
    """Which module a package belongs to: the longest module path of the build info that begins the package's."""

    def __init__(self, build: GoBuild | None) -> None:
        every = (*build.deps, *([build.main] if build.main else ())) if build else ()
        self._paths = {module.path for module in every}
        self._main = build.main.path if build and build.main else ""

    def of(self, package: str) -> str:
        if package == "main":
            return self._main
        prefix = package
        while prefix and prefix not in self._paths:
            prefix = prefix.rpartition("/")[0]
        return prefix
