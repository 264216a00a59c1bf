"""The decision table on real programs: what each build says, written down beside it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary.facts import CgoUse, Linkage
from imagekit.binary.reader import read
from imagekit.errors import UnreadableError

EXT = "-linkmode=external -extldflags="
PURE = {
    "linux/amd64": "static",
    "linux/arm64": "static",
    "linux/386": "static",
    "linux/arm/v5": "static",
    "linux/arm/v7": "static",
    "linux/mips": "static",
    "linux/mips64le": "static",
    "linux/ppc64le": "static",
    "linux/s390x": "static",
    "linux/riscv64": "static",
    "freebsd/amd64": "static",
    "netbsd/amd64": "static",
    "dragonfly/amd64": "static",
    "openbsd/arm64": "system",
    "solaris/amd64": "system",
    "illumos/amd64": "system",
    "android/arm64": "system",
    "darwin/amd64": "system",
    "darwin/arm64": "system",
    "windows/amd64": "system",
    "windows/386": "system",
    "windows/arm64": "system",
    "aix/ppc64": "unknown",
    "plan9/amd64": "unknown",
}
FORMATS = {"darwin": "macho", "windows": "pe", "aix": "xcoff", "plan9": "aout"}
LINUX = {
    # name: (package, flags, ldflags, cgo) -> (linkage, cgo, libc, interpreter?)
    "cgo": (("cgo", (), "", True), ("dynamic", "proven", "glibc", True)),
    "cgo, stripped": (("cgo", (), "-s -w", True), ("dynamic", "proven", "glibc", True)),
    "cgo, static": (("cgo", (), EXT + "-static", True), ("static", "proven", "glibc", False)),
    "cgo, static, stripped": (("cgo", (), "-s -w " + EXT + "-static", True), ("static", "proven", "glibc", False)),
    "cgo, static-pie": (
        ("cgo", ("-buildmode=pie",), EXT + "-static-pie", True),
        ("static-pie", "proven", "glibc", False),
    ),
    "cgo, pie": (("cgo", ("-buildmode=pie",), "", True), ("dynamic", "proven", "glibc", True)),
    "c-shared": (("cgo", ("-buildmode=c-shared",), "", True), ("library", "proven", "glibc", False)),
    "plugin": (("cgo", ("-buildmode=plugin",), "", True), ("library", "proven", "glibc", False)),
    "os/user with cgo": (("user", (), "", True), ("dynamic", "proven", "glibc", True)),
    "cgo on, none used": (("tiny", (), "", True), ("static", "absent", None, False)),
    "cgo on, Go's own resolvers": (
        ("user", ("-tags=netgo,osusergo",), "", True),
        ("static", "absent", None, False),
    ),
    "a library without cgo": (("imports", (), "", False), ("dynamic", "absent", "glibc", True)),
    "pie": (("tiny", ("-buildmode=pie",), "", False), ("loader-only", "absent", None, True)),
    "pie, stripped": (("tiny", ("-buildmode=pie",), "-s -w", False), ("loader-only", "absent", None, True)),
    "pie without a loader": (("tiny", ("-buildmode=pie",), "-d", False), ("broken", "absent", None, False)),
}


@pytest.mark.real
@pytest.mark.parametrize("strip", [False, True], ids=["symbols", "stripped"])
@pytest.mark.parametrize(("platform", "linkage"), PURE.items(), ids=PURE)
def test_pure_go(zoo: Callable[..., Path], platform: str, linkage: str, strip: bool) -> None:
    (facts,) = read(zoo("tiny", platform, **({"ldflags": "-s -w"} if strip else {})))
    judged = linkage != "unknown"
    assert facts.linkage == linkage
    assert facts.cgo == ("absent" if judged else "unknown")
    assert str(facts.platform) == platform
    assert facts.format == FORMATS.get(platform.partition("/")[0], "elf")
    assert facts.go is not None
    assert facts.go.path == "example.com/zoo/tiny"
    assert facts.go.settings["GOOS"] == platform.partition("/")[0]
    assert facts.evidence.keys() >= {"linkage", "platform", "go"}
    if judged and facts.format == "elf":
        assert facts.hardening["symbols"] is not strip


@pytest.mark.real
@pytest.mark.parametrize(("build", "expected"), LINUX.values(), ids=LINUX)
def test_linux(zoo: Callable[..., Path], build: tuple, expected: tuple) -> None:
    package, flags, ldflags, cgo = build
    (facts,) = read(zoo(package, "linux/amd64", *flags, ldflags=ldflags, cgo=cgo))
    seen = (facts.linkage, facts.cgo, facts.libc, facts.interpreter is not None)
    assert seen == expected
    assert bool(facts.glibc_min) == (facts.libc == "glibc" and facts.linkage in ("dynamic", "library") and cgo)


@pytest.mark.real
@pytest.mark.parametrize("name", ["cgo", "cgo, static", "cgo, static, stripped", "cgo, static-pie", "pie"])
def test_no_section_headers_change_nothing(
    zoo: Callable[..., Path], without_sections: Callable[[Path], Path], name: str
) -> None:
    (package, flags, ldflags, cgo), (linkage, use, libc, _) = LINUX[name]
    (facts,) = read(without_sections(zoo(package, "linux/amd64", *flags, ldflags=ldflags, cgo=cgo)))
    assert (facts.linkage, facts.cgo, facts.libc) == (linkage, use, libc)
    assert facts.go is not None


@pytest.mark.real
@pytest.mark.parametrize("platform", ["js/wasm", "wasip1/wasm"])
def test_wasm(zoo: Callable[..., Path], platform: str) -> None:
    (facts,) = read(zoo("tiny", platform))
    assert (facts.format, facts.linkage, str(facts.platform)) == ("wasm", Linkage.UNKNOWN, platform)


@pytest.mark.real
def test_archive(zoo: Callable[..., Path]) -> None:
    (facts,) = read(zoo("cgo", "linux/amd64", "-buildmode=c-archive", cgo=True))
    assert (facts.format, facts.linkage) == ("ar", Linkage.UNKNOWN)


@pytest.mark.real
def test_darwin_frameworks_are_the_system(zoo: Callable[..., Path]) -> None:
    (facts,) = read(zoo("net", "darwin/arm64"))
    assert facts.linkage is Linkage.SYSTEM
    assert facts.cgo is CgoUse.ABSENT, "names such as net._C_getaddrinfo are there without cgo"
    assert any("Security.framework" in name for name in facts.needed)
    assert facts.hardening["signature"] == "linker-signed"


@pytest.mark.real
def test_musl_inside(zoo: Callable[..., Path], without_sections: Callable[[Path], Path], patched: Callable) -> None:
    bare = without_sections(zoo("cgo", "linux/amd64", ldflags="-s -w " + EXT + "-static", cgo=True))
    no_glibc = {b"GLIBC_PRIVATE": b"GLIBC_OTHERXX"}
    (facts,) = read(patched(bare, replace=no_glibc))
    assert facts.libc is None
    at = bare.read_bytes().index(b"Fatal glibc error")
    (facts,) = read(patched(bare, {at: b"No error information\0"}, no_glibc))
    assert facts.libc == "musl"
    assert facts.evidence["libc"].offset == at


SYNTHETIC = {
    "static": ({}, "static", "linux/amd64"),
    "no segment to run": ({"kind": 2, "machine": 62, "_entry": 0}, "broken", "linux/amd64"),
    "needed without a loader": ({"needed": ("libc.so.6",)}, "dynamic", "linux/amd64"),
    "loader alone": ({"interpreter": "/lib64/ld-linux-x86-64.so.2"}, "loader-only", "linux/amd64"),
    "loader of musl": (
        {"interpreter": "/lib/ld-musl-x86_64.so.1", "needed": ("libc.musl-x86_64.so.1",)},
        "dynamic",
        "linux/amd64",
    ),
    "static-pie": ({"kind": 3, "flags_1": 0x08000000}, "static-pie", "linux/amd64"),
    "pie without the flag, not Go": ({"kind": 3, "dynamic": True}, "unknown", "linux/amd64"),
    "shared object": ({"kind": 3, "needed": ("libc.so.6",)}, "library", "linux/amd64"),
    "shared object by its name": ({"kind": 3, "soname": "libx.so.1"}, "library", "linux/amd64"),
    "shared object by its lack of an entry point": (
        {"kind": 3, "dynamic": True, "_entry": 0},
        "library",
        "linux/amd64",
    ),
    "object file": ({"kind": 1}, "library", "linux/amd64"),
    "core": ({"kind": 4}, "unknown", "linux/amd64"),
    "OpenBSD, its own libraries": (
        {"interpreter": "/usr/libexec/ld.so", "needed": ("libc.so.97.1", "libpthread.so.27.1"), "os_abi": 12},
        "system",
        "openbsd/amd64",
    ),
    "OpenBSD, a foreign one": (
        {"interpreter": "/usr/libexec/ld.so", "needed": ("libc.so.97.1", "libz.so.7")},
        "dynamic",
        "openbsd/amd64",
    ),
    "Android, its own libraries": (
        {"kind": 3, "interpreter": "/system/bin/linker64", "needed": ("libc.so", "liblog.so"), "machine": 183},
        "system",
        "android/arm64",
    ),
    "Android, a foreign one": (
        {"kind": 3, "interpreter": "/system/bin/linker64", "needed": ("libc++_shared.so",), "machine": 183},
        "dynamic",
        "android/arm64",
    ),
    "FreeBSD by its note": ({"notes": ((b"FreeBSD\0", 1, bytes(4)),)}, "static", "freebsd/amd64"),
    "NetBSD by EI_OSABI": ({"os_abi": 2}, "static", "netbsd/amd64"),
    "big endian": ({"machine": 22, "order": ">"}, "static", "linux/s390x"),
    "no machine that Go has": ({"machine": 9999}, "static", "None"),
}


@pytest.mark.parametrize(("recipe", "linkage", "platform"), SYNTHETIC.values(), ids=SYNTHETIC)
def test_made_by_hand(
    make_elf: Callable[..., bytes], tmp_path: Path, recipe: dict, linkage: str, platform: str
) -> None:
    recipe = dict(recipe)
    entry = recipe.pop("_entry", None)
    content = bytearray(make_elf(**recipe))
    if entry is not None:
        content[24:32] = struct.pack("<Q", entry)
    path = tmp_path / "program"
    path.write_bytes(content)
    (facts,) = read(path)
    assert facts.linkage == linkage
    assert str(facts.platform) == platform
    assert facts.cgo is CgoUse.UNKNOWN, "no function table, so nothing is known of cgo"
    assert facts.go is None


@pytest.mark.parametrize(
    ("versions", "least"),
    [
        (("GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.4"), "2.34"),
        (("GLIBC_2.2.5",), "2.2.5"),
        (("GLIBC_2.17", "GLIBC_PRIVATE"), "2.17"),
        (("GLIBC_2.17", "GLIBC_ABI_DT_RELR"), "2.36"),
        (("OTHER_9.9",), None),
    ],
)
def test_glibc_min(
    make_elf: Callable[..., bytes], tmp_path: Path, versions: tuple[str, ...], least: str | None
) -> None:
    path = tmp_path / "program"
    path.write_bytes(make_elf(interpreter="/lib64/ld-linux-x86-64.so.2", needed=("libc.so.6",), versions=versions))
    (facts,) = read(path)
    assert facts.glibc_min == least


@pytest.mark.real
@pytest.mark.parametrize("where", ["start", "end"])
def test_packed_is_unknown(
    zoo: Callable[..., Path], make_elf: Callable[..., bytes], tmp_path: Path, patched: Callable, where: str
) -> None:
    path = tmp_path / "packed"
    path.write_bytes(make_elf() + bytes(2000) + (b"UPX!" + bytes(32) if where == "end" else b""))
    (facts,) = read(path if where == "end" else patched(zoo("tiny"), {0x300: b"UPX!"}))
    assert facts.linkage is Linkage.UNKNOWN
    assert "UPX" in facts.evidence["linkage"].value


def test_ambiguous_loaders_are_refused(make_elf: Callable[..., bytes], tmp_path: Path) -> None:
    """A dynamic table that the loader would find elsewhere than a reader does is an inconsistency."""
    content = bytearray(make_elf(needed=("libc.so.6",)))
    at = 64 + 56 * 1  # the second program header is PT_DYNAMIC
    assert struct.unpack_from("<I", content, at)[0] == 2
    content[at + 16 : at + 24] = struct.pack("<Q", 0x400000)
    path = tmp_path / "program"
    path.write_bytes(content)
    assert read(path)[0].linkage is Linkage.BROKEN


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "unknown"),
        (b"#!/bin/sh\n", "unknown"),
        (b"MZ" + bytes(100), "unknown"),
        (b"!<arch>\n", "ar"),
        (b"\xca\xfe\xba\xbe\x00\x00\x00\x41" + bytes(64), "unknown"),
        (b"<bigaf>\n" + bytes(8), "ar"),
        (b"\0asm\x0d\0\x01\0", "wasm"),
        (b"\0asm\x02\0\0\0", "unknown"),
        (b"\x01\xf7\xff\xff" + bytes(64), "unknown"),
    ],
    ids=[
        "empty",
        "script",
        "DOS program",
        "archive",
        "Java class",
        "archive of AIX",
        "wasm component",
        "wasm to come",
        "two bytes like XCOFF's",
    ],
)
def test_no_program(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    (facts,) = read(path)
    assert (facts.format, facts.linkage) == (kind, Linkage.UNKNOWN)
    assert (facts.platform is None) == (kind != "wasm")


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe"):
        with pytest.raises(UnreadableError) as caught:
            read(tmp_path / name)
        assert caught.value.hint


def test_every_word_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "linkage.md").read_text(encoding="utf-8")
    for word in (*Linkage, *CgoUse):
        assert f"`{word}`" in page
