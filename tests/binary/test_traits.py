"""What programs show beyond linkage, on real builds; Go's own tools, readelf and nm are the oracles."""

from __future__ import annotations

import re
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import lief
import pytest

from imagekit.binary import fips, gonames, sourcefiles
from imagekit.binary.facts import BinaryFacts, GoBuild
from imagekit.binary.functions import read_functions
from imagekit.binary.gocode import GoCode
from imagekit.binary.reader import read

STATIC = "-linkmode=external -extldflags=-static"
NO_BUILD_INFO = {b"\xff Go buildinf:": b"\xfe Go buildinf:"}
UNTRIMMED = ("tiny", "linux/amd64", "-trimpath=false")


def one(path: Path) -> BinaryFacts:
    (facts,) = read(path)
    return facts


def said(*command: str | Path) -> str:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout


@pytest.mark.real
@pytest.mark.parametrize(
    ("switch", "cgo", "word"),
    [("-race", True, "race"), ("-asan", True, "asan"), ("-cover", False, "cover")],
)
def test_instrumented(
    zoo: Callable[..., Path], patched: Callable[..., Path], switch: str, cgo: bool, word: str
) -> None:
    program = zoo("tiny", "linux/amd64", switch, cgo=cgo)
    facts = one(program)
    assert facts.traits.instrumented == (word,)
    assert facts.evidence["instrumented"].value.startswith(f"{switch}=true") or word == "asan"
    without = one(patched(program, replace=NO_BUILD_INFO))
    assert without.go is None
    assert without.traits.instrumented == (word,)
    assert one(zoo("tiny")).traits.instrumented == ()


@pytest.mark.real
def test_sanitized_c(compiled: Callable[..., Path]) -> None:
    assert one(compiled("hello", "-fsanitize=address")).traits.instrumented == ("asan",)
    assert one(compiled("hello", "-fsanitize=thread")).traits.instrumented == ("race",)


@pytest.mark.real
@pytest.mark.parametrize("ldflags", ["", "-s -w"])
def test_source_files_are_those_that_debug_gosym_lists(zoo: Callable[..., Path], ldflags: str) -> None:
    program = zoo(*UNTRIMMED, ldflags=ldflags)
    files = said(zoo("gosym"), program).splitlines()
    absolute = {name for name in files if name.startswith("/")}
    traits = one(program).traits
    assert traits.leaked_total == len(absolute) > 100
    assert traits.leaked_paths is not None
    assert len(traits.leaked_paths) == sourcefiles.KEPT
    assert set(traits.leaked_paths) <= absolute
    assert traits.leaked_paths[0].endswith("/tiny/main.go"), "what is not Go's own comes first"


@pytest.mark.real
def test_evidence_of_a_leak_is_where_the_path_stands(zoo: Callable[..., Path]) -> None:
    program = zoo(*UNTRIMMED)
    facts = one(program)
    evidence = facts.evidence["leaked_paths"]
    assert facts.traits.leaked_paths is not None
    assert evidence.offset is not None
    assert program.read_bytes()[evidence.offset :].startswith(facts.traits.leaked_paths[0].encode() + b"\0")


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/s390x", "linux/386", "darwin/arm64", "windows/amd64"])
def test_trimmed_programs_leak_nothing(zoo: Callable[..., Path], platform: str) -> None:
    facts = one(zoo("tiny", platform))
    assert (facts.traits.leaked_paths, facts.traits.leaked_total) == ((), 0)
    assert "leaked_paths" not in facts.evidence
    assert one(zoo("tiny", platform, "-trimpath=false")).traits.leaked_total > 100


@pytest.mark.real
def test_endpoints(zoo: Callable[..., Path]) -> None:
    facts = one(zoo("web", ldflags="-s -w"))
    assert facts.traits.endpoints == ("expvar", "health", "pprof")
    assert "/healthz" in facts.evidence["endpoints"].value
    assert one(zoo("plain")).traits.endpoints == ()
    assert one(zoo("tiny")).traits.endpoints == ()


@pytest.mark.real
def test_loads(zoo: Callable[..., Path], compiled: Callable[..., Path]) -> None:
    assert one(zoo("plug", cgo=True, ldflags="-s -w")).traits.loads == ("dlopen", "plugin.Open")
    assert one(zoo("dl", cgo=True)).traits.loads == ("dlopen",)
    static = one(zoo("dl", cgo=True, ldflags=STATIC)).traits
    assert static.loads == ("dlopen",)
    assert "getpwnam" in static.nss, "called from the program's own C"
    assert one(zoo("net", "windows/amd64")).traits.loads == ()
    assert one(compiled("loads", "-rdynamic")).traits.loads == ("dlopen",), "its name is the end of another's"
    assert one(compiled("hello")).traits.loads == ()
    assert one(compiled("loads", "-static")).traits.loads == (), "every static glibc program has it inside"


