"""Files that are large in one thing: names without number, tables of magics, records that ask for work on every byte.

Each within 1 s of processor and 64 MiB, as tests/fuzz/replay.py enforces them.
"""

from __future__ import annotations

import json
import runpy
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
SEEDS = runpy.run_path(str(FUZZ / "seeds.py"))
LONG = b"\xff" * 4000 + b"\0"
MEGABYTE = 1 << 20


def versions(name: bytes = LONG) -> bytes:
    """As many libraries as are read with a version each, every name of bytes that are not UTF-8."""
    file = SEEDS["ElfFile"](True, "<")
    file.put(b"/lib/ld.so\0", 3)
    row = struct.pack("<HHIIIIHHII", 1, 1, 1, 16, 32, 0, 0, 2, 1, 0)
    needs = file.put(row * 8192)
    names = file.put(b"\0" + name)
    tags = [(1, 1)] * 1000 + [(29, 1), (0x6FFFFFFE, file.base + needs), (0x6FFFFFFF, 8192)]
    tags += [(5, file.base + names), (10, len(name) + 1), (0, 0)]
    file.put(b"".join(struct.pack("<QQ", *tag) for tag in tags), 2)
    return bytes(file.seal(3, 62, named=False))


def sections() -> bytes:
    """16,000 sections, each with the same long name."""
    file = SEEDS["ElfFile"](True, "<")
    names = file.put(b"\0" + LONG)
    rows = bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, names, len(LONG) + 1, 0, 0, 1, 0) * 16_000
    table = file.put(rows)
    out = bytearray(file.seal(2, 62, named=False))
    struct.pack_into("<Q", out, 40, table)
    struct.pack_into("<HHH", out, 58, 64, 16_001, 1)
    return bytes(out)


def build_infos() -> bytes:
    """As many build infos of 1 MiB as are tried, each wrong in its last line only."""
    lines = "dep\ta\tv1\n=>\tb\tv2\t\nbuild\ta=1\n" * 33_000
    one = SEEDS["build_info"](modules=lines + "build\twrong\n")
    return bytes(SEEDS["wrapped"]((one + bytes(-len(one) % 16)) * 20))


def packages() -> bytes:
    """A function table of a million names, each of another package."""
    names = [f"{number:x}.f" for number in range(1_000_000)]
    joined = ("\0" + "\0".join(names) + "\0").encode()
    head = struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8)
    start, count = 72, 1_000
    end = start + len(joined)
    head += struct.pack("<8Q", count, 1, 0, start, end, end + 4, end + 8, end + 12)
    return bytes(SEEDS["wrapped"](head + joined + bytes(12) + bytes(8 * count + 4) + bytes(64)))


def functions() -> bytes:
    """A million functions that all have one name of 4,000 bytes."""
    count, start = 1_000_000, 72
    names = b"\0" + b"a" * 4000 + b"\0"
    end = start + len(names)
    lists = -(-(end + 12) // 8) * 8
    head = struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8)
    head += struct.pack("<8Q", count, 1, 0, start, end, end + 4, end + 8, lists)
    size = (2 * count + 1) * 4
    rows = b"".join(struct.pack("<II", 0, size) for _ in range(count)) + bytes(4)
    body = (head + names).ljust(lists, b"\0") + rows + struct.pack("<II", 0, 1) + bytes(32)
    return bytes(SEEDS["wrapped"](body))


def files() -> bytes:
    """A function table of a million source files, each an absolute path."""
    joined = b"".join(b"/home/%07x/main.go\0" % number for number in range(1_000_000))
    names = b"\0main.main\0"
    head = struct.pack("<IBBBB", 0xFFFFFFF1, 0, 0, 1, 8)
    units = -(-(72 + len(names)) // 8) * 8
    end = units + 8 + len(joined)
    head += struct.pack("<8Q", 1, 1_000_000, 0, 72, units, units + 8, end, end + 8)
    return bytes(SEEDS["wrapped"]((head + names).ljust(units + 8, b"\0") + joined + bytes(128)))


def symbols() -> bytes:
    """A string table that is one name over and over, and a symbol table that is its places over and over."""
    file = SEEDS["ElfFile"](True, "<")
    name = b"main.version\0"
    file.put(
        b"".join(struct.pack("<I", 1 + 13 * (index % 255)) for index in range(6 * 350_000)),
        name=".symtab",
        kind=2,
        link=2,
    )
    file.put(b"\0" + name * 255, name=".strtab", kind=3)
    return bytes(file.seal(2, 62))


def imported(name: bytes = LONG) -> bytes:
    """4,000 libraries, each with the same name and the same 4,000 imports."""
    out = bytearray(SEEDS["pe"](True, 0x8664))
    header, rva, table = 0x80, 0x10000, 4100 * 20
    place, thunks, sections = rva + table, rva + table + 8192, header + 24 + 240
    rows = struct.pack("<IIIII", thunks, 0, 0, place, thunks) * 4000
    extra = rows.ljust(table, b"\0") + name.ljust(8192, b"\0") + struct.pack("<Q", place - 2) * 4000 + bytes(8)
    for directory, where in ((1, (rva, table)), (4, (0, 0)), (13, (0, 0))):
        struct.pack_into("<II", out, header + 24 + 112 + directory * 8, *where)
    struct.pack_into("<IIII", out, sections + 8, len(extra), rva, len(extra), len(out))
    return bytes(out + extra)


def pax() -> bytes:
    """One pax header after another, never an entry, and every record another key."""
    block = bytearray(dict(SEEDS["tars"]())["pax"][:512])
    out = bytearray()
    for first in range(0, 900_000, 4500):
        records = b"".join(b"14 %07x=\na\n" % number for number in range(first, first + 4500))
        block[124:136] = b"%011o\0" % len(records)
        block[156:157], block[148:156] = b"x", b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        out += block + records + bytes(-len(records) % 512)
    return bytes(out)


def annotations() -> bytes:
    """An index of 4 MiB, all of it annotations."""
    pairs = {f"{number:x}": "" for number in range(300_000)}
    return json.dumps({"schemaVersion": 2, "manifests": [], "annotations": pairs}).encode()[: 4 * MEGABYTE]


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    **{f"versions {n}": ("elf", partial(versions, b"\xff" * n + b"\0")) for n in (1, 200, 4000)},
    "sections": ("elf", sections),
    "build infos": ("elf", build_infos),
    "packages": ("elf", packages),
    "functions": ("elf", functions),
    "files": ("elf", files),
    "symbols": ("elf", symbols),
    **{f"imports {n}": ("pe", partial(imported, b"\xff" * n + b"\0")) for n in (1, 200, 4000)},
    "pax": ("tar", pax),
    "annotations": ("documents", annotations),
}


@pytest.mark.real
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_go_off_small(tmp_path: Path, name: str) -> None:
    target, make = BOMBS[name]
    path = tmp_path / "bomb"
    path.write_bytes(make())
    command = [sys.executable, str(FUZZ / "replay.py"), target, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
