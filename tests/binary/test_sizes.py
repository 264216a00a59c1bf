"""Bytes by package: the oracle is `go tool nm -size`; the formats before Go 1.20 are made by hand."""

from __future__ import annotations

import struct
import subprocess
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary import goname
from imagekit.binary.sizes import PackageSize, by_package

_ALIGNMENT = 64
NAMES = ("main.main", "gopkg.in/yaml%2ev2.Unmarshal", "net.Dial", "net/http.(*Client).Do", "type:.eq.main.box", "net.x")
SIZES = (16, 32, 64, 128, 256, 512)
EXPECTED = {"main": 16, "gopkg.in/yaml.v2": 32, "net": 64 + 512, "net/http": 128, "": 256}
FORMATS = [(0xFFFFFFF1, 8), (0xFFFFFFF1, 4), (0xFFFFFFF0, 8), (0xFFFFFFFA, 8), (0xFFFFFFFA, 4), (0xFFFFFFFB, 8)]


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/386", "linux/s390x", "darwin/arm64", "windows/amd64"])
def test_agrees_with_go_tool_nm(go: str, zoo: Callable[..., Path], platform: str) -> None:
    """nm gives each function without the padding after it, so a package may be larger by that, never smaller."""
    path = zoo("tiny", platform)
    listed = subprocess.run([go, "tool", "nm", "-size", str(path)], capture_output=True, text=True, check=True)
    sizes: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    for row in listed.stdout.splitlines():
        _, size, kind, name, *_ = [*row.split(maxsplit=3), "", "", ""]
        package = goname.package_of(name.removeprefix("_") if platform.startswith("darwin") else name)
        if kind in ("T", "t") and package and not name.endswith(("runtime.text", "runtime.etext")):
            sizes[package] += int(size)
            counts[package] += 1
    found = {each.package: each.size for each in by_package(path)}
    assert {"main", "runtime", "internal/abi"} <= found.keys()
    for package in ("main", "runtime", "sync/atomic", "internal/bytealg"):
        if package in found:
            assert sizes[package] <= found[package] + _ALIGNMENT
            assert found[package] <= sizes[package] + _ALIGNMENT * counts[package]
    assert by_package(zoo("tiny", platform, ldflags="-s -w")) == by_package(path)


@pytest.mark.real
def test_the_module_is_the_longest_path_that_fits(zoo: Callable[..., Path], peer: Callable[[str], Path]) -> None:
    modules = {each.package: each.module for each in by_package(peer("goreleaser"))}
    sdk = "github.com/aws/aws-sdk-go-v2"
    assert modules[f"{sdk}/service/s3/types"] == f"{sdk}/service/s3"
    assert modules[f"{sdk}/aws/middleware"] == sdk
    assert modules["main"] == "github.com/goreleaser/goreleaser/v2"
    assert modules["runtime"] == modules["vendor/golang.org/x/net/idna"] == ""
    sizes = [each.size for each in by_package(zoo("tiny"))]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.real
def test_a_large_program_takes_a_fraction_of_a_second(peer: Callable[[str], Path]) -> None:
    """goreleaser: 120 MB, 100,000 functions."""
    path = peer("goreleaser")
    began = time.process_time()
    found = by_package(path)
    assert time.process_time() - began < 1  # 0.1 s on a quiet machine; the CPU's time, for others run beside us
    assert sum(each.size for each in found) > 20_000_000
    tracemalloc.start()
    assert by_package(path) == found
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.real
def test_programs_without_a_table_have_no_sizes(tmp_path: Path, zoo: Callable[..., Path]) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    assert by_package(text) == by_package(Path("/bin/sh")) == ()
    cut = tmp_path / "cut"
    cut.write_bytes(zoo("tiny").read_bytes()[:100_000])
    assert by_package(cut) == ()


