"""Programs compared: each pair is built to differ in one thing, which the difference has to name."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from imagekit.audit.compare import compare
from imagekit.audit.comparing import prose
from imagekit.audit.comparing.difference import Change, Difference
from imagekit.audit.comparing.parts import parts
from imagekit.binary.formats import programs
from imagekit.binary.window import open_window
from imagekit.errors import ImagekitError, UnreadableError, UsageError

SOURCES = {
    "app/go.mod": "module example.com/app\n\ngo 1.24\n\nrequire example.com/lib v1.0.0\n\n"
    "replace example.com/lib => ../lib-1.0.0\n",
    "app/main.go": 'package main\n\nimport "example.com/lib"\n\nvar when = "never"\n\n'
    "func main() { println(when, lib.Words()) }\n",
    "app/cgo/main.go": 'package main\n\n// static int two(void) { return 2; }\nimport "C"\n\n'
    "func main() { println(int(C.two())) }\n",
    "lib-1.0.0/go.mod": "module example.com/lib\n\ngo 1.24\n",
    "lib-1.0.0/lib.go": 'package lib\n\n//go:noinline\nfunc Words() string { return "one" }\n',
    "lib-2.0.0/go.mod": "module example.com/lib\n\ngo 1.24\n",
    "lib-2.0.0/lib.go": "package lib\n\n//go:noinline\nfunc Words() string {\n\tall := make([]byte, 0, 8)\n"
    "\tfor i := range 9 {\n\t\tall = append(all, byte('a'+i))\n\t}\n\treturn string(all)\n}\n",
}
Build = Callable[..., Path]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module in a repository of its own, and two versions of the module that it needs."""
    root = tmp_path_factory.mktemp("compared")
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    return root


@pytest.fixture(scope="session")
def build(place: Path) -> Build:
    """`build(*flags, platform=…, library=…, …)`: the path of that program, made at the first call."""
    made: dict[tuple[object, ...], Path] = {}
    (place / "out").mkdir()
    (place / ".git/info/exclude").write_text("out/\n")

    def run(
        *flags: str,
        platform: str = "linux/amd64",
        library: str = "1.0.0",
        package: str = ".",
        folder: str = "app",
        cgo: bool = False,
        **environment: str,
    ) -> Path:
        key = (flags, platform, library, package, folder, cgo, *environment.items())
        if key not in made:
            made[key] = place / "out" / str(len(made))
            system, architecture = platform.split("/")
            env = {
                **{k: v for k, v in os.environ.items() if not k.startswith("CGO_")},
                **{"GOOS": system, "GOARCH": architecture, "CGO_ENABLED": "1" if cgo else "0"},
                **{"GOENV": "off", "GOFLAGS": "", "GOPROXY": "off", "GOWORK": "off"},
                **environment,
            }
            mod = place / "app" / f"go-{library}.mod"
            mod.write_text(SOURCES["app/go.mod"].replace("1.0.0", library).replace("v2.0.0", "v1.9.0"))
            words = ["go", "build", f"-modfile={mod.name}", *flags, "-o", str(made[key]), package]
            subprocess.run(words, cwd=place / folder, env=env, check=True)
            mod.unlink()
        return made[key]

    return run


def names(changes: tuple[Change, ...]) -> set[str]:
    return {change.name for change in changes}


def why(found: Difference, where: str) -> str:
    return next(spot.why for spot in found.bytes if spot.where == where)


def text(found: Difference) -> str:
    return "\n".join(prose.lines(found))


PLAIN = ("-buildvcs=false", "-trimpath")


