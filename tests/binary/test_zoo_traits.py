"""What the zoo promises beyond linkage: each line was written from its recipe, and committed before it was compared."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary.facts import BinaryFacts
from imagekit.binary.reader import read

ZOO = Path(__file__).parents[2] / "fixtures" / "zoo"
Look = Callable[[BinaryFacts], object]
TRAITS: dict[str, dict[str, tuple[Look, object]]] = {
    "instrumented": {
        name: (lambda facts: facts.traits.instrumented, expected)
        for name, expected in {
            "cgo-race": ("race",),
            "cgo-static-race": ("race",),
            "cgo-asan": ("asan",),
            "go-cover": ("cover",),
            "go-linux-amd64": (),
            "cgo-static-hello": (),
            "gcc-static": (),
        }.items()
    },
    "leaks paths": {
        name: (lambda facts: facts.traits.leaked_total > 0, expected)
        for name, expected in {"go-untrimmed": True, "go-linux-amd64": False, "go-strip": False}.items()
    },
    "overlay": {
        name: (lambda facts: facts.traits.overlay, expected)
        for name, expected in {
            "go-with-overlay": 70000,
            "go-strip": 0,
            "go-no-sections": 0,
            "go-no-sections-386": 0,
            "go-no-sections-s390x": 0,
            "gcc-static-strip": 0,
            "cgo-zig-windows": 0,
            "zig-windows-strip": 0,
            "go-windows-amd64": 0,
            "go-darwin-arm64": 0,
            "go-darwin-amd64": 0,
        }.items()
    },
    "packer": {
        name: (lambda facts: facts.traits.packer, expected)
        for name, expected in {
            "packed-marked": "UPX",
            "packed-marked-c": "UPX",
            "packed-sections": "UPX",
            "packed-unmarked": None,
            "go-strip": None,
        }.items()
    },
    "asks the name service": {
        "gcc-static-nss": (lambda facts: "getpwnam" in facts.traits.nss, True),
        "cgo-static-names": (lambda facts: {"getaddrinfo", "getpwnam_r"} <= set(facts.traits.nss), True),
        "go-names-pure": (lambda facts: facts.traits.nss, ()),
        "gcc-static": (lambda facts: "getpwnam" in facts.traits.nss, False),
        "cgo-static": (lambda facts: facts.traits.nss, ()),
    },
    "loads code": {
        "go-purego": (lambda facts: "purego.Dlopen" in facts.traits.loads, True),
        "go-linux-amd64": (lambda facts: facts.traits.loads, ()),
    },
    "Go build id": {
        "go-linux-amd64": (lambda facts: "go" in facts.traits.build_ids, True),
        "go-no-buildid": (lambda facts: "go" in facts.traits.build_ids, False),
        "go-strip": (lambda facts: "go" in facts.traits.build_ids, True),
    },
    "imports by library": {
        "go-imports-windows": (lambda facts: facts.traits.imports["zoo.dll"], ("Answer",)),
        "zig-macos-foreign": (lambda facts: facts.traits.imports["@rpath/libzoo.dylib"], ("_zoo_answer",)),
    },
    "search path": {
        name: (lambda facts: facts.rpath, expected)
        for name, expected in {
            "gcc-rpath": ("/opt/lib",),
            "gcc-runpath": ("$ORIGIN/../lib",),
            "cgo-rpath": ("/opt/lib", "/srv/lib"),
            "gcc-dynamic": (),
        }.items()
    },
    "needed": {
        name: (lambda facts: facts.needed, expected)
        for name, expected in {
            "gcc-rpath": ("libm.so.6", "libc.so.6"),
            "gcc-runpath": ("libzoo.so", "libc.so.6"),
            "gcc-bare-pie": (),
            "cgo-dynamic": ("libc.so.6",),
        }.items()
    },
    "oldest glibc": {
        "zig-glibc-2.17": (lambda facts: tuple(map(int, (facts.glibc_min or "99").split("."))) <= (2, 17), True),
        "zig-glibc-2.38": (lambda facts: facts.glibc_min, "2.34"),
        "cgo-dynamic": (lambda facts: facts.glibc_min, "2.34"),
        "go-purego": (lambda facts: facts.glibc_min, None),
        "gcc-static": (lambda facts: facts.glibc_min, None),
    },
}
HARDENING: dict[str, dict[str, str | bool | None]] = {
    "gcc-dynamic": {"pie": True, "nx": True, "symbols": True, "debug": False, "writable_code": False},
    "gcc-no-pie": {"pie": False},
    "gcc-execstack": {"nx": False},
    "gcc-writable-code": {"writable_code": True},
    "gcc-bound-now": {"relro": "full", "stack_protector": True, "fortify": True, "pie": True},
    "gcc-debug": {"debug": True, "symbols": True},
    "gcc-static-strip": {"symbols": False, "debug": False},
    "go-linux-amd64": {"relro": "n/a", "pie": False, "nx": True, "stack_protector": "n/a", "symbols": True},
    "go-strip": {"symbols": False, "debug": False},
    "go-pie": {"pie": True, "relro": "partial"},
    "go-openbsd-amd64": {"nx": "n/a"},
    "go-windows-amd64": {"aslr": True, "high_entropy_va": True, "nx": True, "control_flow_guard": False},
    "go-windows-386": {"aslr": True, "high_entropy_va": "n/a"},
    "go-windows-exe": {"aslr": False},
    "go-darwin-arm64": {"signature": "linker-signed", "pie": True, "minimum_os": "12.0"},
    "go-darwin-amd64": {"signature": "none"},
    "unsigned": {"signature": "none"},
}


@pytest.fixture(scope="session")
def specimens() -> Path:
    """The folder of all specimens; those that are not there yet are built."""
    done = subprocess.run(
        [sys.executable, str(ZOO / "build.py")], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "look", "expected"),
    [
        pytest.param(name, *case, id=f"{trait}: {name}")
        for trait, cases in TRAITS.items()
        for name, case in cases.items()
    ],
)
def test_trait(specimens: Path, name: str, look: Look, expected: object) -> None:
    assert look(read(specimens / name)[0]) == expected


@pytest.mark.real
@pytest.mark.parametrize("name", HARDENING)
def test_hardening(specimens: Path, name: str) -> None:
    (facts,) = read(specimens / name)
    assert {key: facts.hardening[key] for key in HARDENING[name]} == HARDENING[name]
