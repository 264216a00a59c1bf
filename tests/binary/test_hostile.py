"""Hostile bytes in every reader: facts or an error of our own, within 1 s of processor and 64 MiB, whatever they say.

The inputs are the fuzzer's kept corpus (tests/fuzz) and what hostile hands make of it; `make fuzz` looks further.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
HOSTILE = ("elf", "macho", "pe", "buildinfo", "functions", "tar", "inflate", "documents", "policy")


def replay(*arguments: str | Path) -> str:
    """What the replay says; it fails the test if an input breaks its reader."""
    command = [sys.executable, str(FUZZ / "replay.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.real
@pytest.mark.parametrize("target", HOSTILE)
def test_cut_changed_and_flipped(target: str) -> None:
    said = replay(target, "--hostile")
    assert said.startswith(f"{target}: ")
    assert int(said.split()[1]) > 1000


def test_tars_inside_of_layers() -> None:
    assert replay("deflated").startswith("deflated: ")


REAL = {
    "elf": ("tiny", "linux/amd64", "", False),
    "elf 32 bits": ("tiny", "linux/arm/v7", "-s -w", False),
    "elf dynamic": ("cgo", "linux/amd64", "", True),
    "macho": ("tiny", "darwin/arm64", "", False),
    "pe": ("tiny", "windows/amd64", "", False),
}


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_programs_cut_anywhere(zoo: Callable[..., Path], name: str) -> None:
    package, platform, ldflags, cgo = REAL[name]
    path = zoo(package, platform, ldflags=ldflags, cgo=cgo)
    said = replay(name.partition(" ")[0], "--cut", path)
    assert int(said.split()[1]) > 9000


def test_the_corpus_is_its_recipe() -> None:
    """`python tests/fuzz/seeds.py` writes what is committed; only what fuzzing found stands beside it."""
    recipe = runpy.run_path(str(FUZZ / "seeds.py"))
    made = {(target, name): content for target, name, content in recipe["seeds"]()}
    kept = {(path.parent.name, path.name): path.read_bytes() for path in (FUZZ / "corpus").glob("*/*")}
    assert {key: content for key, content in kept.items() if not key[1].startswith("found-")} == made
    assert sum(map(len, kept.values())) < 1 << 20


def test_the_replay_tells_what_broke(tmp_path: Path) -> None:
    """A reader that takes too much is told, with the input's name: else this file would prove nothing."""
    greedy = tmp_path / "replay.py"
    greedy.write_text((FUZZ / "replay.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "mutations.py").write_text((FUZZ / "mutations.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "targets.py").write_text(
        "from time import process_time as now\n"
        "def memory(content): return bool(bytearray(len(content) << 20))\n"
        "def time(content):\n    end = now() + len(content) / 50\n    while now() < end: pass\n"
        "TARGETS, corpus = {'memory': memory, 'time': time}, lambda _: []\n",
        encoding="utf-8",
    )
    for target, small, large, said in (("memory", 8, 80, "MemoryError"), ("time", 1, 60, " s")):
        inputs = [tmp_path / "small", tmp_path / f"large-{target}"]
        inputs[0].write_bytes(bytes(small))
        inputs[1].write_bytes(bytes(large))
        done = subprocess.run(
            [sys.executable, str(greedy), target, *map(str, inputs)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert f"large-{target}, as it is" in done.stdout
        assert said in done.stdout
