"""The dynamic table of an ELF file: what it asks of a loader (gABI chapter 5, GNU version needs)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from imagekit.binary.layout import Layout
from imagekit.binary.window import Window
from imagekit.errors import FormatError

DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_STRSZ, DT_SONAME, DT_RPATH = (
    1,
    4,
    5,
    6,
    7,
    8,
    10,
    14,
    15,
)
DT_REL, DT_RELSZ, DT_TEXTREL, DT_BIND_NOW, DT_RUNPATH, DT_FLAGS = 17, 18, 22, 24, 29, 30
DT_GNU_HASH, DT_FLAGS_1, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFEF5, 0x6FFFFFFB, 0x6FFFFFFE, 0x6FFFFFFF
DF_TEXTREL, DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 4, 8, 1, 0x08000000
_ENTRY_LIMIT = 1 << 16
_NEED_LIMIT = 1 << 12
_LIBRARY_LIMIT = 1 << 10
_NAMES_LENGTH = 1 << 22
"""Characters of all names that are read; a table may ask for one string again and again."""


class Relocations(msgspec.Struct, frozen=True):
    """Where a relocation table stands in the file; `addends` tells RELA from REL."""

    offset: int
    size: int
    addends: bool


class Dynamic(msgspec.Struct, frozen=True, kw_only=True):
    """What the table says; the empty value is that of a file without one."""

    offset: int | None = None
    needed: tuple[str, ...] = ()
    needed_offset: int | None = None
    soname: str | None = None
    rpath: tuple[str, ...] = ()
    rpath_offset: int | None = None
    versions: tuple[tuple[str, str], ...] = ()
    """(library, version) of each version that a symbol asks for, in file order."""
    versions_offset: int | None = None
    names: tuple[int, int] | None = None
    """Offset and size of the string table, where the names of imported symbols stand too."""
    symbols: tuple[int, int] | None = None
    """Offset and number of the dynamic symbols among which the imported ones are; None where nothing tells them."""
    pie: bool = False
    pie_offset: int | None = None
    """Of the entry DT_FLAGS_1."""
    bind_now: bool = False
    text_relocations: bool = False
    relocations: tuple[Relocations, ...] = ()


def read_dynamic(view: Window, layout: Layout, offset: int, size: int) -> Dynamic:
    """The table at `offset`; raise `FormatError` where it points out of the file."""
    row = 2 * layout.pointer
    if size // row > _ENTRY_LIMIT:
        raise FormatError(f"a dynamic table of {size} bytes", offset=view.base + offset)
    entries = _entries(view, layout, offset, size // row)
    values: dict[int, int] = {}
    for tag, value, _ in entries:
        values.setdefault(tag, value)
    if sum(tag in (DT_NEEDED, DT_RPATH, DT_RUNPATH) for tag, _, _ in entries) > _LIBRARY_LIMIT:
        raise FormatError("too many libraries and paths", offset=view.base + offset)
    names = _Names(view, layout, values, offset)
    needed = [(names.read(value), at) for tag, value, at in entries if tag == DT_NEEDED]
    paths = (names.read(value) for tag, value, _ in entries if tag in (DT_RPATH, DT_RUNPATH))
    flags, flags_1 = values.get(DT_FLAGS, 0), values.get(DT_FLAGS_1, 0)
    versions_offset = (
        layout.offset_of(values[DT_VERNEED]) if values.get(DT_VERNEEDNUM, 0) and DT_VERNEED in values else None
    )
    return Dynamic(
        offset=offset,
        needed=tuple(name for name, _ in needed),
        needed_offset=needed[0][1] if needed else None,
        soname=names.read(values[DT_SONAME]) if DT_SONAME in values else None,
        rpath_offset=next((at for tag, _, at in entries if tag in (DT_RPATH, DT_RUNPATH)), None),
        rpath=tuple(part for path in paths for part in path.split(":") if part),
        versions=tuple(_versions(view, names, versions_offset, values[DT_VERNEEDNUM]))
        if versions_offset is not None
        else (),
        versions_offset=versions_offset,
        names=names.place,
        symbols=_symbols(view, layout, values),
        pie=bool(flags_1 & DF_1_PIE),
        pie_offset=next((at for tag, _, at in entries if tag == DT_FLAGS_1), None),
        bind_now=DT_BIND_NOW in values or bool(flags & DF_BIND_NOW) or bool(flags_1 & DF_1_NOW),
        text_relocations=DT_TEXTREL in values or bool(flags & DF_TEXTREL),
        relocations=tuple(_relocations(view, layout, values)),
    )


def _entries(view: Window, layout: Layout, offset: int, count: int) -> list[tuple[int, int, int]]:
    """(tag, value, offset of the entry) up to DT_NULL."""
    found: list[tuple[int, int, int]] = []
    step = 2 * layout.pointer
    for index, (tag, value) in enumerate(
        view.rows("QQ" if layout.pointer == 8 else "II", offset, count, "dynamic table")
    ):
        if not tag:
            break
        found.append((tag, value, offset + index * step))
    return found


def _symbols(view: Window, layout: Layout, values: dict[int, int]) -> tuple[int, int] | None:
    """DT_SYMTAB has no size. Imported symbols stand before the first that DT_GNU_HASH lists.

    Without one the number is that of DT_HASH's chain, or what lies between the symbols and their names.
    """
    start = layout.offset_of(values.get(DT_SYMTAB, -1))
    if start is None:
        return None
    most = (view.size - start) // (24 if layout.pointer == 8 else 16)
    for table in (layout.offset_of(values.get(tag, -1), 8) for tag in (DT_GNU_HASH, DT_HASH)):
        if table is not None:  # the second word of either
            return start, min(view.number(4, table + 4, "symbol hash table"), most)
    names = layout.offset_of(values.get(DT_STRTAB, -1))
    return None if names is None else (start, min(max(names - start, 0) // (24 if layout.pointer == 8 else 16), most))


class _Names:
    """The string table of the dynamic section, needed only when a name is wanted."""

    def __init__(self, view: Window, layout: Layout, values: dict[int, int], offset: int) -> None:
        size = values.get(DT_STRSZ, 0)
        start = layout.offset_of(values.get(DT_STRTAB, -1), size)
        self.place = None if start is None else (start, size)
        self._view, self._offset, self._left = view, offset, _NAMES_LENGTH

    def read(self, index: int) -> str:
        if self.place is None or index >= self.place[1]:
            raise FormatError("a dynamic name is not in the string table", offset=self._view.base + self._offset)
        name = self._view.text(self.place[0] + index, "dynamic string", sum(self.place))
        self._left -= len(name)
        if self._left < 0:
            raise FormatError("dynamic names without an end", offset=self._view.base + self.place[0] + index)
        return name


def _versions(view: Window, names: _Names, offset: int, count: int) -> Iterator[tuple[str, str]]:
    """DT_VERNEED: a list of libraries, each with a list of versions, both linked by byte distances."""
    left = _NEED_LIMIT
    for _ in range(min(count, _NEED_LIMIT)):
        _, versions, library, first, following = view.unpack("HHIII", offset, "version need")
        at = offset + first
        for _ in range(versions):
            left -= 1
            if left < 0:
                raise FormatError("too many version needs", offset=view.base + at)
            _, _, _, version, step = view.unpack("IHHII", at, "version need entry")
            yield names.read(library), names.read(version)
            at += step
            if not step:
                break
        offset += following
        if not following:
            break


def _relocations(view: Window, layout: Layout, values: dict[int, int]) -> Iterator[Relocations]:
    for table, length, addends in ((DT_RELA, DT_RELASZ, True), (DT_REL, DT_RELSZ, False)):
        size = values.get(length, 0)
        if table in values and size:
            offset = layout.offset_of(values[table], size)
            if offset is None:
                raise FormatError("relocations stand outside of the file", offset=view.base)
            yield Relocations(offset, size, addends)
