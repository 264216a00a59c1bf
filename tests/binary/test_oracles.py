"""Second opinions: readelf, pyelftools and lief read the same programs and must say the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import lief
import pytest
from elftools.elf.elffile import ELFFile

from imagekit.binary import formats
from imagekit.binary.elf import Elf
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.binary.reader import read
from imagekit.binary.window import open_window

ELF = {
    "static": ("tiny", "linux/amd64", (), "", False),
    "32 bits": ("tiny", "linux/386", (), "", False),
    "big endian": ("tiny", "linux/s390x", (), "-s -w", False),
    "mips": ("tiny", "linux/mips", (), "", False),
    "pie": ("tiny", "linux/arm64", ("-buildmode=pie",), "", False),
    "cgo": ("cgo", "linux/amd64", (), "", True),
    "cgo pie": ("cgo", "linux/amd64", ("-buildmode=pie",), "", True),
    "cgo with a path": ("cgo", "linux/amd64", (), "-r /opt/lib:/srv/lib", True),
    "cgo bound at once": ("cgo", "linux/amd64", ("-buildmode=pie",), "-bindnow", True),
    "cgo static": ("cgo", "linux/amd64", (), "-linkmode=external -extldflags=-static", True),
    "c-shared": ("cgo", "linux/amd64", ("-buildmode=c-shared",), "", True),
    "plugin": ("cgo", "linux/amd64", ("-buildmode=plugin",), "", True),
    "openbsd": ("tiny", "openbsd/amd64", (), "", False),
    "freebsd": ("tiny", "freebsd/amd64", (), "", False),
    "solaris": ("tiny", "solaris/amd64", (), "", False),
    "android": ("tiny", "android/arm64", (), "", False),
}


def build(zoo: Callable[..., Path], name: str) -> Path:
    package, platform, flags, ldflags, cgo = ELF[name]
    return zoo(package, platform, *flags, ldflags=ldflags, cgo=cgo)


@pytest.mark.real
@pytest.mark.parametrize("name", ELF)
def test_readelf(zoo: Callable[..., Path], name: str) -> None:
    path = build(zoo, name)
    (facts,) = read(path)
    said = subprocess.run(
        ["readelf", "-W", "-l", "-d", "-V", str(path)], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}
    ).stdout
    assert re.findall(r"program interpreter: (.+)\]", said) == ([facts.interpreter] if facts.interpreter else [])
    assert tuple(re.findall(r"\(NEEDED\).*\[(.+)\]", said)) == facts.needed
    paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.+)\]", said)
    assert tuple(":".join(paths).split(":") if paths else ()) == facts.rpath
    assert ("GNU_RELRO" in said) == (facts.hardening["relro"] in ("partial", "full"))
    bound = "(BIND_NOW)" in said or re.search(r"FLAGS.*(BIND_)?NOW", said) is not None
    assert (facts.hardening["relro"] == "full") == ("GNU_RELRO" in said and bound)
    assert (facts.hardening["pie"] is True) == ("Flags:" in said and re.search(r"Flags:.*PIE", said) is not None)
    stack = re.search(r"GNU_STACK .* (RWE|RW ) ", said)
    if stack is not None and facts.hardening["nx"] != "n/a":
        assert facts.hardening["nx"] is (stack[1] == "RW ")
    versions = [tuple(map(int, found.split("."))) for found in re.findall(r"Name: GLIBC_([\d.]+)", said)]
    assert facts.glibc_min == (".".join(map(str, max(versions))) if versions else None)


@pytest.mark.real
@pytest.mark.parametrize("name", ELF)
def test_pyelftools(zoo: Callable[..., Path], name: str) -> None:
    path = build(zoo, name)
    (program,) = formats.programs(open_window(path))
    assert isinstance(program, Elf)
    with path.open("rb") as stream:
        other = ELFFile(stream)
        assert program.bits == other.elfclass
        assert program.entry == other["e_entry"]
        headers = [s.header for s in other.iter_segments()]
        assert [(s.offset, s.address, s.size, s.memory, s.flags) for s in program.segments] == [
            (h["p_offset"], h["p_vaddr"], h["p_filesz"], h["p_memsz"], h["p_flags"]) for h in headers
        ]
        assert [(s.name, s.offset, s.size, s.address) for s in program.sections] == [
            (s.name, s["sh_offset"], s["sh_size"], s["sh_addr"]) for s in other.iter_sections()
        ]
        segments = [s for s in other.iter_segments() if s["p_type"] == "PT_NOTE"]
        notes = [(n["n_name"], n["n_offset"]) for s in segments for n in s.iter_notes()]
        assert [(n.owner, n.offset) for n in program.notes] == notes


@pytest.mark.real
@pytest.mark.parametrize("name", ELF)
def test_lief_on_elf(zoo: Callable[..., Path], name: str) -> None:
    (facts,) = read(build(zoo, name))
    other = lief.ELF.parse(str(build(zoo, name)))
    assert other is not None
    assert tuple(other.libraries) == facts.needed
    assert (other.interpreter if other.has_interpreter else None) == facts.interpreter
    if facts.linkage != "library":  # lief calls every shared object that can be entered a PIE
        assert other.is_pie == facts.hardening["pie"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("package", "platform", "ldflags"),
    [("tiny", "darwin/amd64", ""), ("tiny", "darwin/arm64", "-s -w"), ("net", "darwin/arm64", "")],
)
def test_lief_on_macho(zoo: Callable[..., Path], package: str, platform: str, ldflags: str) -> None:
    path = zoo(package, platform, ldflags=ldflags)
    (facts,), (program,) = read(path), formats.programs(open_window(path))
    assert isinstance(program, MachO)
    parsed = lief.MachO.parse(str(path))
    assert parsed is not None
    other = parsed.at(0)
    assert tuple(library.name for library in other.libraries) == facts.needed
    assert other.dylinker.name == facts.interpreter
    assert other.is_pie == facts.hardening["pie"]
    assert other.has_code_signature == (facts.hardening["signature"] != "none")
    assert ".".join(map(str, other.build_version.minos[:2])) == facts.hardening["minimum_os"]
    assert [(s.name, s.virtual_address, s.file_offset, s.file_size) for s in other.segments][1:] == [
        (s.name, s.address, s.offset, s.size) for s in program.layout.segments
    ]


@pytest.mark.real
@pytest.mark.parametrize("platform", ["windows/amd64", "windows/386", "windows/arm64"])
@pytest.mark.parametrize("ldflags", ["", "-s -w"])
def test_lief_on_pe(zoo: Callable[..., Path], platform: str, ldflags: str) -> None:
    path = zoo("tiny", platform, ldflags=ldflags)
    (facts,), (program,) = read(path), formats.programs(open_window(path))
    assert isinstance(program, Pe)
    other = lief.PE.parse(str(path))
    assert other is not None
    assert tuple(imported.name for imported in other.imports) == facts.needed
    assert other.optional_header.imagebase == program.base
    assert other.optional_header.addressof_entrypoint == program.entry
    assert [(s.virtual_address, s.offset, s.size, s.virtual_size) for s in other.sections] == [
        (s.address, s.offset, s.size, s.memory) for s in program.sections
    ]
    flags = other.optional_header.dll_characteristics
    assert bool(flags & 0x40) == facts.hardening["aslr"]
    assert bool(flags & 0x100) == facts.hardening["nx"]
