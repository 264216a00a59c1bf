"""PE/COFF: headers, sections and imports (Microsoft's PE Format specification). Reads a Window, judges nothing."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from imagekit.binary.layout import Layout, Region
from imagekit.binary.window import Window, readable
from imagekit.errors import FormatError

ARCHITECTURES = {0x14C: "386", 0x8664: "amd64", 0xAA64: "arm64", 0x1C0: "arm", 0x1C4: "arm", 0x5064: "riscv64"}
"""GOARCH spelling of Machine."""
RELOCS_STRIPPED, EXECUTABLE_IMAGE, DLL = 0x1, 0x2, 0x2000
CONSOLE_OR_WINDOW = (2, 3)
HIGH_ENTROPY_VA, DYNAMIC_BASE, FORCE_INTEGRITY, NX_COMPAT, NO_SEH, GUARD_CF = 0x20, 0x40, 0x80, 0x100, 0x400, 0x4000
_SECTION_LIMIT = 96
"""Sections that the Windows loader accepts."""
_IMPORT_LIMIT, _NAMES_LENGTH = 1 << 12, 1 << 20
"""DLLs, and characters of their names in all; a table may name one again and again."""
IMPORT, _SECURITY, DEBUG, LOAD_CONFIG, DELAY = 1, 4, 6, 10, 13


class Section(msgspec.Struct, frozen=True):
    """A section header; `address` is relative to the image base, `name` may be `/4`, a place in the string table."""

    name: str
    address: int
    memory: int
    offset: int
    size: int
    flags: int


class Library(msgspec.Struct, frozen=True):
    """One entry of an import table: the DLL, and the address of the list of what is wanted from it."""

    name: str
    wanted: int
    offset: int
    """Of the entry in the window."""
    delayed: bool


class Pe(msgspec.Struct, frozen=True, kw_only=True):
    """All that the headers of one file say."""

    view: Window
    header: int
    """Offset of the PE signature."""
    machine: int
    characteristics: int
    timestamp: int
    symbols: int
    symbol_count: int
    wide: bool
    entry: int
    base: int
    subsystem: int
    dll_characteristics: int
    directories: tuple[tuple[int, int], ...]
    sections: tuple[Section, ...]
    libraries: tuple[Library, ...]
    """What must be there at the start, then what is loaded at the first call, in the order of the tables."""
    layout: Layout

    @property
    def needed(self) -> tuple[str, ...]:
        """The DLLs' names, without repetition."""
        return tuple(dict.fromkeys(library.name for library in self.libraries))

    @property
    def signed(self) -> bool:
        return self.certificates != (0, 0)

    @property
    def certificates(self) -> tuple[int, int]:
        """Offset and size of the Authenticode signature; (0, 0) without one."""
        return self.directory(_SECURITY)

    @property
    def imports(self) -> int | None:
        """Offset of the import table."""
        return self.layout.offset_of(self.base + self.directory(IMPORT)[0]) if self.directory(IMPORT)[0] else None

    def directory(self, index: int) -> tuple[int, int]:
        return self.directories[index] if index < len(self.directories) else (0, 0)


def header_offset(view: Window) -> int | None:
    """Where the PE signature stands; None for an MZ file without one (DOS, NE, a cut file)."""
    if view.size < 0x40:
        return None
    at = view.number(4, 0x3C, "e_lfanew")
    return at if at + 4 <= view.size and view.raw(at, 4, "PE signature") == b"PE\0\0" else None