@pytest.mark.real
def test_name_service_of_go(zoo: Callable[..., Path]) -> None:
    for ldflags in (STATIC, "-s -w " + STATIC):
        facts = one(zoo("names", cgo=True, ldflags=ldflags))
        assert (facts.linkage, facts.libc) == ("static", "glibc")
        assert {"getaddrinfo", "getpwnam_r"} <= set(facts.traits.nss)
        assert "net._C2func_getaddrinfo" in facts.evidence["nss"].value
    tagged = one(zoo("names", "linux/amd64", "-tags=netgo,osusergo", cgo=True, ldflags=STATIC))
    assert tagged.traits.nss == ()
    assert one(zoo("names")).traits.nss == ()


@pytest.mark.real
def test_name_service_of_static_c(compiled: Callable[..., Path], tmp_path: Path) -> None:
    program, stripped = compiled("names", "-static"), tmp_path / "stripped"
    listed = {row.split()[-1] for row in said("nm", program).splitlines()}
    found = set(one(program).traits.nss)
    assert {"getaddrinfo", "getpwnam"} <= found <= listed
    said("strip", "-o", stripped, program)
    assert one(stripped).traits.nss == ("__nss_next", "getaddrinfo")
    assert one(stripped).evidence["nss"].value == "/etc/gai.conf, Illegal status in __nss_next."
    hello = compiled("hello", "-static")
    said("strip", "-o", stripped, hello)
    assert one(hello).traits.nss == one(stripped).traits.nss == ()


@pytest.mark.real
def test_name_service_of_dynamic_c(compiled: Callable[..., Path]) -> None:
    facts = one(compiled("names"))
    assert facts.traits.nss == ("getaddrinfo", "getpwnam")
    assert facts.evidence["nss"].where == "dynamic symbols"


@pytest.mark.real
def test_fips_of_a_build(zoo: Callable[..., Path]) -> None:
    assert one(zoo("hash", env=(("GOFIPS140", "latest"),))).traits.fips == "GOFIPS140=latest"
    assert one(zoo("hash")).traits.fips is None


@pytest.mark.parametrize(
    ("version", "settings", "expected"),
    [
        ("go1.26.8", {"GOFIPS140": "v1.0.0-c2097c7c"}, "GOFIPS140=v1.0.0-c2097c7c"),
        ("go1.26.8", {"GOFIPS140": "off"}, None),
        ("go1.26.8 X:boringcrypto", {}, "boringcrypto"),
        ("go1.26.8 X:aliastypeparams,boringcrypto", {}, "boringcrypto"),
        ("go1.26.8 X:systemcrypto,nodwarf5", {}, "systemcrypto"),
        ("go1.26.8", {"GOEXPERIMENT": "boringcrypto"}, "boringcrypto"),
        ("go1.26.8", {"DefaultGODEBUG": "execerrdot=0,fips140=on"}, "fips140=on"),
        ("go1.26.8", {"DefaultGODEBUG": "fips140=off"}, None),
        ("go1.26.8", {}, None),
    ],
)
def test_fips_of_build_info(version: str, settings: dict[str, str], expected: str | None) -> None:
    build = GoBuild(version, "example.com/app", None, (), settings)
    found = fips.mode(GoCode(build, 64, None, None), {})
    assert (found[0] if found else None) == expected
    assert found is None or found[1].offset == 64


@pytest.mark.real
def test_build_ids(go: str, zoo: Callable[..., Path], compiled: Callable[..., Path]) -> None:
    for platform in ("linux/amd64", "linux/s390x", "darwin/arm64", "windows/amd64", "freebsd/amd64"):
        program = zoo("tiny", platform)
        assert one(program).traits.build_ids["go"] == said(go, "tool", "buildid", program).strip()
    noted = re.search(r"Build ID: ([0-9a-f]+)", said("readelf", "-n", compiled("hello")))
    assert noted is not None
    assert one(compiled("hello")).traits.build_ids == {"gnu": noted[1]}
    other = lief.MachO.parse(str(zoo("tiny", "darwin/arm64")))
    assert other is not None
    assert one(zoo("tiny", "darwin/arm64")).traits.build_ids["uuid"] == bytes(other.at(0).uuid.uuid).hex()


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/386", "darwin/arm64", "windows/amd64", "windows/386"])
@pytest.mark.parametrize("ldflags", ["", "-s -w"])
def test_overlay(zoo: Callable[..., Path], tmp_path: Path, platform: str, ldflags: str) -> None:
    program, longer = zoo("tiny", platform, ldflags=ldflags), tmp_path / "longer"
    assert one(program).traits.overlay == 0
    longer.write_bytes(program.read_bytes() + b"carried along" * 10)
    facts = one(longer)
    assert facts.traits.overlay == 130
    assert facts.evidence["overlay"].offset == program.stat().st_size
    longer.write_bytes(program.read_bytes() + bytes(100))
    assert one(longer).traits.overlay == 0, "zeroes that fill a page"


