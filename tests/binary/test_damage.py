"""Damaged and lying files: facts or `FormatError`, soon, and never a better word than the whole file got."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from imagekit.binary import formats
from imagekit.binary.elf import Elf
from imagekit.binary.facts import BinaryFacts
from imagekit.binary.functions import read_functions
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.binary.reader import read
from imagekit.binary.variables import string_at, string_variable
from imagekit.binary.window import open_window
from imagekit.errors import FormatError

EXTERNAL_STATIC = "-linkmode=external -extldflags=-static"
PROGRAMS = {
    "elf": ("tiny", "linux/amd64", "", False),
    "elf stripped": ("tiny", "linux/amd64", "-s -w", False),
    "elf 32 bits": ("tiny", "linux/386", "", False),
    "elf big endian": ("tiny", "linux/s390x", "", False),
    "elf dynamic": ("cgo", "linux/amd64", "", True),
    "elf static cgo": ("cgo", "linux/amd64", EXTERNAL_STATIC, True),
    "macho": ("tiny", "darwin/amd64", "", False),
    "macho arm64": ("tiny", "darwin/arm64", "-s -w", False),
    "pe": ("tiny", "windows/amd64", "", False),
    "pe 32 bits": ("tiny", "windows/386", "-s -w", False),
}
STARTS = {"static", "static-pie", "system"}
VALUES = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)


def all_of(path: Path) -> tuple[BinaryFacts, ...]:
    """Everything that this room can be asked of a file, in less than a second of CPU time."""
    begun = time.process_time()
    facts = read(path)
    for ask in (
        lambda: read_functions(path),
        lambda: string_variable(path, "main.version"),
        lambda: string_at(path, 0x520000),
    ):
        with suppress(FormatError):
            ask()
    assert time.process_time() - begun < 1
    for one in facts:
        if one.linkage == "broken":
            assert one.evidence["linkage"].offset is not None
    return facts


def build(zoo: Callable[..., Path], name: str) -> Path:
    package, platform, ldflags, cgo = PROGRAMS[name]
    return zoo(package, platform, ldflags=ldflags, cgo=cgo)


@pytest.mark.real
@pytest.mark.parametrize("name", PROGRAMS)
def test_truncated_anywhere(zoo: Callable[..., Path], tmp_path: Path, name: str) -> None:
    content = build(zoo, name).read_bytes()
    size, path = len(content), tmp_path / "cut"
    path.write_bytes(content)
    assert all_of(path)[0].linkage != "broken"
    places = {size - 1, size - 7, size - 0x200, *range(0, 0x60, 3), *(size * i // 40 for i in range(40))}
    with path.open("r+b") as stream:
        for cut in sorted(places, reverse=True):
            stream.truncate(cut)
            (facts,) = all_of(path)
            assert facts.linkage in ("broken", "unknown"), cut
            assert facts.linkage == "broken" or cut < 0x100, cut


def sweep(path: Path, places: Iterable[int], check: Callable[[BinaryFacts, int, int], None], order: str = "<") -> None:
    with path.open("r+b") as stream:
        for at in places:
            stream.seek(at)
            whole = stream.read(4)
            for value in VALUES:
                stream.seek(at)
                stream.write(struct.pack(order + "I", value)[: len(whole)])
                stream.flush()
                for facts in all_of(path):
                    check(facts, at, value)
            stream.seek(at)
            stream.write(whole)
        stream.flush()


def headers(path: Path) -> tuple[list[int], str]:
    """Where the words of a program's headers and tables stand, and their byte order."""
    (program,) = formats.programs(open_window(path))
    spans: list[tuple[int, int]] = []
    match program:
        case Elf():
            wide = program.bits == 64
            (sections,) = program.view.unpack("Q" if wide else "I", 40 if wide else 32, "e_shoff")
            spans += [(16, 64 if wide else 52)]
            spans += [(program.program_headers, program.program_headers + len(program.segments) * (56 if wide else 32))]
            spans += [(sections, sections + min(len(program.sections), 14) * (64 if wide else 40))]
            dynamic = program.dynamic
            spans += [(o, o + n) for o, n in ((dynamic.offset, 0x1A0), (dynamic.versions_offset, 0x40)) if o]
            spans += [(note.offset, note.offset + 16) for note in program.notes]
        case MachO():
            spans += [(0, program.commands[-1].offset + program.commands[-1].size)]
            spans += [(program.signature[0], program.signature[0] + 0x60)] if program.signature else []
        case Pe():
            spans += [(0x3C, 0x40), (program.header, program.header + 24 + 240 + 40 * min(len(program.sections), 5))]
            spans += [(program.imports, program.imports + 40)] if program.imports else []
    table = read_functions(path)
    assert table is not None
    spans += [(table.offset, table.offset + 72)]
    info = read(path)[0].evidence["go"].offset
    assert info is not None
    spans += [(info + 12, info + 48)]
    return [at for start, end in spans for at in range(start, end, 4)], program.view.order


