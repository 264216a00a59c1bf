"""Mach-O: slices, signatures and libraries, on Go's own programs changed by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary.functions import read_functions
from imagekit.binary.reader import read
from imagekit.binary.variables import string_variable

CPU = {"amd64": (0x01000007, 3), "arm64": (0x0100000C, 0)}
LIB = b"/usr/lib/libSystem.B.dylib\0"


def fat(parts: dict[str, bytes], wide: bool = False) -> bytes:
    """A fat file as lipo lays it out: slices at multiples of 16 KiB."""
    header = struct.pack(">II", 0xCAFEBABF if wide else 0xCAFEBABE, len(parts))
    at, body = 0x4000, b""
    for name, content in parts.items():
        place = struct.pack(">QQII" if wide else ">III", at, len(content), 14, *([0] if wide else []))
        header += struct.pack(">II", *CPU[name]) + place
        padded = content.ljust(-(-len(content) // 0x4000) * 0x4000, b"\0")
        body, at = body + padded, at + len(padded)
    return header.ljust(0x4000, b"\0") + body


@pytest.fixture
def two(zoo: Callable[..., Path]) -> dict[str, bytes]:
    return {arch: zoo("tiny", f"darwin/{arch}").read_bytes() for arch in ("amd64", "arm64")}


@pytest.mark.real
@pytest.mark.parametrize("wide", [False, True], ids=["fat", "fat64"])
def test_one_subject_a_slice(two: dict[str, bytes], tmp_path: Path, wide: bool) -> None:
    path = tmp_path / "fat"
    path.write_bytes(fat(two, wide))
    facts = read(path)
    assert [(f.slice, str(f.platform), f.linkage, f.cgo) for f in facts] == [
        ("amd64", "darwin/amd64", "system", "absent"),
        ("arm64", "darwin/arm64", "system", "absent"),
    ]
    for one in facts:
        assert one.go is not None
        where = one.evidence["needed"].offset
        assert where is not None
        assert LIB[:10] in path.read_bytes()[where : where + 64], "offsets count from the start of the whole file"
    found = string_variable(path, "main.version")
    assert found is not None
    assert found.value == "1"
    assert read_functions(path) is not None


@pytest.mark.real
def test_one_bad_slice_does_not_hide_the_other(two: dict[str, bytes], tmp_path: Path) -> None:
    changed = bytearray(two["arm64"])
    changed[0x20000] ^= 1
    (tmp_path / "fat").write_bytes(fat({"amd64": two["amd64"], "arm64": bytes(changed)}))
    assert [f.linkage for f in read(tmp_path / "fat")] == ["system", "broken"]
    (tmp_path / "mixed").write_bytes(fat({"amd64": b"\x7fELF" + bytes(64), "arm64": two["arm64"]}))
    assert [f.linkage for f in read(tmp_path / "mixed")] == ["unknown", "system"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("offset", "size"), [(0x4000, 1 << 31), (1 << 31, 4), (0x4000, 0)], ids=["long", "outside", "empty"]
)
def test_a_slice_that_is_not_there(two: dict[str, bytes], tmp_path: Path, offset: int, size: int) -> None:
    content = bytearray(fat(two))
    content[16:24] = struct.pack(">II", offset, size)
    (tmp_path / "fat").write_bytes(content)
    assert read(tmp_path / "fat")[0].linkage in ("broken", "unknown")


@pytest.mark.real
def test_slices_that_overlap(two: dict[str, bytes], tmp_path: Path) -> None:
    content = fat({"arm64": two["arm64"]})
    many = struct.pack(">II", 0xCAFEBABE, 42)
    many += struct.pack(">IIIII", 7, 3, 0x4000, len(two["arm64"]), 14) * 42
    (tmp_path / "fat").write_bytes(many + content[len(many) :])
    (facts,) = read(tmp_path / "fat")
    assert facts.linkage == "broken"


@pytest.mark.real
@pytest.mark.parametrize("at", [0x3000, 0x20000, 0x100000], ids=["code", "more code", "data"])
def test_a_changed_page_is_killed(zoo: Callable[..., Path], patched: Callable[..., Path], at: int) -> None:
    program = zoo("tiny", "darwin/arm64")
    byte = program.read_bytes()[at]
    (facts,) = read(patched(program, {at: bytes([byte ^ 0x10])}))
    assert facts.linkage == "broken"
    assert facts.evidence["linkage"].offset == at & ~0xFFF


@pytest.mark.real
def test_arm64_without_a_signature_is_killed(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    program = zoo("tiny", "darwin/arm64")
    content = program.read_bytes()
    at = content.index(struct.pack("<II", 0x1D, 16), 32)
    (facts,) = read(patched(program, {at: struct.pack("<I", 0x26)}))  # LC_FUNCTION_STARTS, which nobody needs
    assert facts.linkage == "broken"
    assert "LC_CODE_SIGNATURE" in facts.evidence["linkage"].value
    assert facts.hardening["signature"] == "none"


@pytest.mark.real
@pytest.mark.parametrize(
    ("path", "linkage"),
    [
        (b"/usr/lib/libSomething.dylib", "system"),
        (b"/System/Library/Framewor/x", "system"),
        (b"/usr/lib/../local/libz.dyl", "dynamic"),
        (b"/usr/local/lib/libz.1.dyli", "dynamic"),
        (b"@rpath/libvendor.B.1.dylib", "dynamic"),
        (b"/opt/homebrew/lib/libz.dyl", "dynamic"),
    ],
)
def test_libraries(zoo: Callable[..., Path], patched: Callable[..., Path], path: bytes, linkage: str) -> None:
    named = path[:26]
    (facts,) = read(patched(zoo("tiny", "darwin/amd64"), replace={LIB: named + b"\0"}))
    assert facts.needed == (named.decode(),)
    assert facts.linkage == linkage


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "linkage"), [(1, "library"), (4, "unknown"), (6, "library"), (8, "library"), (10, "unknown")]
)
def test_file_types(zoo: Callable[..., Path], patched: Callable[..., Path], kind: int, linkage: str) -> None:
    (facts,) = read(patched(zoo("tiny", "darwin/amd64"), {12: struct.pack("<I", kind)}))
    assert facts.linkage == linkage


@pytest.mark.real
def test_hardening(zoo: Callable[..., Path]) -> None:
    (arm,), (intel,) = (read(zoo("tiny", f"darwin/{arch}")) for arch in ("arm64", "amd64"))
    assert arm.hardening == {
        "pie": True,
        "nx": True,
        "writable_code": False,
        "stack_protector": "n/a",
        "fortify": "n/a",
        "signature": "linker-signed",
        "page_hashes": "good",
        "hardened_runtime": False,
        "minimum_os": arm.hardening["minimum_os"],
        "symbols": True,
        "debug": True,
    }
    assert isinstance(arm.hardening["minimum_os"], str)
    assert intel.hardening["signature"] == "none"
    assert intel.hardening["page_hashes"] == "n/a"
    (stripped,) = read(zoo("tiny", "darwin/arm64", ldflags="-s -w"))
    assert (stripped.hardening["symbols"], stripped.hardening["debug"]) == (False, False)
