"""`make fuzz`: coverage-guided fuzzing of one reader after another with atheris (libFuzzer), from the kept corpus.

    python tests/fuzz/fuzz.py [--minutes 10] [--grown FOLDER] [TARGET …]

Each target gets an equal part of the minutes, in a process of its own. What it learns is kept in `--grown` and used
the next time. The first input that breaks a reader ends the run with exit 1 and lies in `--grown`/TARGET-crash-….
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SECONDS, MEGABYTES, LONGEST = 5, 1024, 1 << 14
"""For one input in instrumented code, five times slower than it is; for the whole process; bytes of an input."""


def main() -> int:
    asked = _arguments()
    grown = asked.grown.resolve()
    grown.mkdir(parents=True, exist_ok=True)
    names = asked.targets or _names()
    failed = [name for name in names if _run(name, grown, round(asked.minutes * 60 / len(names)))]
    for name in failed:
        print(f"fuzz: {name} broke; run it again: {sys.executable} {HERE / 'replay.py'} {name} {grown}/{name}-*")
    return bool(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--grown", type=Path, default=Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "imagekit-fuzz"
    )
    parser.add_argument("targets", nargs="*")
    return parser.parse_args()


def _names() -> list[str]:
    """The targets, by asking a process of their own: atheris must see their imports first."""
    asked = "import sys; sys.path.insert(0, sys.argv[1]); from targets import TARGETS; print(*TARGETS)"
    return subprocess.run(
        [sys.executable, "-c", asked, str(HERE)], check=True, capture_output=True, text=True
    ).stdout.split()


def _run(name: str, grown: Path, seconds: int) -> int:
    folder = grown / name
    folder.mkdir(exist_ok=True)
    kept = HERE / "corpus" / {"deflated": "tar"}.get(name, name)
    limits = [
        f"-max_total_time={max(seconds, 1)}",
        f"-timeout={SECONDS}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={LONGEST}",
    ]
    options = [f"-artifact_prefix={grown}/{name}-", "-print_final_stats=1", "-close_fd_mask=1", *limits]
    print(f"fuzz: {name}, {seconds} s", flush=True)
    return subprocess.run(
        [sys.executable, __file__, "--one", name, *options, str(folder), str(kept)], check=False
    ).returncode


def one(name: str, options: list[str]) -> None:
    """What a target's process does: instrument imagekit while it is imported, then fuzz until the time is over."""
    import atheris

    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["imagekit"]):
        from targets import TARGETS
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *options], lambda content: 0 if target(content) else -1)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3:])
    sys.exit(main())
