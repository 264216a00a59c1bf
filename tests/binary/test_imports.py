"""Imports by library: lief reads the same programs and must say the same; what no linker here makes is made by hand."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import lief
import pytest

from imagekit.binary import importing, machoimports
from imagekit.binary.facts import BinaryFacts
from imagekit.binary.macho import LC_CHAINED_FIXUPS, LC_DYSYMTAB, MachO
from imagekit.binary.macho import read as read_macho
from imagekit.binary.reader import read
from imagekit.binary.window import open_window

LC_DYLD_INFO = 0x80000022


def one(path: Path) -> BinaryFacts:
    (facts,) = read(path)
    return facts


def by_lief(path: Path) -> dict[str, tuple[str, ...]]:
    """DLL -> names, delayed ones too."""
    parsed, found = lief.PE.parse(str(path)), defaultdict(set)
    assert parsed is not None
    for library in (*parsed.imports, *parsed.delay_imports):
        found[library.name].update(f"#{e.ordinal}" if e.is_ordinal else e.name for e in library.entries)
    return {name: tuple(sorted(wanted)) for name, wanted in found.items()}


@pytest.mark.real
@pytest.mark.parametrize("platform", ["windows/amd64", "windows/386", "windows/arm64"])
def test_pe_of_go(zoo: Callable[..., Path], platform: str) -> None:
    facts = one(zoo("net", platform, ldflags="-s -w"))
    assert facts.traits.imports == by_lief(zoo("net", platform, ldflags="-s -w"))
    assert "LoadLibraryExW" in facts.traits.imports["kernel32.dll"]
    assert facts.traits.loads == ()


@pytest.mark.real
def test_pe_of_c(compiled: Callable[..., Path]) -> None:
    program = compiled("hello", target="x86_64-windows-gnu")
    facts = one(program)
    assert facts.traits.imports == by_lief(program)
    assert len(facts.traits.imports) > 3
    assert facts.evidence["imports"].value.endswith(f"names of {len(facts.traits.imports)} libraries")


@pytest.mark.real
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute, as Visual C++ 6 has it"])
def test_delayed_imports(zoo: Callable[..., Path], tmp_path: Path, absolute: bool) -> None:
    """A delay import table written over code, which nobody here runs."""
    content = bytearray(zoo("net", "windows/386", ldflags="-s -w").read_bytes())
    header = int.from_bytes(content[0x3C:0x40], "little")
    base = struct.unpack_from("<I", content, header + 24 + 28)[0] if absolute else 0
    address, _, offset = struct.unpack_from("<III", content, header + 24 + 224 + 12)
    at, place = address + 0x1000, offset + 0x1000
    entry = struct.pack("<8I", 0 if absolute else 1, base + at + 0x50, 0, base + at + 0x70, base + at + 0x70, 0, 0, 0)
    wanted = struct.pack("<III", base + at + 0x90, 0x80000007, 0)
    for distance, piece in ((0, entry + bytes(32)), (0x50, b"later.dll\0"), (0x70, wanted), (0x90, b"\0\0LaterW\0")):
        content[place + distance : place + distance + len(piece)] = piece
    struct.pack_into("<II", content, header + 24 + 96 + 8 * 13, at, 64)
    path = tmp_path / "delayed.exe"
    path.write_bytes(content)
    facts = one(path)
    assert facts.needed == ("kernel32.dll", "later.dll")
    assert facts.traits.imports["later.dll"] == ("#7", "LaterW")
    assert facts.evidence["imports"].value.endswith("; at the first call: later.dll")
    assert facts.linkage == "dynamic"
    if not absolute:
        assert by_lief(path)["later.dll"] == ("#7", "LaterW")


def bound_by_lief(path: Path) -> dict[str, tuple[str, ...]]:
    """Library -> names, as lief reads the bindings."""
    parsed = lief.MachO.parse(str(path))
    assert parsed is not None
    found: dict[str, set[str]] = {library.name: set() for library in parsed.at(0).libraries}
    for binding in parsed.at(0).bindings:
        if binding.has_library:
            found[binding.library.name].add(binding.symbol.name)
    return {name: tuple(sorted(wanted)) for name, wanted in found.items()}


@pytest.mark.real
@pytest.mark.parametrize("platform", ["darwin/amd64", "darwin/arm64"])
def test_macho_of_go(zoo: Callable[..., Path], platform: str) -> None:
    program = zoo("net", platform, ldflags="-s -w")
    facts = one(program)
    assert facts.traits.imports == bound_by_lief(program)
    assert "_getaddrinfo" in facts.traits.imports["/usr/lib/libSystem.B.dylib"]
    assert "getaddrinfo" in facts.traits.nss
    assert facts.evidence["imports"].where == "LC_DYLD_INFO"


@pytest.mark.real
def test_macho_of_c(compiled: Callable[..., Path]) -> None:
    """zig binds at the first call, with opcodes of their own."""
    program = compiled("loads", target="aarch64-macos")
    facts = one(program)
    assert facts.traits.imports == bound_by_lief(program)
    assert facts.traits.loads == ("dlopen",)
    assert facts.traits.build_ids.keys() == {"uuid"}


@pytest.mark.real
@pytest.mark.parametrize("levels", [1, 2])
def test_macho_by_its_symbols(zoo: Callable[..., Path], patched: Callable[..., Path], levels: int) -> None:
    """Before LC_DYLD_INFO the undefined symbols told the library, by the upper byte of n_desc in two-level files."""
    program = zoo("tiny", "darwin/amd64")
    macho, content = parsed(program), program.read_bytes()
    first, count = struct.unpack_from("<II", content, found(macho, LC_DYSYMTAB) + 24)
    assert macho.symbols is not None
    rows = [macho.symbols.offset + index * 16 for index in range(first, first + count)]
    changes = {row + 6: struct.pack("<H", 1 << 8) for row in rows}
    changes |= {24: struct.pack("<I", macho.flags | 0x80)} if levels == 2 else {}
    without = one(patched(program, {**changes, found(macho, LC_DYLD_INFO): struct.pack("<I", 0x26)}))
    assert without.evidence["imports"].where == "LC_DYSYMTAB"
    library = macho.needed[0] if levels == 2 else "flat namespace"
    assert without.traits.imports[library] == one(program).traits.imports[macho.needed[0]]


def found(macho: MachO, kind: int) -> int:
    """Where the command stands."""
    command = macho.first(kind)
    assert command is not None
    return command.offset


def parsed(path: Path) -> MachO:
    return read_macho(open_window(path))


@pytest.mark.real
@pytest.mark.parametrize("kind", [1, 2, 3])
def test_chained_fixups(zoo: Callable[..., Path], patched: Callable[..., Path], kind: int) -> None:
    """The three formats of imports (mach-o/fixup-chains.h), put where the bind opcodes were."""
    program = zoo("net", "darwin/arm64", ldflags="-s -w")
    macho = parsed(program)
    command = found(macho, LC_DYLD_INFO)
    at, size = struct.unpack_from("<II", program.read_bytes(), command + 16)
    names = ("_open", "_flat", "_close")
    ordinals = (1, -2, 2)
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    packed = b""
    for name, ordinal in zip(names, ordinals, strict=True):
        place = strings.index(name.encode())
        if kind == 3:
            packed += struct.pack("<QQ", (ordinal & 0xFFFF) | place << 32, 0)
        else:
            packed += struct.pack("<I", (ordinal & 0xFF) | place << 9) + bytes(4 if kind == 2 else 0)
    head = struct.pack("<7I", 0, 28, 32, 32 + len(packed), len(names), kind, 0) + bytes(4)
    fixups = head + packed + strings
    assert len(fixups) <= size
    changed = patched(program, {command: struct.pack("<IIII", LC_CHAINED_FIXUPS, 48, at, size), at: fixups})
    imports, evidence = machoimports.read(parsed(changed))
    libraries = macho.needed
    expected = {libraries[0]: ("_open",), libraries[1]: ("_close",), "flat namespace": ("_flat",)}
    assert imports == dict.fromkeys(libraries, ()) | expected
    assert evidence is not None
    assert evidence.where == "LC_DYLD_CHAINED_FIXUPS"


@pytest.mark.real
def test_damaged_imports_are_shorter_not_an_error(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    program = zoo("tiny", "darwin/amd64")
    at, size = struct.unpack_from("<II", program.read_bytes(), found(parsed(program), LC_DYLD_INFO) + 16)
    for filling in (b"\x40A", b"\xd0\xff", b"\x20\xff", b"\x90", b"\xff"):
        facts = one(patched(program, {at: (filling * size)[:size]}))
        assert facts.linkage == "system"
        assert set(facts.traits.imports) <= set(facts.needed) | {"this image", "library 127"}


def test_no_more_than_4096_names() -> None:
    names = (("a.dll", f"name{index // 2}") for index in range(1 << 20))
    imports = importing.by_library(("b.dll",), names)
    assert len(imports["a.dll"]) == importing.NAME_LIMIT
    assert imports["b.dll"] == ()