@pytest.mark.real
def test_overlay_before_a_signature(zoo: Callable[..., Path], tmp_path: Path) -> None:
    """A PE file's security directory names the place of its certificates in the file, behind any overlay."""
    content = bytearray(zoo("tiny", "windows/amd64").read_bytes())
    header = int.from_bytes(content[0x3C:0x40], "little")
    content += b"carried along!!!" * 4
    directory = header + 24 + 112 + 8 * 4
    content[directory : directory + 8] = len(content).to_bytes(4, "little") + (512).to_bytes(4, "little")
    path = tmp_path / "signed"
    path.write_bytes(content + b"\x30" * 512)
    facts = one(path)
    assert (facts.traits.overlay, facts.hardening["signature"]) == (64, "authenticode")


@pytest.mark.real
@pytest.mark.parametrize(
    ("section", "packer"), [(b"UPX0", "UPX"), (b".aspack", "ASPack"), (b".MPRESS1", "MPRESS"), (b".vmp0", "VMProtect")]
)
def test_packers(zoo: Callable[..., Path], patched: Callable[..., Path], section: bytes, packer: str) -> None:
    program = zoo("tiny", "windows/amd64")
    header = int.from_bytes(program.read_bytes()[0x3C:0x40], "little")
    facts = one(patched(program, {header + 24 + 240: section.ljust(8, b"\0")}))
    assert (facts.traits.packer, facts.linkage) == (packer, "unknown")
    assert facts.evidence["packer"] == facts.evidence["linkage"]
    assert one(program).traits.packer is None


@pytest.mark.real
def test_marks_are_found_wherever_they_stand(zoo: Callable[..., Path]) -> None:
    """The first name of the table has no NUL before it, and a name may follow a match at once."""
    table = read_functions(zoo("web"))
    assert table is not None
    names = list(table.names())
    assert [name for _, name in table.hits(re.compile(rb"\0(%s)(?=\0)" % re.escape(names[0].encode())))] == names[:1]
    pattern = re.compile(rb"\0(net/http/pprof\.[^\0]+)")
    hits = [name for _, name in table.hits(pattern)]
    assert hits == [name for name in names if name.startswith("net/http/pprof.")]
    assert gonames.marks(table)["serves"].keys() == {"http"}


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "darwin/arm64", "windows/amd64"])
def test_whatever_is_not_silent_has_evidence(zoo: Callable[..., Path], platform: str) -> None:
    facts = one(zoo("web", platform, "-trimpath=false"))
    for name in facts.traits.__struct_fields__:
        if getattr(facts.traits, name) and name != "leaked_total":
            assert name in facts.evidence, name
    for key, value in facts.hardening.items():
        assert (key in facts.evidence) == (value is not None and value != "n/a"), key


def hostile_table(names: bytes, files: bytes) -> bytes:
    """A function table of Go 1.20 that passes for one."""
    units = 72 + len(names)
    lines = units + 16 + len(files)
    functions = lines + -lines % 8
    head = struct.pack("<IHBB8Q", 0xFFFFFFF1, 0, 1, 8, 4, 1, 0, 72, units, units + 16, lines, functions)
    return (head + names + bytes(16) + files).ljust(functions, b"\0") + bytes(36)


HOSTILE = {
    "marks everywhere": (b"x\0" + b"net/http/pprof.x\0" * 200_000, b"x\0"),
    "C's names everywhere": (b"runtime/cgo.x\0" + b"net._C_getaddrinfo\0" * 200_000, b"x\0"),
    "no name at all": (bytes(4_000_000), b"x\0"),
    "a name without an end": (b"n" * 4_000_000 + b"\0", b"x\0"),
    "many files": (b"x\0", b"/a\0" * 1_000_000),
    "long files": (b"x\0", (b"/" + b"a" * 4000 + b"\0") * 1_000),
    "a file without an end": (b"x\0", b"\0/" + b"a" * 4_000_000),
    "almost a path of health": (b"x\0net/http.(*Server).Serve\0", b"/health" * 600_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tables(make_elf: Callable[..., bytes], tmp_path: Path, name: str) -> None:
    """Read soon, and with little memory: the limits are those of the issue for a whole file."""
    content = bytearray(make_elf(machine=62) + bytes(8) + hostile_table(*HOSTILE[name]))
    start = len(make_elf(machine=62)) + 8
    content[56:58] = struct.pack("<H", 2)
    size = len(content) - start
    content[120:176] = struct.pack("<IIQQQQQQ", 1, 4, start, 0x10000000 + start, 0, size, size, 1)
    path = tmp_path / "hostile"
    path.write_bytes(content)
    begun = time.process_time()
    facts = one(path)
    assert time.process_time() - begun < 1
    assert facts.linkage == "static"
    assert facts.cgo in ("absent", "proven"), "the table was read"
    assert len(facts.traits.leaked_paths or ()) <= sourcefiles.KEPT
    tracemalloc.start()
    try:
        read(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
