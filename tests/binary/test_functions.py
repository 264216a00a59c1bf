"""Go's function table: the oracle is `go tool nm`; the formats before Go 1.20 are made by hand."""

from __future__ import annotations

import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary import functions, sourcefiles
from imagekit.binary.functions import FunctionTable, read_functions
from imagekit.binary.layout import Layout, Region
from imagekit.binary.reader import read
from imagekit.binary.window import Window

FILES = ("/home/kim/app/main.go", "/opt/go/src/runtime/proc.go", "example.com/app/x.go", "C:/Users/kim/y.go")
NAMES = ("main.main", "gopkg.in/yaml%2ev2.Unmarshal", "runtime/cgo.free", "net/http.(*Client).Do")


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/386", "linux/s390x", "darwin/arm64", "windows/amd64"])
def test_holds_what_go_lists(go: str, zoo: Callable[..., Path], platform: str) -> None:
    listed = subprocess.run([go, "tool", "nm", str(zoo("tiny", platform))], capture_output=True, text=True, check=True)
    rows = [row.split(maxsplit=2) for row in listed.stdout.splitlines()]
    expected = {
        r[2].removeprefix("_") for r in rows if len(r) == 3 and r[1] == "T" and r[2].lstrip("_").startswith("main.")
    }
    for path in (zoo("tiny", platform), zoo("tiny", platform, ldflags="-s -w")):
        table = read_functions(path)
        assert table is not None
        names = set(table.names())
        assert expected <= names
        assert "runtime.mallocgc" in names
        assert {"main", "runtime"} <= table.packages()


@pytest.mark.real
def test_packages_are_those_that_go_lists(go: str, zoo: Callable[..., Path], zoo_source: Path) -> None:
    table = read_functions(zoo("net", "linux/amd64"))
    assert table is not None
    listed = subprocess.run(
        [go, "list", "-deps", "./net"], cwd=zoo_source, capture_output=True, text=True, check=True
    ).stdout.split()
    found = table.packages()
    by_the_runtime = {"os/signal", "runtime/debug"}
    assert found - {"main"} - by_the_runtime <= set(listed)
    assert {"crypto/x509", "net", "time", "crypto/internal/entropy/v1.0.0"} <= found
    assert table.starts("crypto/x509.")
    assert table.starts("no/such.", "time.LoadLocation")
    assert not table.starts("x509.", "no/such.")
    assert table.contains("x509.", b"no/such.")
    where = table.where_starts("time.LoadLocation")
    assert where is not None
    assert zoo("net", "linux/amd64").read_bytes()[where:].startswith(b"time.LoadLocation")


@pytest.mark.real
def test_without_a_section(zoo: Callable[..., Path], without_sections: Callable[[Path], Path]) -> None:
    for flags in ((), ("-buildmode=pie",)):
        table = read_functions(without_sections(zoo("tiny", "linux/amd64", *flags)))
        assert table is not None
        assert table.starts("main.main")