def read(view: Window, header: int) -> Pe:
    """The headers at `header`; raise `FormatError` where the file is truncated or contradicts itself."""
    machine, count, timestamp, symbols, symbol_count, size, characteristics = view.unpack(
        "HHIIIHH", header + 4, "COFF header"
    )
    optional = header + 24
    view.require(optional, size, "optional header")
    magic = view.number(2, optional, "optional header")
    if magic not in (0x10B, 0x20B) or size < (112 if magic == 0x20B else 96):
        raise FormatError("not a PE32 or PE32+ optional header", offset=view.base + optional)
    wide = magic == 0x20B
    base = view.number(8 if wide else 4, optional + (24 if wide else 28), "image base")
    sections = _sections(view, optional + size, count)
    layout = _layout(view, wide, base, sections, view.number(4, optional + 60, "header size"))
    directories = _directories(view, optional + (112 if wide else 96), optional + size)
    if len(directories) > _SECURITY:  # the only one that names a place in the file instead of an address
        view.require(*directories[_SECURITY], "Authenticode signature")
    if symbols:
        view.require(symbols, symbol_count * 18, "symbol table")
    return Pe(
        view=view,
        header=header,
        machine=machine,
        characteristics=characteristics,
        timestamp=timestamp,
        symbols=symbols,
        symbol_count=symbol_count if symbols else 0,
        wide=wide,
        entry=view.number(4, optional + 16, "entry point"),
        base=base,
        subsystem=view.number(2, optional + 68, "subsystem"),
        dll_characteristics=view.number(2, optional + 70, "DLL characteristics"),
        directories=directories,
        sections=sections,
        libraries=_libraries(view, layout, base, directories),
        layout=layout,
    )


def _sections(view: Window, offset: int, count: int) -> tuple[Section, ...]:
    if count > _SECTION_LIMIT:
        raise FormatError(f"{count} sections", offset=view.base + offset)
    found: list[Section] = []
    for name, memory, address, size, at, *_, flags in view.rows("8sIIIIIIHHI", offset, count, "section table"):
        if size and at:
            view.require(at, size, f"section {readable(name)}")
        found.append(Section(readable(name.rstrip(b"\0")), address, memory, at, size if at else 0, flags))
    return tuple(found)


def _layout(view: Window, wide: bool, base: int, sections: tuple[Section, ...], headers: int) -> Layout:
    """Absolute addresses, at the preferred image base; the headers are mapped too."""
    first = Region("headers", base, 0, min(headers, view.size), headers)
    mapped = tuple(
        Region(
            s.name,
            base + s.address,
            s.offset,
            min(s.size, s.memory) if s.memory else s.size,
            s.memory or s.size,
            bool(s.flags & 0x80000000),
            bool(s.flags & 0x20000000),
        )
        for s in sections
    )
    return Layout(8 if wide else 4, (*mapped, first), mapped)


def _directories(view: Window, offset: int, end: int) -> tuple[tuple[int, int], ...]:
    count = view.number(4, offset - 4, "directory count")
    return tuple((at, size) for at, size in view.rows("II", offset, min(count, 16, (end - offset) // 8), "directories"))


def _libraries(
    view: Window, layout: Layout, base: int, directories: tuple[tuple[int, int], ...]
) -> tuple[Library, ...]:
    found: list[Library] = []
    for index, width in ((IMPORT, 20), (DELAY, 32)):
        if index < len(directories) and directories[index][0]:
            found += _table(view, layout, base, base + directories[index][0], width)
    return tuple(found)


def _table(view: Window, layout: Layout, base: int, start: int, width: int) -> Iterator[Library]:
    """The entries of an import table, which ends with one that names no DLL."""
    room = _NAMES_LENGTH
    for index in range(_IMPORT_LIMIT):
        at = layout.offset_of(start + index * width, width)
        if at is None:
            raise FormatError("the import table is not in the file", offset=view.base)
        if width == 20:
            wanted, _, _, address, first = view.unpack("IIIII", at, "import table")
            wanted, origin = wanted or first, base
        else:
            attributes, address, _, _, wanted = view.unpack("IIIII", at, "delay import table")
            origin = base if attributes & 1 else 0  # those of Visual C++ 6 hold absolute addresses
        if not address:
            return
        name = layout.offset_of(origin + address)
        if name is None:
            raise FormatError("an imported DLL's name is not in the file", offset=view.base + at)
        library = view.text(name, "imported DLL")
        room -= len(library)
        if room < 0:
            raise FormatError("names of imported DLLs without an end", offset=view.base + at)
        yield Library(library, origin + wanted, at, width == 32)
    raise FormatError(f"more than {_IMPORT_LIMIT} imported DLLs", offset=view.base)