def table(
    order: str, pointer: int, magic: int, names: tuple[str, ...] = NAMES, sizes: tuple[int, ...] = SIZES
) -> bytes:
    """A function table as cmd/link writes it: header, names, functions with their records."""
    old, word = magic == 0xFFFFFFFB, "Q" if pointer == 8 else "I"
    field = word if magic in (0xFFFFFFFA, 0xFFFFFFFB) else "I"
    width = struct.calcsize(field)
    words = {0xFFFFFFFB: 0, 0xFFFFFFFA: 6}.get(magic, 7)
    blob, starts = b"\0", []
    for name in names:
        starts.append(len(blob))
        blob += name.encode() + b"\0"
    blob += b"\0" * (-len(blob) % 8)
    list_size = (2 * len(names) + 1) * width
    head_size = 8 + (1 + words) * pointer
    base = head_size + list_size if old else head_size  # where the names begin
    start = head_size if old else head_size + len(blob)
    records, entries = b"", [0x1000]
    first = start + list_size + (len(blob) if old else 0)
    places = []
    for at, size in zip(starts, sizes, strict=True):
        places.append(first + len(records) - (0 if old else start))
        records += struct.pack(order + field, entries[-1]) + struct.pack(order + "I", at + (base if old else 0))
        entries.append(entries[-1] + size)
    listed = b"".join(struct.pack(order + 2 * field, *pair) for pair in zip(entries, places, strict=False))
    listed += struct.pack(order + field, entries[-1])
    head = struct.pack(order + "IHBB", magic, 0, 1, pointer) + struct.pack(order + word, len(names))
    if old:
        return head + listed + blob + records
    numbers = (0, 0, head_size, *[start] * 4) if words == 7 else (0, head_size, *[start] * 4)
    return head + struct.pack(order + word * words, *numbers) + blob + listed + records


@pytest.fixture
def wrapped(tmp_path: Path, make_elf: Callable[..., bytes]) -> Callable[..., Path]:
    """An ELF program that holds a table in its loaded bytes; 32-bit pointers need a 32-bit file."""

    def wrap(content: bytes, order: str, pointer: int) -> Path:
        path = tmp_path / "program"
        if pointer == 8:
            whole = bytearray(make_elf(order=order)) + content
            for at in (64 + 32, 64 + 40):  # p_filesz and p_memsz of the one segment
                struct.pack_into(order + "Q", whole, at, len(whole))
        else:
            ident = struct.pack("4sBBBB8x", b"\x7fELF", 1, 1 if order == "<" else 2, 1, 0)
            header = ident + struct.pack(order + "HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 40, 0, 0)
            size = 52 + 32 + len(content)
            whole = bytearray(header + struct.pack(order + "IIIIIIII", 1, 0, 0, 0, size, size, 4, 4) + content)
        path.write_bytes(whole)
        return path

    return wrap


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "pointer"), FORMATS)
def test_every_version_of_the_table(wrapped: Callable[..., Path], magic: int, pointer: int, order: str) -> None:
    found = by_package(wrapped(table(order, pointer, magic) + bytes(1024), order, pointer))
    assert {each.package: each.size for each in found} == EXPECTED


def test_a_name_that_only_begins_like_the_last_package(wrapped: Callable[..., Path]) -> None:
    names = ("example.F", "example.com/a.F", "example.com/a.G[go.shape.struct { x/y.T }]", "example.H")
    found = by_package(wrapped(table("<", 8, 0xFFFFFFF1, names, (16, 16, 16, 16)), "<", 8))
    assert {each.package: each.size for each in found} == {"example": 32, "example.com/a": 32}


def test_what_contradicts_itself_has_no_sizes(wrapped: Callable[..., Path]) -> None:
    good = table("<", 8, 0xFFFFFFF1)
    assert by_package(wrapped(good + bytes(1024), "<", 8))
    assert by_package(wrapped(table("<", 8, 0xFFFFFFF1, sizes=(1, 2, 3, 4, 5, 1 << 30)), "<", 8)) == ()
    assert by_package(wrapped(good[:-1], "<", 8)) == ()
    at = good.index(b"main.main")
    for start in range(0, at, 4):
        for value in (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f"):
            content = good[:start] + value + good[start + 4 :] + bytes(1024)
            assert all(isinstance(each, PackageSize) for each in by_package(wrapped(content, "<", 8)))
    for start in range(at + len(good[at:].rstrip(b"\0")) // 2 // 4 * 4, len(good), 4):
        content = good[:start] + b"\xff" * 4 + good[start + 4 :] + bytes(1024)
        assert all(isinstance(each, PackageSize) for each in by_package(wrapped(content, "<", 8)))


def test_many_functions_with_one_long_name_end_early(wrapped: Callable[..., Path]) -> None:
    count = 200_000
    names = b"\0" + b"x" * 4000 + b"\0" * 7
    start = 72 + len(names)
    records = struct.pack("<II", 0, 1)
    place = (2 * count + 1) * 4
    listed = struct.pack("<II", 0, place) * count + struct.pack("<I", 0)
    head = struct.pack("<IHBBQ", 0xFFFFFFF1, 0, 1, 8, count) + struct.pack("<7Q", 0, 0, 72, *[start] * 4)
    began = time.process_time()
    assert by_package(wrapped(head + names + listed + records, "<", 8)) == ()
    assert time.process_time() - began < 1