@pytest.mark.real
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_header_word(zoo: Callable[..., Path], patched: Callable[..., Path], name: str) -> None:
    path = patched(build(zoo, name))
    whole = read(path)[0]
    places, order = headers(path)

    def check(facts: BinaryFacts, at: int, value: int) -> None:
        if whole.linkage == "dynamic":
            assert facts.linkage not in STARTS, f"{value:#x} at {at:#x}"
        if whole.cgo == "absent":
            assert facts.cgo != "proven", f"{value:#x} at {at:#x}"

    sweep(path, places, check, order)
    assert read(path)[0] == whole, "the sweep puts everything back"


@pytest.mark.real
@pytest.mark.parametrize("name", ["elf dynamic", "macho arm64", "pe"])
def test_seeded_flips_in_the_first_pages(zoo: Callable[..., Path], patched: Callable[..., Path], name: str) -> None:
    path, seeded = patched(build(zoo, name)), random.Random(20260329)
    with path.open("r+b") as stream:
        for _ in range(400):
            at = seeded.randrange(0x1000)
            stream.seek(at)
            whole = stream.read(1)
            stream.seek(at)
            stream.write(bytes([whole[0] ^ 1 << seeded.randrange(8)]))
            stream.flush()
            facts = all_of(path)
            if name == "elf dynamic":
                assert facts[0].linkage not in STARTS
            stream.seek(at)
            stream.write(whole)
            stream.flush()


HOSTILE = {
    "many segments over one stretch": 0,
    "the table's magic everywhere": b"\xf1\xff\xff\xff\0\0\1\x08" * 250_000,
    "build info's magic everywhere": (b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\xff\xff\x3f") * 60_000,
    "the old table's magic everywhere": (b"\xfb\xff\xff\xff\0\0\1\x08" + struct.pack("<Q", 2)) * 125_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_end_soon(make_elf: Callable[..., bytes], tmp_path: Path, name: str) -> None:
    body = HOSTILE[name] or bytes(2_000_000)
    assert isinstance(body, bytes)
    content = bytearray(make_elf(os_abi=0) + body)
    count = 1 if HOSTILE[name] else 1000
    headers = b"".join(
        struct.pack("<IIQQQQQQ", 1, 7, 0, 0x400000, 0, len(content) + 56 * count, 1 << 24, 4096) for _ in range(count)
    )
    content += headers
    content[32:40] = struct.pack("<Q", len(content) - len(headers))
    content[54:58] = struct.pack("<HH", 56, count)
    path = tmp_path / "hostile"
    path.write_bytes(content)
    (facts,) = all_of(path)
    assert (facts.linkage, facts.go) == ("static", None)


@pytest.mark.real
def test_a_symbol_table_that_repeats_itself(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    path = zoo("tiny", "linux/amd64")
    (program,) = formats.programs(open_window(path))
    assert isinstance(program, Elf)
    strings, table = program.section(".strtab"), program.section(".symtab")
    assert strings is not None
    assert table is not None
    name = b"main.version\0"
    copy = patched(path, {strings.offset: name * (strings.size // len(name)), table.offset: bytes(table.size)})
    with pytest.raises(FormatError):
        string_variable(copy, "main.version")
