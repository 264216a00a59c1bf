"""What `-X` set, read back from real links: every format, stripped and not."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary import formats
from imagekit.binary.macho import MachO
from imagekit.binary.variables import VALUE_LIMIT, StringVariable, set_variables, string_at, string_variable
from imagekit.binary.window import open_window
from imagekit.errors import FormatError, UnreadableError

X = "-X main.version=1 -X main.empty=filled -X example.com/zoo/in.fo.Build=blu\u00e9"
PLATFORMS = [
    "linux/amd64",
    "linux/arm64",
    "linux/386",
    "linux/arm/v7",
    "linux/mips",
    "linux/s390x",
    "darwin/amd64",
    "darwin/arm64",
    "windows/amd64",
    "windows/386",
    "windows/arm64",
    "freebsd/amd64",
]
SET = {"main.version": "1", "main.empty": "filled", "example.com/zoo/in.fo.Build": "blu\u00e9"}
EXTERNAL = "-linkmode=external -extldflags="


@pytest.mark.real
@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_value_at_the_same_address_when_stripped(zoo: Callable[..., Path], platform: str) -> None:
    named, stripped = zoo("tiny", platform, ldflags=X), zoo("tiny", platform, ldflags="-s -w " + X)
    for name, value in SET.items():
        found = string_variable(named, name)
        assert found is not None
        assert found.value == value
        assert string_variable(stripped, name) is None
        assert string_at(stripped, found.address) == value


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/s390x", "darwin/arm64", "windows/amd64"])
def test_all_that_was_set_is_listed_by_its_name(zoo: Callable[..., Path], platform: str) -> None:
    assert SET.items() <= set_variables(zoo("tiny", platform, ldflags=X)).items()
    assert set_variables(zoo("tiny", platform, ldflags="-s -w " + X)) == {}


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "android/arm64"])
def test_through_relocations(zoo: Callable[..., Path], platform: str) -> None:
    flags = () if platform.startswith("android") else ("-buildmode=pie",)
    named, stripped = zoo("tiny", platform, *flags), zoo("tiny", platform, *flags, ldflags="-s -w " + X)
    for name, value in SET.items():
        found = string_variable(named, name)
        assert found is not None
        assert (found.value, string_at(stripped, found.address)) == (value, value)


@pytest.mark.real
@pytest.mark.parametrize(
    ("flags", "ldflags"),
    [
        ((), ""),
        ((), EXTERNAL + "-static"),
        (("-buildmode=pie",), ""),
        (("-buildmode=pie",), EXTERNAL + "-static-pie"),
    ],
    ids=["internal", "static", "pie", "static-pie"],
)
def test_with_cgo(zoo: Callable[..., Path], flags: tuple[str, ...], ldflags: str) -> None:
    found = string_variable(zoo("cgo", "linux/amd64", *flags, ldflags=f"{X} {ldflags}", cgo=True), "main.version")
    assert found is not None
    assert found.value == "1"


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "darwin/arm64", "windows/amd64"])
def test_what_was_not_set(zoo: Callable[..., Path], platform: str) -> None:
    wrong = "-X main.verison=1 -X example.com/zoo.version=1 -X main.empty="
    program = zoo("tiny", platform, ldflags=wrong)
    assert value(string_variable(program, "main.version")) == "dev", "the linker ignores a wrong name silently"
    assert value(string_variable(program, "main.empty")) == "", "a variable without bytes in the file is empty"
    for name in ("main.verison", "example.com/zoo.version", "example.com/zoo/in.fo.Unread", "nodots", ""):
        assert string_variable(program, name) is None
    assert string_at(program, 0x10) is None


def value(found: StringVariable | None) -> str | None:
    return None if found is None else found.value


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/s390x", "darwin/arm64", "windows/386"])
def test_same_address_as_go_says(go: str, zoo: Callable[..., Path], platform: str) -> None:
    program = zoo("tiny", platform)
    listed = subprocess.run([go, "tool", "nm", str(program)], capture_output=True, text=True, check=True).stdout
    rows = {row.split()[-1].removeprefix("_"): row.split()[0] for row in listed.splitlines()}
    found = string_variable(program, "main.version")
    assert found is not None
    assert found.address == int(rows["main.version"], 16)


@pytest.mark.real
@pytest.mark.parametrize("based", [True, False], ids=["address", "offset"])
def test_chained_fixups(zoo: Callable[..., Path], patched: Callable[..., Path], based: bool) -> None:
    """Apple's own linker writes pointers as links of a chain; here Go's file is rewritten that way."""
    program = zoo("tiny", "darwin/arm64")
    (parsed,) = formats.programs(open_window(program))
    assert isinstance(parsed, MachO)
    command = parsed.first(0x80000022)
    assert command is not None, "Go's linker writes LC_DYLD_INFO_ONLY"
    found = string_variable(program, "main.version")
    assert found is not None
    header = parsed.layout.offset_of(found.address)
    assert header is not None
    (pointer,) = struct.unpack_from("<Q", program.read_bytes(), header)
    text = next(s for s in parsed.layout.segments if s.name == "__TEXT")
    chained = (pointer if based else pointer - text.address) | 3 << 51
    copy = patched(program, {command.offset: struct.pack("<I", 0x80000034), header: struct.pack("<Q", chained)})
    assert string_at(copy, found.address) == "1"


@pytest.mark.real
@pytest.mark.parametrize("length", [VALUE_LIMIT + 1, 1 << 62, 50_000_000], ids=["limit", "huge", "past the end"])
def test_a_length_that_lies(zoo: Callable[..., Path], patched: Callable[..., Path], length: int) -> None:
    program = zoo("tiny", "linux/amd64")
    found = string_variable(program, "main.version")
    (parsed,) = formats.programs(open_window(program))
    assert found is not None
    header = parsed.layout.offset_of(found.address)
    assert header is not None
    with pytest.raises(FormatError) as caught:
        string_at(patched(program, {header + 8: struct.pack("<Q", length)}), found.address)
    assert caught.value.offset == header


def test_no_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a program")
    assert string_variable(tmp_path / "text", "main.version") is None
    assert string_at(tmp_path / "text", 0x1000) is None
    with pytest.raises(UnreadableError):
        string_variable(tmp_path / "missing", "main.version")
