"""imagekit audit beside syft, lddtree, and `go version -m` with `file`, as ratios in one run.

    make peers && apt-get install pax-utils file binutils
    .venv/bin/python benchmarks/audit.py [--repeat 7] [--json FILE]

The whole command counts, from the shell, with everything in the page cache. Runs alternate between the competitors,
and each figure is the median.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import SYSTEM, install

PEERS = Path(os.environ.get("IMAGEKIT_PEERS") or Path.home() / ".cache/imagekit-peers") / "bin"
GO_PROGRAMS = ("crane", "registry", "staticcheck", "ko", "goreleaser", "syft", "buildkitd", "buildctl", "buildx")
LARGE = 700 << 20
ASKED = {
    "beside syft": 0.25,
    "beside lddtree": 0.15,
    "beside go version -m and file": 3.0,
    "anonymous memory, MiB": 100.0,
    "one stripped Go program, seconds": 0.25,
}
Runs = dict[str, Callable[[], object]]


def imagekit(*words: str | Path) -> list[str]:
    return ["imagekit", "audit", "--format", "json", *map(str, words)]


def peer(name: str) -> str:
    found = shutil.which(name, path=f"{PEERS}{os.pathsep}{os.environ['PATH']}")
    return found or sys.exit(f"{name} is not here: run `make peers` and apt-get install pax-utils file binutils")


def competitors(folder: Path) -> Runs:
    """What each does with a folder; lddtree is a script that needs the pyelftools of this environment."""
    files = sorted(str(path) for path in folder.iterdir() if path.is_file() and not path.is_symlink())
    return {
        "imagekit": lambda: quiet(imagekit(folder), 0, 10),
        "syft": lambda: quiet([peer("syft"), "scan", "-q", f"dir:{folder}", "-o", "json"], 0),
        "lddtree": lambda: quiet([sys.executable, peer("lddtree"), *files], 0, 1),
        "go version -m": lambda: quiet([peer("go"), "version", "-m", str(folder)], 0),
        "file": lambda: quiet([peer("file"), *files], 0),
    }


def quiet(argv: list[str], *codes: int) -> None:
    environment = os.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = subprocess.run(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, cwd=tempfile.gettempdir(), env=environment
    )
    if done.returncode not in codes:
        sys.exit(f"{argv[0]}: exit {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")


def measured(runs: Runs, repeat: int) -> dict[str, float]:
    """Median seconds of each, alternating, after one run that warms the page cache."""
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeat + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if number:
                seen[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in seen.items()}


def ratios(seconds: dict[str, float], *, dynamic: bool) -> dict[str, float]:
    """Beside lddtree and file only where there are dynamic programs, which these look into at all."""
    ours, plain = seconds["imagekit"], seconds["go version -m"] + seconds["file"]
    seen = {"beside syft": ours / seconds["syft"]}
    if dynamic:
        seen |= {"beside lddtree": ours / seconds["lddtree"], "beside go version -m and file": ours / plain}
    return seen


@contextmanager
def go_folder() -> Iterator[Path]:
    """At least ten Go programs, stripped and not."""
    with tempfile.TemporaryDirectory(prefix="imagekit-go-") as name:
        folder = Path(name)
        for program in GO_PROGRAMS:
            shutil.copy(peer(program), folder / program)
        shutil.copy(peer("go"), folder / "go")
        stripped(folder / "crane", folder / "crane-stripped")
        stripped(folder / "syft", folder / "syft-stripped")
        yield folder


def stripped(program: Path, out: Path) -> Path:
    subprocess.run([peer("strip"), "-o", str(out), str(program)], check=True)
    return out


def large_program(folder: Path) -> Path:
    """A Go program of 700 MB: what it embeds is a part of it, as a provider's tables are."""
    module = folder / "large"
    module.mkdir()
    (module / "go.mod").write_text("module example.org/large\n\ngo 1.21\n")
    (module / "main.go").write_text(
        'package main\n\nimport _ "embed"\n\n//go:embed table\nvar table string\n\n'
        "func main() { println(len(table)) }\n"
    )
    with (module / "table").open("wb") as out:
        for _ in range(LARGE >> 20):
            out.write(os.urandom(1 << 20))
    program = folder / "provider"
    subprocess.run([peer("go"), "build", "-o", str(program), "."], cwd=module, check=True)
    shutil.rmtree(module)
    return program


def anonymous_memory(argv: list[str]) -> float:
    """The most MiB of anonymous memory that the command and its processes had together, looked at every 2 ms."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, sum(_anonymous(pid) for pid in (process.pid, *_children(process.pid))))

    watching = threading.Thread(target=watch)
    watching.start()
    process.wait()
    done.set()
    watching.join()
    return most / (1 << 10)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _anonymous(pid: int) -> int:
    """KiB; pages that forked processes share count for each of them."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith("Anonymous:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--python", type=Path, default=SYSTEM)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    with go_folder() as go, tempfile.TemporaryDirectory(prefix="imagekit-large-") as large:
        install(Path(large), arguments.python)
        for name, folder in (("/usr/bin", Path("/usr/bin")), ("Go programs", go)):
            seconds = measured(competitors(folder), arguments.repeat)
            seen = ratios(seconds, dynamic=folder != go)
            show(name, seen, seconds)
            figures[name] = {**seen, **{f"{tool}, seconds": value for tool, value in seconds.items()}}
        single = stripped(go / "buildkitd", go / "single")
        alone = measured({"one": lambda: quiet(imagekit(single), 0, 10)}, arguments.repeat)["one"]
        megabytes = single.stat().st_size / 1e6
        provider = large_program(Path(large))
        memory = anonymous_memory(imagekit(go, provider))
        rest = {"one stripped Go program, seconds": alone, "anonymous memory, MiB": memory}
        show(f"a program of {megabytes:.0f} MB; with one of {provider.stat().st_size / 1e6:.0f} MB", rest, {})
        figures["single"] = rest
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def show(name: str, seen: dict[str, float], seconds: dict[str, float]) -> None:
    print(f"{name}:")
    for figure, value in seen.items():
        asked = ASKED[figure]
        print(f"  {figure:32} {value:8.3f}   asked {asked:g}   {'met' if value <= asked else 'MISSED'}")
    for tool, value in seconds.items():
        print(f"    {tool:30} {value:8.3f} s")


if __name__ == "__main__":
    main()
