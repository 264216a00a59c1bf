"""PE: libraries, subsystems and marks, on Go's own programs changed by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary import formats
from imagekit.binary.pe import Pe
from imagekit.binary.reader import read
from imagekit.binary.window import open_window


def header(path: Path) -> int:
    (program,) = formats.programs(open_window(path))
    assert isinstance(program, Pe)
    return program.header


@pytest.mark.real
@pytest.mark.parametrize(
    ("dll", "linkage", "libc"),
    [
        (b"KERNEL32.DLL", "system", None),
        (b"ucrtbase.dll", "system", "ucrt"),
        (b"msvcrt.dll\0\0", "system", "msvcrt"),
        (b"api-ms-win-x", "system", None),
        (b"vendor64.dll", "dynamic", None),
        (b"libgcc_s.dll", "dynamic", None),
    ],
)
def test_libraries(
    zoo: Callable[..., Path], patched: Callable[..., Path], dll: bytes, linkage: str, libc: str | None
) -> None:
    (facts,) = read(patched(zoo("tiny", "windows/amd64"), replace={b"kernel32.dll\0": dll + b"\0"}))
    assert facts.needed == (dll.rstrip(b"\0").decode(),)
    assert (facts.linkage, facts.libc) == (linkage, libc)


@pytest.mark.real
@pytest.mark.parametrize(
    ("at", "value", "linkage", "platform"),
    [
        (22, 0x2022, "library", "windows/amd64"),
        (22, 0x0020, "broken", "windows/amd64"),
        (92, 10, "unknown", "None"),
        (92, 1, "unknown", "None"),
        (40, 0, "broken", "windows/amd64"),
        (4, 0x1234, "system", "None"),
    ],
    ids=["DLL", "not executable", "EFI", "driver", "entry outside", "machine"],
)
def test_headers(
    zoo: Callable[..., Path], patched: Callable[..., Path], at: int, value: int, linkage: str, platform: str
) -> None:
    program = zoo("tiny", "windows/amd64")
    width = "<I" if at == 40 else "<H"
    (facts,) = read(patched(program, {header(program) + at: struct.pack(width, value)}))
    assert (facts.linkage, str(facts.platform)) == (linkage, platform)


@pytest.mark.real
def test_packed(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    program = zoo("tiny", "windows/amd64")
    (facts,) = read(patched(program, {header(program) + 24 + 240: b"UPX0\0\0\0\0"}))
    assert facts.linkage == "unknown"


@pytest.mark.real
def test_no_imports(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    program = zoo("tiny", "windows/amd64")
    (facts,) = read(patched(program, {header(program) + 24 + 112 + 8: bytes(8)}))
    assert (facts.needed, facts.linkage) == ((), "unknown")


@pytest.mark.real
def test_hardening(zoo: Callable[..., Path]) -> None:
    expected = {
        "aslr": True,
        "high_entropy_va": True,
        "nx": True,
        "control_flow_guard": False,
        "shadow_stack": False,
        "safe_seh": "n/a",
        "stack_protector": "n/a",
        "force_integrity": False,
        "writable_code": False,
        "signature": "none",
        "timestamp": "none",
        "symbols": True,
        "debug": True,
    }
    (facts,) = read(zoo("tiny", "windows/amd64"))
    assert facts.hardening == expected
    (facts,) = read(zoo("tiny", "windows/386", ldflags="-s -w"))
    assert facts.hardening == expected | {"high_entropy_va": "n/a", "symbols": False, "debug": False}
    (facts,) = read(zoo("tiny", "windows/amd64", "-buildmode=exe"))
    assert (facts.hardening["aslr"], facts.hardening["high_entropy_va"]) == (False, False)