@pytest.mark.real
def test_an_unknown_magic_is_no_table(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    path = patched(zoo("tiny"), replace={b"\xf1\xff\xff\xff\0\0": b"\x11\x22\x33\x44\0\0"})
    assert read_functions(path) is None
    (facts,) = read(path)
    assert (facts.linkage, facts.cgo) == ("static", "unknown")
    assert facts.go is not None


def new_table(order: str, pointer: int, magic: int) -> bytes:
    words = 8 if magic != 0xFFFFFFFA else 7
    names = b"".join(name.encode() + b"\0" for name in NAMES)
    files = b"".join(name.encode() + b"\0" for name in FILES)
    field = 4 if magic != 0xFFFFFFFA else pointer
    start = 8 + words * pointer
    units = start + len(names)
    lines = units + 16 + len(files)
    functions_at = lines + -lines % 8
    word = "Q" if pointer == 8 else "I"
    places = [start, units, units + 16, lines, functions_at]
    head = [len(NAMES), 1, *([0] if words == 8 else []), *places]
    table = struct.pack(order + "IHBB" + word * words, magic, 0, 1, pointer, *head) + names + bytes(16) + files
    return table.ljust(functions_at, b"\0") + bytes((2 * len(NAMES) + 1) * field)


def old_table(order: str, pointer: int) -> bytes:
    """Go 1.2 to 1.15: (pc, function) pairs, then functions that point to their names."""
    word, count = "Q" if pointer == 8 else "I", len(NAMES)
    list_at = 8 + pointer
    structs = list_at + (2 * count + 1) * pointer + 4
    names_at = structs + count * (pointer + 4)
    pairs, bodies, names = b"", b"", b""
    for index, name in enumerate(NAMES):
        pairs += struct.pack(order + word * 2, 0x1000 + index, structs + index * (pointer + 4))
        bodies += struct.pack(order + word + "I", 0x1000 + index, names_at + len(names))
        names += name.encode() + b"\0"
    files_at = names_at + len(names)
    files = b"".join(name.encode() + b"\0" for name in FILES)
    starts = [files_at + 4 + 4 * len(FILES) + files.index(name.encode()) for name in FILES]
    listed = struct.pack(order + "I" * (1 + len(FILES)), len(FILES) + 1, *starts) + files
    head = struct.pack(order + "IHBB" + word, 0xFFFFFFFB, 0, 1, pointer, count)
    return head + pairs + struct.pack(order + word + "I", 0x2000, files_at) + bodies + names + listed


def found(table: bytes, order: str, pointer: int, before: int = 40) -> FunctionTable | None:
    content = bytes(before) + table + bytes(24)
    segment = Region("text", 0x1000, 0, len(content), len(content))
    return functions.find(Window(content, 0, len(content), order), Layout(pointer, (segment,)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("pointer", [4, 8])
@pytest.mark.parametrize("magic", [0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1], ids=["1.2", "1.16", "1.18", "1.20"])
def test_every_format(order: str, pointer: int, magic: int) -> None:
    content = old_table(order, pointer) if magic == 0xFFFFFFFB else new_table(order, pointer, magic)
    table = found(content, order, pointer)
    assert table is not None
    assert tuple(table.names()) == NAMES
    assert table.packages() == {"main", "gopkg.in/yaml.v2", "runtime/cgo", "net/http"}
    assert table.starts("runtime/cgo.")
    assert not table.contains("runtime/cgo.mallocs")
    leak = sourcefiles.leaked(table)
    assert leak is not None
    assert leak.paths == (FILES[0], FILES[3], FILES[1]), "what stands below GOROOT comes last"
    assert leak.total == 3
    assert leak.evidence is not None
    assert leak.evidence.offset is not None
    assert (bytes(40) + content)[leak.evidence.offset :].startswith(FILES[0].encode() + b"\0")


@pytest.mark.parametrize("magic", [0xFFFFFFFB, 0xFFFFFFF1], ids=["1.2", "1.20"])
def test_damage_is_no_table_or_is_bounded(magic: int) -> None:
    whole = old_table("<", 8) if magic == 0xFFFFFFFB else new_table("<", 8, magic)
    for at in range(0, 80, 4):
        for value in (0, 0x7FFFFFFF, 0xFFFFFFFF):
            damaged = bytearray(whole)
            damaged[at : at + 4] = struct.pack("<I", value)
            table = found(bytes(damaged), "<", 8)
            if table is not None:
                table.contains("runtime/cgo.")
                sourcefiles.leaked(table)


def test_the_pointer_size_must_be_the_program_s() -> None:
    assert found(new_table("<", 4, 0xFFFFFFF1), "<", 8) is None


@pytest.mark.real
def test_memory_does_not_grow_with_the_program(
    zoo: Callable[..., Path], weight: Path, without_sections: Callable[[Path], Path]
) -> None:
    """100 MB inside the program, no section to go by: everything is searched, nothing is held."""
    path = without_sections(zoo("big"))
    tracemalloc.start()
    try:
        (facts,) = read(path)
        table = read_functions(path)
        assert table is not None
        assert not table.contains("runtime/cgo.")
        assert table.starts("main.main")
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 4 << 20
        assert "runtime" in table.packages()
        _, peak = tracemalloc.get_traced_memory()
        assert peak < 16 << 20
    finally:
        tracemalloc.stop()
    assert facts.linkage == "static"
