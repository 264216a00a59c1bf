"""Mach-O: fat files and load commands (Apple's mach-o/fat.h, mach-o/loader.h). Reads a Window, judges nothing."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from imagekit.binary.layout import Layout, Region
from imagekit.binary.window import Window, readable
from imagekit.errors import FormatError

THIN_MAGICS = {b"\xfe\xed\xfa\xce": ">", b"\xce\xfa\xed\xfe": "<", b"\xfe\xed\xfa\xcf": ">", b"\xcf\xfa\xed\xfe": "<"}
FAT_MAGICS = {b"\xca\xfe\xba\xbe": "IIIII", b"\xca\xfe\xba\xbf": "IIQQII"}
MH_OBJECT, MH_EXECUTE, MH_DYLIB, MH_DYLINKER, MH_BUNDLE = 1, 2, 6, 7, 8
MH_PIE, MH_ALLOW_STACK_EXECUTION = 0x200000, 0x20000
ARCHITECTURES = {7: "386", 0x01000007: "amd64", 12: "arm", 0x0100000C: "arm64", 18: "ppc", 0x01000012: "ppc64"}
"""GOARCH spelling of cputype (mach/machine.h)."""
_SYSTEMS = {1: "darwin", 2: "ios", 3: "tvos", 4: "watchos", 6: "ios", 7: "ios", 8: "tvos", 9: "watchos", 11: "visionos"}
_LC_SEGMENT, _LC_SEGMENT_64, _LC_SYMTAB, _LC_UNIXTHREAD, _LC_THREAD = 0x1, 0x19, 0x2, 0x5, 0x4
_LC_LOAD_DYLINKER, LC_RPATH, _LC_MAIN = 0xE, 0x8000001C, 0x80000028
_LC_CODE_SIGNATURE, LC_BUILD_VERSION, LC_UUID = 0x1D, 0x32, 0x1B
LC_CHAINED_FIXUPS, LC_DYSYMTAB = 0x80000034, 0xB
_LC_DYLIBS = (0xC, 0x80000018, 0x8000001F, 0x20, 0x80000023)
"""LC_LOAD_DYLIB, and the weak, re-exported, lazy and upward kinds."""
LC_VERSION_MIN = {0x24: "darwin", 0x25: "ios", 0x2F: "tvos", 0x30: "watchos"}
_COMMAND_LIMIT, _COMMANDS_SIZE_LIMIT = 1 << 12, 1 << 20
_SLICE_LIMIT = 42
"""A Java class file has the same magic; its major version, which stands where the count would, is 45 or more."""
_ZERO_FILL = (0x1, 0xC, 0x12)


class Command(msgspec.Struct, frozen=True):
    kind: int
    offset: int
    size: int


class SymbolTable(msgspec.Struct, frozen=True):
    offset: int
    count: int
    strings: int
    strings_size: int


class MachO(msgspec.Struct, frozen=True, kw_only=True):
    """All that the load commands of one slice say."""

    view: Window
    cpu: int
    kind: int
    flags: int
    system: str | None
    minimum_os: str | None
    interpreter: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    entry: bool
    """Whether a command says where the program begins."""
    commands: tuple[Command, ...]
    symbols: SymbolTable | None
    signature: tuple[int, int] | None
    """Offset and size of LC_CODE_SIGNATURE's bytes."""
    chained_fixups: bool
    layout: Layout

    def first(self, *kinds: int) -> Command | None:
        return next((c for c in self.commands if c.kind in kinds), None)

    @property
    def dylibs(self) -> Command | None:
        return self.first(*_LC_DYLIBS)

    @property
    def loader(self) -> Command | None:
        return self.first(_LC_LOAD_DYLINKER)


def is_fat(view: Window) -> bool:
    """Whether the file holds several programs, and is not a Java class."""
    if view.size < 8 or view.raw(0, 4, "magic") not in FAT_MAGICS:
        return False
    return 0 < view.ordered(">").number(4, 4, "slice count") <= _SLICE_LIMIT


def slices(view: Window) -> Iterator[tuple[str, Window]]:
    """(architecture, bytes) of each slice of a fat file, in its order; raise `FormatError` for one outside of it."""
    view = view.ordered(">")
    layout = FAT_MAGICS[view.raw(0, 4, "magic")]
    seen: set[str] = set()
    rows = view.rows(layout, 8, view.number(4, 4, "slice count"), "fat header")
    if sum(row[3] for row in rows) > view.size:
        raise FormatError("slices overlap", offset=view.base + 8)
    for row in rows:
        cpu, subtype, offset, size = row[:4]
        name = ARCHITECTURES.get(cpu, f"cpu{cpu:#x}")
        name = name if name not in seen else f"{name}.{subtype & 0xFFFFFF}"
        seen.add(name)
        yield name, view.part(offset, size, f"slice {name}")


