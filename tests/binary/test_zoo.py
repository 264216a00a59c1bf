"""The zoo: what the readers say of every specimen, against words written before, and against other parsers.

fixtures/zoo/README.md tells how the words came about. The specimens are built at the first use and kept.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import lief
import pytest
import yaml

from imagekit.binary.facts import BinaryFacts, Linkage
from imagekit.binary.reader import read

ZOO = Path(__file__).parents[2] / "fixtures" / "zoo"
LINES: dict[str, str] = yaml.safe_load((ZOO / "zoo.yaml").read_text(encoding="utf-8"))
WORDS = {
    name: [
        tuple(None if word == "-" else word for word in one.split()) for one in line.partition(" | ")[0].split(" & ")
    ]
    for name, line in LINES.items()
}
"""Name -> for each slice: linkage, cgo, libc, format, platform, starts."""
DAMAGED = frozenset(name for name, words in WORDS.items() if words[0][0] == "broken" and words[0][4] is None)
ELF = sorted(name for name, words in WORDS.items() if words[0][3] == "elf" and name not in DAMAGED)
LIEF = sorted(name for name, words in WORDS.items() if words[0][3] in ("macho", "pe") and name not in DAMAGED)
STARTS_BUT = {
    "packed-marked": "unknown",
    "packed-marked-c": "unknown",
    "cut-symbols": "broken",
    "debian-loader": "library",
}
"""What starts in an empty chroot although its word does not promise it."""
_BUILD_TIMEOUT = 1800.0


@pytest.fixture(scope="session")
def specimens() -> Path:
    """The folder of all specimens; those that are not there yet are built."""
    done = subprocess.run(
        [sys.executable, str(ZOO / "build.py")], capture_output=True, text=True, check=False, timeout=_BUILD_TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.mark.real
@pytest.mark.parametrize("name", WORDS)
def test_words(specimens: Path, name: str) -> None:
    facts = read(specimens / name)
    assert [_words(one) for one in facts] == [words[:5] for words in WORDS[name]]
    for one in facts:
        assert one.evidence.keys() >= _not_silent(one)


def _words(facts: BinaryFacts) -> tuple[str | None, ...]:
    platform = str(facts.platform) if facts.platform else None
    return str(facts.linkage), str(facts.cgo), facts.libc, facts.format, platform


def _not_silent(facts: BinaryFacts) -> set[str]:
    """The facts that must have evidence."""
    said = {
        "cgo": facts.cgo != "unknown",
        "libc": facts.libc,
        "platform": facts.platform,
        "go": facts.go,
        "needed": facts.needed,
        "interpreter": facts.interpreter,
        "glibc_min": facts.glibc_min,
    }
    return {"linkage"} | {fact for fact, value in said.items() if value}


@pytest.mark.parametrize("name", WORDS)
def test_what_may_start_is_what_starts(name: str) -> None:
    """The words agree with the starts in an empty chroot: only `static` and `static-pie` promise one."""
    ((linkage, _, _, _, platform, starts), *_) = WORDS[name]
    if starts == "n/a":
        assert platform is None or not platform.startswith("linux/")
    elif linkage in (Linkage.STATIC, Linkage.STATIC_PIE):
        assert starts == "yes"
    else:
        assert (starts == "yes") == (name in STARTS_BUT)
        assert STARTS_BUT.get(name, linkage) == linkage


def test_the_zoo_is_large_enough() -> None:
    recipes = [line.partition(" | ")[2] for line in LINES.values()]
    kinds = {re.sub(r"GO(ARCH|ARM|AMD64)=\S+ |\{[a-z0-9.-]+\}", "", recipe) for recipe in recipes}
    combinations = Counter(words[:3] for slices in WORDS.values() for words in slices)
    assert len(LINES) >= 60
    assert len(kinds) >= 35
    assert sum(members >= 3 for members in combinations.values()) >= 10, combinations
    assert {words[0] for slices in WORDS.values() for words in slices} == set(Linkage)


@pytest.mark.real
@pytest.mark.parametrize("name", ELF)
def test_readelf(specimens: Path, name: str) -> None:
    (facts,) = read(specimens / name)
    words = ["readelf", "-W", "-h", "-l", "-d", "-V", str(specimens / name)]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout
    assert re.findall(r"program interpreter: (.+)\]", said) == ([facts.interpreter] if facts.interpreter else [])
    assert tuple(re.findall(r"\(NEEDED\).*\[(.+)\]", said)) == facts.needed
    paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.+)\]", said)
    assert tuple(":".join(paths).split(":") if paths else ()) == facts.rpath
    if "without-sections" not in LINES[name]:  # readelf finds versions by section
        needs = said.partition("Version needs section")[2]
        versions = [tuple(map(int, found.split("."))) for found in re.findall(r"Name: GLIBC_([\d.]+)", needs)]
        expected = ".".join(map(str, max(versions))) if versions else None
        assert facts.glibc_min == ("2.36" if "GLIBC_ABI_DT_RELR" in needs and max(versions) < (2, 36) else expected)


@pytest.mark.real
@pytest.mark.parametrize("name", ELF)
def test_lief_on_elf(specimens: Path, name: str) -> None:
    (facts,) = read(specimens / name)
    other = lief.ELF.parse(str(specimens / name))
    assert other is not None
    assert tuple(other.libraries) == facts.needed
    assert (other.interpreter if other.has_interpreter else None) == facts.interpreter


@pytest.mark.real
@pytest.mark.parametrize("name", LIEF)
def test_lief(specimens: Path, name: str) -> None:
    facts = read(specimens / name)
    if facts[0].format == "pe":
        program = lief.PE.parse(str(specimens / name))
        assert program is not None
        assert tuple(one.name for one in program.imports) == facts[0].needed
        return
    files = _parsed(specimens, name)
    slices = [one for file in files for one in file]
    assert [tuple(library.name for library in one.libraries if library.command != _ID) for one in slices] == [
        one.needed for one in facts
    ]
    assert [one.dylinker.name if one.has_dylinker else None for one in slices] == [one.interpreter for one in facts]
    assert [one.has_code_signature for one in slices] == [one.hardening["signature"] != "none" for one in facts]


def _parsed(specimens: Path, name: str) -> list[lief.MachO.FatBinary]:
    """As lief sees it; for a fat64 file, which it does not read, those that were put together.

    A slice must not outlive its file: lief then reads memory that is free.
    """
    parts = re.findall(r"\{(.+?)\}", LINES[name]) if "| fat64 " in LINES[name] else [name]
    files = [lief.MachO.parse(str(specimens / part)) for part in parts]
    assert None not in files
    return [file for file in files if file is not None]


_ID = lief.MachO.LoadCommand.TYPE.ID_DYLIB
"""The dylib's own name, which lief lists among the libraries."""


