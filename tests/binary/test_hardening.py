"""Hardening of C programs as gcc was asked for it; each key means something only for some files."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary.facts import BinaryFacts
from imagekit.binary.hardening import Value
from imagekit.binary.reader import read

EXTERNAL = "-linkmode=external "


def one(path: Path) -> BinaryFacts:
    (facts,) = read(path)
    return facts


HARD = ("-fPIE", "-pie", "-fstack-protector-all", "-O2", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro,-z,now")
SOFT = ("-fno-pie", "-no-pie", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-z", "execstack", "-Wl,-z,norelro")
C = {
    "hardened": (HARD, {"pie": True, "nx": True, "relro": "full", "stack_protector": True, "fortify": True}),
    "soft": (SOFT, {"pie": False, "nx": False, "relro": "none", "stack_protector": False, "fortify": False}),
    "lazy": (("-pie", "-Wl,-z,relro,-z,lazy"), {"relro": "partial", "pie": True}),
    "static": (("-static",), {"pie": False, "stack_protector": None, "fortify": None, "text_relocations": "n/a"}),
    "static-pie": (("-static-pie",), {"pie": True, "stack_protector": None}),
    "shared object": (("-shared", "-fPIC"), {"pie": "n/a", "nx": True, "relro": "partial"}),
    "object file": (("-c",), {"pie": "n/a", "nx": "n/a", "relro": "n/a"}),
    "with DWARF": (("-g",), {"debug": True, "symbols": True}),
    "stripped": (("-s",), {"debug": False, "symbols": False}),
}


@pytest.mark.real
@pytest.mark.parametrize("name", C)
def test_gcc(compiled: Callable[..., Path], name: str) -> None:
    flags, expected = C[name]
    found = one(compiled("copies", *flags)).hardening
    assert {key: found[key] for key in expected} == expected


@pytest.mark.real
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (("tiny", (), "", False), {"relro": "n/a", "pie": False, "stack_protector": "n/a", "text_relocations": "n/a"}),
        (("tiny", ("-buildmode=pie",), "", False), {"relro": "partial", "pie": True, "fortify": "n/a"}),
        (("cgo", (), "", True), {"relro": "partial", "pie": False}),
        (("user", (), "", True), {"relro": "none", "pie": False}),
        (("cgo", ("-buildmode=pie",), EXTERNAL + "-bindnow", True), {"relro": "full", "pie": True}),
        (("cgo", ("-buildmode=c-shared",), "", True), {"pie": "n/a"}),
    ],
    ids=["pure", "pie", "cgo", "cgo by Go's linker", "cgo pie", "c-shared"],
)
def test_go(zoo: Callable[..., Path], build: tuple, expected: dict[str, Value]) -> None:
    package, flags, ldflags, cgo = build
    found = one(zoo(package, "linux/amd64", *flags, ldflags=ldflags, cgo=cgo)).hardening
    assert {key: found[key] for key in expected} == expected
    assert found["writable_code"] is False


@pytest.mark.real
def test_musl_has_no_fortified_functions(compiled: Callable[..., Path], tmp_path: Path) -> None:
    program = tmp_path / "musl"
    source = compiled("copies").parent / "copies.c"
    subprocess.run(["musl-gcc", "-o", str(program), str(source)], check=True)
    facts = one(program)
    assert (facts.libc, facts.hardening["fortify"]) == ("musl", "n/a")
    assert facts.hardening["stack_protector"] in (True, False)


@pytest.mark.real
@pytest.mark.parametrize("platform", ["openbsd/amd64", "netbsd/amd64", "dragonfly/amd64"])
def test_stacks_are_the_kernel_s(zoo: Callable[..., Path], platform: str) -> None:
    assert one(zoo("tiny", platform)).hardening["nx"] == "n/a"


@pytest.mark.real
def test_evidence_names_the_program_header(compiled: Callable[..., Path]) -> None:
    program = compiled("copies", *HARD)
    facts, content = one(program), compiled("copies", *HARD).read_bytes()
    for key, kind in (("nx", 0x6474E551), ("relro", 0x6474E552)):
        offset = facts.evidence[key].offset
        assert offset is not None
        assert struct.unpack_from("<I", content, offset)[0] == kind
    found = facts.evidence["stack_protector"]
    assert found.offset is not None
    assert content[found.offset :].startswith(found.value.encode() + b"\0")


@pytest.mark.real
def test_mach_o_of_c(compiled: Callable[..., Path]) -> None:
    facts = one(compiled("loads", target="aarch64-macos"))
    asks = "___stack_chk_fail" in facts.traits.imports["/usr/lib/libSystem.B.dylib"]
    assert facts.hardening["stack_protector"] is asks
    assert facts.hardening["page_hashes"] == "good"
    assert facts.hardening["hardened_runtime"] is False


@pytest.mark.real
def test_a_changed_page_is_bad_even_where_macos_would_start_it(
    compiled: Callable[..., Path], zoo: Callable[..., Path], tmp_path: Path
) -> None:
    """arm64 programs with a changed page are killed, so that they are broken; the state says why."""
    content = bytearray(zoo("tiny", "darwin/arm64").read_bytes())
    content[0x20000] ^= 1
    (tmp_path / "changed").write_bytes(content)
    facts = one(tmp_path / "changed")
    assert (facts.linkage, facts.hardening["page_hashes"]) == ("broken", "bad")
    assert "page" in facts.evidence["page_hashes"].value


@pytest.mark.real
def test_pe_of_c(compiled: Callable[..., Path]) -> None:
    found = one(compiled("hello", target="x86_64-windows-gnu")).hardening
    assert (found["aslr"], found["safe_seh"]) == (True, "n/a")
    assert found["stack_protector"] is None, "mingw's protector leaves no mark"


@pytest.mark.real
def test_code_that_can_be_written(compiled: Callable[..., Path], patched: Callable[..., Path]) -> None:
    """The flags of the segment that holds the code."""
    program = compiled("copies", "-static")
    content = program.read_bytes()
    at = next(o for o in range(64, 64 + 56 * 20, 56) if struct.unpack_from("<II", content, o) == (1, 5))
    assert one(program).hardening["writable_code"] is False
    facts = one(patched(program, {at + 4: struct.pack("<I", 7)}))
    assert facts.hardening["writable_code"] is True
    assert facts.evidence["writable_code"].offset == struct.unpack_from("<Q", content, at + 8)[0]


@pytest.mark.real
def test_no_aslr_without_relocations(zoo: Callable[..., Path], patched: Callable[..., Path]) -> None:
    """DYNAMIC_BASE is a wish that Windows cannot fulfil for a file whose relocations were stripped."""
    program = zoo("tiny", "windows/amd64")
    header = int.from_bytes(program.read_bytes()[0x3C:0x40], "little")
    flags = int.from_bytes(program.read_bytes()[header + 22 : header + 24], "little")
    assert one(program).hardening["aslr"] is True
    assert one(patched(program, {header + 22: struct.pack("<H", flags | 1)})).hardening["aslr"] is False