def read(view: Window) -> MachO:
    """The load commands of one slice; raise `FormatError` where it is truncated or contradicts itself."""
    magic = view.raw(0, 4, "Mach-O magic")
    view, wide = view.ordered(THIN_MAGICS[magic]), 0xCF in (magic[0], magic[3])
    _, cpu, _, kind, count, size, flags = view.unpack("IIIIIII", 0, "Mach-O header")
    commands = _commands(view, 32 if wide else 28, count, size)
    system, minimum = _system(view, commands)
    first = {c.kind: c for c in reversed(commands)}
    return MachO(
        view=view,
        cpu=cpu,
        kind=kind,
        flags=flags,
        system=system,
        minimum_os=minimum,
        interpreter=_string(view, first[_LC_LOAD_DYLINKER]) if _LC_LOAD_DYLINKER in first else None,
        needed=tuple(_string(view, c) for c in commands if c.kind in _LC_DYLIBS),
        rpath=tuple(_string(view, c) for c in commands if c.kind == LC_RPATH),
        entry=any(k in first for k in (_LC_MAIN, _LC_UNIXTHREAD, _LC_THREAD)),
        commands=commands,
        symbols=_symbols(view, wide, first[_LC_SYMTAB]) if _LC_SYMTAB in first else None,
        signature=_signature(view, first[_LC_CODE_SIGNATURE]) if _LC_CODE_SIGNATURE in first else None,
        chained_fixups=LC_CHAINED_FIXUPS in first,
        layout=_layout(wide, [_segment(view, c) for c in commands if c.kind in (_LC_SEGMENT, _LC_SEGMENT_64)]),
    )


def _commands(view: Window, start: int, count: int, size: int) -> tuple[Command, ...]:
    view.require(start, size, "load commands")
    if count > _COMMAND_LIMIT or size > _COMMANDS_SIZE_LIMIT:
        raise FormatError(f"{count} load commands in {size} bytes", offset=view.base + 16)
    commands: list[Command] = []
    at, end = start, start + size
    for _ in range(count):
        kind, length = view.unpack("II", at, "load command")
        if length < 8 or at + length > end:
            raise FormatError(f"a load command of {length} bytes", offset=view.base + at)
        commands.append(Command(kind, at, length))
        at += length
    return tuple(commands)


def _layout(wide: bool, regions: list[tuple[Region, list[Region]]]) -> Layout:
    """All segments but the hole at address 0, which nothing can read."""
    segments = tuple(segment for segment, _ in regions if segment.name != "__PAGEZERO")
    return Layout(8 if wide else 4, segments, tuple(s for _, sections in regions for s in sections))


def _segment(view: Window, command: Command) -> tuple[Region, list[Region]]:
    wide = command.kind == _LC_SEGMENT_64
    layout, header, row = ("16sQQQQIIII", 72, "16s16sQQIIIIIIII") if wide else ("16sIIIIIIII", 56, "16s16sIIIIIIIII")
    name, address, memory, offset, size, _, protection, count, _ = view.unpack(layout, command.offset + 8, "segment")
    view.require(offset, size, f"segment {_name(name)}")
    width = 80 if wide else 68
    if header + count * width > command.size:
        raise FormatError(f"{count} sections in a command of {command.size} bytes", offset=view.base + command.offset)
    sections = view.rows(row, command.offset + header, count, "sections")
    for section in sections:
        if section[8] & 0xFF not in _ZERO_FILL:
            view.require(section[4], section[3], f"section {_name(section[0])}")
    region = Region(_name(name), address, offset, size, memory, bool(protection & 2), bool(protection & 4))
    return region, [
        Region(_name(s[0]), s[2], s[4], 0 if s[8] & 0xFF in _ZERO_FILL else s[3], s[3], bool(protection & 2))
        for s in sections
    ]


def _name(raw: bytes) -> str:
    return readable(raw.partition(b"\0")[0])


def _string(view: Window, command: Command) -> str:
    """The path of a command: bytes from the distance at its third word to a NUL, or to the command's end."""
    distance = view.number(4, command.offset + 8, "load command string")
    if not 12 <= distance < command.size:
        raise FormatError("a path outside of its load command", offset=view.base + command.offset)
    raw = view.raw(command.offset + distance, command.size - distance, "load command string")
    return readable(raw.partition(b"\0")[0][:4096])


def _system(view: Window, commands: tuple[Command, ...]) -> tuple[str | None, str | None]:
    """GOOS and least version: from LC_BUILD_VERSION, else from the older command; (None, None) where both lack."""
    for command in commands:
        if command.kind == LC_BUILD_VERSION:
            platform, minimum = view.unpack("II", command.offset + 8, "LC_BUILD_VERSION")
            return _SYSTEMS.get(platform), _version(minimum)
    for command in commands:
        if command.kind in LC_VERSION_MIN:
            minimum = view.number(4, command.offset + 8, "LC_VERSION_MIN")
            return LC_VERSION_MIN[command.kind], _version(minimum)
    return None, None


def _version(packed: int) -> str:
    """xxxx.yy.zz in nibbles; a zero patch is left out."""
    patch = packed & 0xFF
    return f"{packed >> 16}.{packed >> 8 & 0xFF}" + (f".{patch}" if patch else "")


def _symbols(view: Window, wide: bool, command: Command) -> SymbolTable:
    table = SymbolTable(*view.unpack("IIII", command.offset + 8, "LC_SYMTAB"))
    view.require(table.offset, table.count * (16 if wide else 12), "symbol table")
    view.require(table.strings, table.strings_size, "symbol strings")
    return table


def _signature(view: Window, command: Command) -> tuple[int, int]:
    offset, size = view.unpack("II", command.offset + 8, "LC_CODE_SIGNATURE")
    view.require(offset, size, "code signature")
    return offset, size
