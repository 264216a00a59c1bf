"""Go's build info: the oracle is `go version -m`; older and hostile shapes are made by hand."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary import buildinfo
from imagekit.binary.facts import GoBuild, GoModule
from imagekit.binary.layout import Layout, Region
from imagekit.binary.reader import read
from imagekit.binary.window import Window

START, END = bytes.fromhex("3077af0c9274080241e1c107e6d618e6"), bytes.fromhex("f932433186182072008242104116d8f2")
TEXT = "path\texample.com/a\nmod\texample.com/a\tv1.2.3\th1:x=\ndep\tb.org/b\tv0.1.0\th1:y=\nbuild\tGOOS=linux\n"


def as_go_prints(build: GoBuild, path: Path) -> str:
    lines = [f"{path}: {build.version}", f"\tpath\t{build.path}"]
    for kind, module in [("mod", build.main), *(("dep", dep) for dep in build.deps)]:
        if module is not None:
            lines.append(f"\t{kind}\t{module.path}\t{module.version}\t{module.sum}")
            if module.replace is not None:
                replace = module.replace
                lines.append(f"\t=>\t{replace.path}\t{replace.version}\t{replace.sum}")
    for key, value in build.settings.items():
        quoted = '"' + value.replace('"', '\\"') + '"' if set(value) & set(' "\t') else value
        lines.append(f"\tbuild\t{key}={quoted}")
    return "\n".join(lines) + "\n"


@pytest.mark.real
@pytest.mark.parametrize(
    "platform", ["linux/amd64", "linux/s390x", "darwin/arm64", "windows/386", "aix/ppc64", "plan9/386"]
)
def test_same_as_go_version(go: str, zoo: Callable[..., Path], platform: str) -> None:
    strip = "" if platform == "aix/ppc64" else "-s -w"  # Go itself does not find it in a stripped XCOFF file
    program = zoo("tiny", platform, "-tags=a,b", ldflags=strip)
    said = subprocess.run([go, "version", "-m", str(program)], capture_output=True, text=True, check=True).stdout
    (facts,) = read(program)
    assert facts.go is not None
    assert as_go_prints(facts.go, program) == said


@pytest.mark.real
def test_a_program_that_reads_build_info_has_its_own(zoo: Callable[..., Path], without_sections: Callable) -> None:
    """debug/buildinfo holds the magic as data; the right one is found with and without section headers."""
    program = zoo("reads")
    for path in (program, without_sections(program)):
        (facts,) = read(path)
        assert facts.go is not None
        assert facts.go.path == "example.com/zoo/reads"


@pytest.mark.real
def test_wiped(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    (facts,) = read(patched(zoo("tiny"), replace={b"\xff Go buildinf:": bytes(14)}))
    assert facts.go is None
    assert (facts.linkage, facts.cgo, str(facts.platform)) == ("static", "absent", "linux/amd64")


def inline(version: str = "go1.26.8", text: str = TEXT, framed: bool = True) -> bytes:
    content = START + text.encode() + END if framed else text.encode()
    return (
        (b"\xff Go buildinf:\x08\x02").ljust(32, b"\0")
        + varint(len(version))
        + version.encode()
        + varint(len(content))
        + content
    )


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def found(content: bytes, writable: bool = True, pointer: int = 8) -> tuple[GoBuild, int] | None:
    segment = Region("data", 0x1000, 0, len(content), len(content), writable)
    return buildinfo.read(Window(content, 0, len(content)), Layout(pointer, (segment,)))


def test_inline() -> None:
    expected = GoBuild(
        "go1.26.8",
        "example.com/a",
        GoModule("example.com/a", "v1.2.3", "h1:x="),
        (GoModule("b.org/b", "v0.1.0", "h1:y="),),
        {"GOOS": "linux"},
    )
    assert found(bytes(48) + inline()) == (expected, 48)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("pointer", [4, 8])
def test_pointers_of_go_1_17(order: str, pointer: int) -> None:
    word = order + ("Q" if pointer == 8 else "I")
    version, modules = b"go1.17.1", START + TEXT.encode() + END
    head = b"\xff Go buildinf:" + bytes([pointer, order == ">"])
    strings = 64 + 4 * pointer
    head += struct.pack(word, 0x1000 + 64) + struct.pack(word, 0x1000 + 64 + 2 * pointer)
    body = b"".join(
        struct.pack(word, number)
        for number in (0x1000 + strings, len(version), 0x1000 + strings + len(version), len(modules))
    )
    result = found(head.ljust(64, b"\0") + body + version + modules, pointer=pointer)
    assert result is not None
    assert (result[0].version, result[0].path) == ("go1.17.1", "example.com/a")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff Go buildinf:\x08\x02",
        inline(version=""),
        inline()[:-1],
        inline(text="build\tnothing\n"),
        inline(text="dep\tonly-a-path\n"),
        inline(text="=>\ta\tb\tc\n"),
        (b"\xff Go buildinf:\x08\x02").ljust(32, b"\0") + b"\xff" * 10,
        (b"\xff Go buildinf:\x08\x00") + struct.pack("<QQ", 1 << 63, 1 << 40),
        (b"\xff Go buildinf:\x03\x00") + bytes(16),
        b"\1" * 8 + inline(),
    ],
    ids=[
        "cut",
        "no version",
        "text cut",
        "no =",
        "no version of dep",
        "=> first",
        "varint",
        "pointers",
        "pointer size",
        "unaligned",
    ],
)
def test_what_is_none_is_passed_over(content: bytes) -> None:
    assert found(content) is None
    padded = content.ljust(-(-len(content) // 16) * 16, b"\0")
    assert found(padded + inline()) is not None


def test_not_in_code() -> None:
    assert found(inline(), writable=False) is None


def test_without_module_lines() -> None:
    result = found(inline(framed=False))
    assert result is not None
    assert result[0] == GoBuild("go1.26.8", "", None, (), {})


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("-ldflags=-s", "-ldflags", "-s"),
        ("-ldflags=\"-X main.v=1 -X 'main.w=a b'\"", "-ldflags", "-X main.v=1 -X 'main.w=a b'"),
        ("CGO_CFLAGS=", "CGO_CFLAGS", ""),
        ('a="\\t\\x41\\u00e9\\U0001f600\\101\\"\\\\"', "a", '\tA\u00e9\U0001f600A"\\'),
        ('a="\\xc3\\xa9\\303\\251\\xff"', "a", "\u00e9\u00e9\\xff"),
        ("a=`raw \\n`", "a", "raw \\n"),
        ('"k=1"=v', "k=1", "v"),
        ("`k 2`=v", "k 2", "v"),
        ("a=b=c", "a", "b=c"),
    ],
)
def test_settings(line: str, key: str, value: str) -> None:
    assert buildinfo.parse("go1", f"build\t{line}\n").settings == {key: value}


@pytest.mark.parametrize(
    "line",
    ["=v", '"k"v', '"k', 'a="b', 'a="b"c', 'a="\\q"', 'a="\\ud800"', 'a="\\Uffffffff"', 'a="\\400"', "`k", '"k"'],
)
def test_settings_that_go_refuses(line: str) -> None:
    with pytest.raises(ValueError):
        buildinfo.parse("go1", f"build\t{line}\n")


def test_replace() -> None:
    build = buildinfo.parse("go1", "dep\ta\tv1\th1:x\n=>\t../a\t(devel)\t\n")
    assert build.deps == (GoModule("a", "v1", "h1:x", GoModule("../a", "(devel)")),)