@pytest.mark.real
def test_the_same_bytes_are_equal(build: Build, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copy(build(*PLAIN), copy)
    found = compare(str(build(*PLAIN)), str(copy))
    assert found.equal
    assert not found.because
    assert text(found).endswith("equal: not one byte differs")


@pytest.mark.real
def test_a_vcs_stamp(build: Build) -> None:
    found = compare(str(build("-trimpath", "-buildvcs=true")), str(build(*PLAIN)))
    assert not found.equal
    assert {"vcs", "vcs.revision", "vcs.time", "vcs.modified"} == names(found.settings)
    assert found.because[0] == "another VCS stamp: vcs, vcs.revision, vcs.time, vcs.modified"
    assert why(found, ".go.buildinfo").startswith("Go's build info: vcs, vcs.revision")
    assert why(found, ".note.go.buildid").startswith("Go's build id")
    assert not found.sizes


@pytest.mark.real
@pytest.mark.parametrize(
    ("platform", "part", "derived"),
    [
        ("linux/amd64", ".rodata", {".note.go.buildid", ".note.gnu.build-id"}),
        ("windows/amd64", ".rdata", {"Go build id"}),
        ("darwin/arm64", "__rodata", {"Go build id", "LC_UUID", "code signature"}),
    ],
)
def test_a_time_that_the_linker_put_in(build: Build, platform: str, part: str, derived: set[str]) -> None:
    first, second = (
        build(*PLAIN, f"-ldflags=-X main.when=2026-01-0{day}T00:00:00Z", platform=platform) for day in (1, 2)
    )
    found = compare(str(first), str(second))
    assert (found.settings, found.modules, found.sizes) == ((), (), ())
    assert why(found, part) == "a time: 2026-01-01T00:00:00Z against 2026-01-02T00:00:00Z"
    assert {spot.where for spot in found.bytes} == {part, *derived}
    assert found.because == (f"{part}: a time: 2026-01-01T00:00:00Z against 2026-01-02T00:00:00Z",)
    for spot in found.bytes:
        assert spot.one_offset is not None
        assert first.read_bytes()[spot.one_offset] != second.read_bytes()[spot.one_offset]
    offsets = [spot.one_offset for spot in found.bytes]
    pairs = enumerate(zip(first.read_bytes(), second.read_bytes(), strict=True))
    assert offsets[0] == next(at for at, (left, right) in pairs if left != right)


@pytest.mark.real
def test_paths_of_the_builder(build: Build) -> None:
    found = compare(str(build("-buildvcs=false")), str(build(*PLAIN)))
    assert names(found.settings) == {"-trimpath"}
    assert found.because[0] == "other build settings: -trimpath"
    assert why(found, "Go file names").startswith("the path of a source file: /")
    assert any(reason.startswith("Go file names: ") for reason in found.because)


@pytest.mark.real
def test_the_same_program_from_two_folders(build: Build, place: Path) -> None:
    """Without -trimpath the folder is in it: the bytes tell, for no setting does."""
    elsewhere = place / "elsewhere"
    if not elsewhere.exists():
        shutil.copytree(place / "app", elsewhere)
    first = build("-buildvcs=false", folder="app")
    mod = elsewhere / "go-1.0.0.mod"
    mod.write_text(SOURCES["app/go.mod"])
    second = place / "out" / "elsewhere"
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOENV": "off", "GOPROXY": "off"}
    words = ["go", "build", f"-modfile={mod.name}", "-buildvcs=false", "-o", str(second), "."]
    subprocess.run(words, cwd=elsewhere, env=env, check=True)
    found = compare(str(first), str(second))
    assert not found.settings
    assert any("Go file names: the path of a source file: /" in reason for reason in found.because), found.because


@pytest.mark.real
def test_symbols_taken_away(build: Build) -> None:
    found = compare(str(build(*PLAIN)), str(build(*PLAIN, "-ldflags=-s -w")))
    assert "symbols or debug information in only one of them" in found.because
    assert "only the first has it" in why(found, ".symtab")
    assert not found.sizes


@pytest.mark.real
def test_another_version_of_a_module(build: Build) -> None:
    found = compare(str(build(*PLAIN)), str(build(*PLAIN, library="2.0.0")))
    (change,) = (each for each in found.modules if each.name == "example.com/lib")
    assert change.one is not None
    assert change.other is not None
    assert change.one.startswith("v1.0.0 => ../lib-1.0.0")
    assert change.other.startswith("v1.9.0 => ../lib-2.0.0")
    assert "other modules: example.com/lib" in found.because
    grown = {each.package: each.other - each.one for each in found.sizes}
    assert grown["example.com/lib"] > 0
    assert found.sizes[0].package in grown
    assert "example.com/lib [example.com/lib]:" in text(found)


@pytest.mark.real
def test_another_linkage(build: Build) -> None:
    found = compare(str(build(*PLAIN)), str(build(*PLAIN, package="./cgo", cgo=True)))
    said = {change.name: (change.one, change.other) for change in found.facts}
    assert said["linkage"] == ("static", "dynamic")
    assert said["cgo"] == ("absent", "proven")
    assert said["libc"] == (None, "glibc")
    assert found.because[0] == "another linkage: static against dynamic"
    settings = {change.name: (change.one, change.other) for change in found.settings}
    assert settings["CGO_ENABLED"] == ("0", "1")


@pytest.mark.real
def test_another_platform(build: Build) -> None:
    found = compare(str(build(*PLAIN)), str(build(*PLAIN, platform="windows/amd64")))
    assert found.because[0] == "another platform: linux/amd64 against windows/amd64"
    (spot,) = found.bytes
    assert (spot.where, spot.one_offset) == ("file", 0)


@pytest.mark.real
def test_the_time_of_a_windows_link(build: Build, tmp_path: Path) -> None:
    path = build(*PLAIN, platform="windows/amd64")
    content = bytearray(path.read_bytes())
    (header,) = struct.unpack_from("<I", content, 0x3C)
    struct.pack_into("<I", content, header + 8, 1_700_000_000)
    struct.pack_into("<I", content, header + 24 + 64, 4711)
    stamped = tmp_path / "stamped.exe"
    stamped.write_bytes(content)
    found = compare(str(path), str(stamped))
    stamp, checksum = found.bytes
    assert stamp.where == "COFF header"
    assert stamp.why == "the time of the link (TimeDateStamp): none against 2023-11-14 22:13:20"
    assert checksum.why.startswith("the file's checksum")
    assert found.because == (f"COFF header: {stamp.why}",)


@pytest.mark.real
def test_slices_of_a_fat_file(build: Build, tmp_path: Path) -> None:
    """A fat file by hand: the slice that differs has its name before every difference."""
    arm, amd = build(*PLAIN, platform="darwin/arm64"), build(*PLAIN, platform="darwin/amd64")
    other = build(*PLAIN, "-ldflags=-X main.when=2026-01-02T00:00:00Z", platform="darwin/arm64")

    def fat(name: str, *slices: tuple[int, Path]) -> Path:
        head, body, at = struct.pack(">II", 0xCAFEBABE, len(slices)), b"", 1 << 14
        for cpu, path in slices:
            content = path.read_bytes()
            head += struct.pack(">IIIII", cpu, 0, at + len(body), len(content), 14)
            body += content + bytes(-len(content) % (1 << 14))
        place = tmp_path / name
        place.write_bytes(head.ljust(at, b"\0") + body)
        return place

    arm64, amd64 = 0x0100000C, 0x01000007
    found = compare(str(fat("one", (amd64, amd), (arm64, arm))), str(fat("two", (amd64, amd), (arm64, other))))
    assert found.bytes
    assert all(spot.where.startswith("arm64/") for spot in found.bytes)
    lonely = compare(str(fat("one", (amd64, amd), (arm64, arm))), str(fat("three", (arm64, arm))))
    assert lonely.facts[0].name == "slices"
    assert (lonely.facts[0].one, lonely.facts[0].other) == ("amd64, arm64", "arm64")


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/386", "linux/s390x", "windows/386", "darwin/arm64"])
def test_every_byte_belongs_to_one_part(build: Build, platform: str) -> None:
    path = build(*PLAIN, platform=platform)
    (program,) = programs(open_window(path))
    found = parts(program)
    assert [part.offset for part in found[1:]] == [part.offset + part.size for part in found[:-1]]
    assert found[0].offset == 0
    assert found[-1].offset + found[-1].size == path.stat().st_size
    assert len({part.name for part in found}) == len(found)


def test_programs_that_are_not_go() -> None:
    found = compare("/bin/true", "/bin/false")
    assert not found.equal
    assert (found.settings, found.modules, found.sizes) == ((), (), ())
    assert why(found, ".note.gnu.build-id").startswith("the linker's build id")
    assert found.because == ("other code or data; nothing in the files says what it was made of",)


def test_files_in_no_format(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("the first text, and the rest")
    (tmp_path / "b").write_text("the second text, and the rest of it")
    found = compare(str(tmp_path / "a"), str(tmp_path / "b"))
    (spot,) = found.bytes
    assert (spot.where, spot.one_offset, spot.one) == ("file", 4, "the first text, and the rest")
    (tmp_path / "c").write_text("the first text")
    (spot,) = compare(str(tmp_path / "a"), str(tmp_path / "c")).bytes
    assert (spot.one_offset, spot.why) == (14, "28 bytes against 14")
    (tmp_path / "empty").write_text("")
    assert compare(str(tmp_path / "a"), str(tmp_path / "empty")).bytes[0].one_offset == 0


@pytest.mark.real
def test_a_damaged_program_is_compared_as_bytes(build: Build, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(build(*PLAIN).read_bytes()[:300_000])
    found = compare(str(build(*PLAIN)), str(cut))
    assert "another linkage: static against broken" in found.because
    assert found.bytes[0].one_offset == 300_000


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\x1b[31m")
    (tmp_path / "::error::b").write_text("x")
    shown = text(compare(str(tmp_path / "a"), str(tmp_path / "::error::b")))
    assert "\x1b" not in shown
    assert not any(each.lstrip().startswith("::") for each in shown.splitlines())


@pytest.mark.parametrize(
    ("one", "other", "error"),
    [
        ("/bin/true", "/nowhere", UnreadableError),
        ("/bin/true", "/bin", UsageError),
        ("/bin/true", "oci:/nowhere", UsageError),
        ("oci:/nowhere", "oci:/nowhere", UnreadableError),
    ],
)
def test_what_cannot_be_compared(one: str, other: str, error: type[ImagekitError]) -> None:
    with pytest.raises(error) as raised:
        compare(one, other)
    assert raised.value.hint


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/s390x", "windows/amd64", "darwin/arm64"])
def test_damage_is_compared_without_an_error(build: Build, tmp_path: Path, platform: str) -> None:
    """Changed headers, and seeded changes anywhere: every pair gives a difference that can be shown."""
    whole = build(*PLAIN, platform=platform)
    content = whole.read_bytes()
    random = Random(4711)
    places = [*range(0, 1024, 16), *(random.randrange(len(content)) for _ in range(40))]
    changed = tmp_path / "changed"
    for number, at in enumerate(places):
        value = (b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff" * 2)[number % 3]
        changed.write_bytes(content[:at] + value + content[at + 8 :])
        found = compare(str(whole), str(changed))
        assert found.equal or found.bytes
        assert text(found)


@pytest.mark.real
def test_large_programs_are_compared_in_a_second(peer: Callable[[str], Path]) -> None:
    """170 MB in two programs; nothing is held in memory but one part's piece."""
    began = time.process_time()
    found = compare(str(peer("ko")), str(peer("goreleaser")))
    assert time.process_time() - began < 3  # 0.4 s on a quiet machine
    assert len(found.modules) > 100
    assert found.sizes