@pytest.mark.real
def test_imported_names(specimens: Path) -> None:
    """What PE files import by name is what lief finds, library by library."""
    for name in (name for name in LIEF if WORDS[name][0][3] == "pe"):
        (facts,), program = read(specimens / name), lief.PE.parse(str(specimens / name))
        assert program is not None
        found: dict[str, set[str]] = {}
        for one in program.imports:
            found.setdefault(one.name, set()).update(entry.name for entry in one.entries if not entry.is_ordinal)
        assert {library: set(names) for library, names in facts.traits.imports.items()} == found, name


@pytest.mark.real
def test_go_version(specimens: Path) -> None:
    """`go version -m` finds build info in the same files, and the same."""
    said = subprocess.run(["go", "version", "-m", str(specimens)], capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {}
    for line in said.splitlines():
        if not line.startswith("\t"):
            path, _, version = line.partition(": ")
            facts = found.setdefault(Path(path).name, {"version": version})
        elif line.startswith("\tbuild\t"):
            key, _, value = line.removeprefix("\tbuild\t").partition("=")
            facts[key] = value.strip('"')
    ours = {name: read(specimens / name)[0].go for name in LINES if name not in DAMAGED}
    seen = {name for name, go in ours.items() if go is not None and go.settings}
    assert found.keys() - DAMAGED == seen - WASM - UNSEEN
    for name, go in ours.items():
        if go is not None and name in found:
            assert found[name] == {"version": go.version, **{k: v.strip('"') for k, v in go.settings.items()}}


WASM = frozenset(name for name, words in WORDS.items() if words[0][3] == "wasm")
"""Go 1.26 does not know its own wasm files,"""
UNSEEN = frozenset({"fat64", "go-pie-no-sections"})
"""nor fat64, nor build info outside of the first writable segment where no section tells the place."""
