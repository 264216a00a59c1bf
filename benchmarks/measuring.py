"""What the benchmarks share: imagekit as people have it, and runs that alternate."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Runs = dict[str, Callable[[], object]]
ROOT = Path(__file__).resolve().parents[1]
SYSTEM = next(path for path in (Path("/usr/bin/python3"), Path(sys.executable)) if path.exists())
"""As distributions build it; pyenv, by default, builds one that starts 15 ms later (no --enable-optimizations)."""


def install(folder: Path, python: Path) -> None:
    """Put `imagekit` first on PATH: this checkout, in an environment of its own, with the versions installed here."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    frozen = subprocess.run([*pip, "freeze", "--exclude-editable"], capture_output=True, text=True, check=True).stdout
    (folder / "constraints.txt").write_text(frozen)
    own = folder / "env/bin/python"
    for words in (
        [python, "-m", "venv", "--without-pip", folder / "env"],
        [*pip, "--python", own, "install", "-q", "-c", folder / "constraints.txt", ROOT],
        [own, "-m", "compileall", "-q", folder / "env/lib"],
    ):
        subprocess.run(list(map(str, words)), check=True)
    os.environ["PATH"] = f"{own.parent}:{os.environ['PATH']}"


def compare(runs: Runs, repeat: int, before: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Median wall seconds of each, the runs alternating; `before` each run is not measured.

    The order turns, since each run meets what the one before it left to the disk.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for _ in range(repeat):
        for name in names:
            before()
            start = time.perf_counter()
            runs[name]()
            seconds[name].append(time.perf_counter() - start)
        names.append(names.pop(0))
    return {name: statistics.median(values) for name, values in seconds.items()}
