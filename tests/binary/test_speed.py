"""What a gate that runs at every build may cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.binary.reader import read


def best_of_nine(path: Path) -> float:
    """Seconds of the fastest of nine reads: the machine is shared."""
    took = []
    for _ in range(9):
        begun = time.perf_counter()
        read(path)
        took.append(time.perf_counter() - begun)
    return min(took)


@pytest.mark.real
def test_the_go_command_itself(go: str) -> None:
    """A real program of about 15 MB with all its symbols."""
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    path = Path(root) / "bin" / "go"
    assert path.stat().st_size > 10e6
    assert best_of_nine(path) < 0.02


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "darwin/amd64", "windows/amd64"])
def test_a_hundred_megabytes(zoo: Callable[..., Path], weight: Path, platform: str) -> None:
    assert best_of_nine(zoo("big", platform)) < 0.4


@pytest.mark.real
def test_hashing_every_page_of_a_signed_program(zoo: Callable[..., Path]) -> None:
    path = zoo("net", "darwin/arm64")
    assert best_of_nine(path) < 0.01 * path.stat().st_size / 1e6


@pytest.mark.real
def test_anonymous_memory_stays_small(zoo: Callable[..., Path], weight: Path) -> None:
    """A fresh interpreter that reads a 100 MB program and lists its packages: anonymous pages only, not the mapping."""
    script = (
        "import sys; from pathlib import Path; from imagekit.binary import functions, reader\n"
        "path = Path(sys.argv[1]); reader.read(path); table = functions.read_functions(path); table.packages()\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('RssAnon')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(zoo("big"))],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert int(done.stdout) < 30 << 10


@pytest.mark.real
def test_the_programs_of_this_machine() -> None:
    """/usr/bin: 0.8 ms a file on average where all of it is in the page cache."""
    programs = [path for path in sorted(Path("/usr/bin").iterdir()) if path.is_file() and not path.is_symlink()]
    programs = [path for path in programs if path.stat().st_size and path.open("rb").read(4) == b"\x7fELF"]
    assert len(programs) > 50
    took = []
    for _ in range(3):
        begun = time.process_time()
        for path in programs:
            read(path)
        took.append((time.process_time() - begun) / len(programs))
    assert min(took) < 0.003
