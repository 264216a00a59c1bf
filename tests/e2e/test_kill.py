"""Kill -9 at seeded moments: dist/ is the old whole or the new whole, and the next run succeeds."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

SEED = 20261124
MOMENTS = 50


def whole(dist: Path) -> str:
    """The version that dist/ holds, once every file of it is what SHA256SUMS says."""
    listed = dict(reversed(entry.split("  ", 1)) for entry in (dist / "SHA256SUMS").read_text().splitlines())
    found = {
        str(path.relative_to(dist)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dist.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    found = {path: digest for path, digest in found.items() if path in listed or path != ".gitignore"}
    assert found == listed
    return hashlib.sha256((dist / "SHA256SUMS").read_bytes()).hexdigest()


def test_kill_at_fifty_moments(module, imagekit, tmp_path):
    """Half of them anywhere in a run, half after the new folder has appeared; each run would change dist/."""
    place = module("hello")
    config = (place / "imagekit.yaml").read_text().replace("linux/arm64, linux/arm/v7, darwin/arm64, ", "")
    versions: dict[str, str] = {}
    durations = []
    for version in ("one", "two", "one"):
        (place / "imagekit.yaml").write_text(config.replace("{{ version }}", version))
        start = time.monotonic()
        done = imagekit("build", cwd=place, cache=tmp_path / "cache")
        durations.append(time.monotonic() - start)
        assert done.returncode == 0, done.stderr
        assert versions.setdefault(version, whole(place / "dist")) == whole(place / "dist")
    assert len(set(versions.values())) == 2
    names = {digest: version for version, digest in versions.items()}
    chance = random.Random(SEED)
    seen, writing = set[str](), 0
    for moment in range(MOMENTS):
        there = names[whole(place / "dist")]
        (place / "imagekit.yaml").write_text(config.replace("{{ version }}", "two" if there == "one" else "one"))
        if moment % 2:
            kill(place, tmp_path / "cache", chance.uniform(0, durations[-1] / 4), staged=True)
        else:
            kill(place, tmp_path / "cache", chance.uniform(0.02, durations[-1] * 1.2))
        writing += (place / ".dist.imagekit").exists()
        found = whole(place / "dist")
        assert found in names, f"moment {moment}"
        seen.add(names[found])
    assert seen == {"one", "two"}, "some runs were killed before the new folder was there, some after"
    assert writing, "some runs were killed while they wrote"
    (place / "imagekit.yaml").write_text(config.replace("{{ version }}", "two"))
    done = imagekit("build", cwd=place, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert whole(place / "dist") == versions["two"]
    assert not (place / ".dist.imagekit").exists()


def test_what_a_killed_run_left_goes_with_one_that_has_nothing_to_do(module, imagekit):
    """It was killed after the swap: dist/ is what the next run would write."""
    place = module("hello")
    assert imagekit("build", cwd=place).returncode == 0
    before = whole(place / "dist")
    (place / ".dist.imagekit/new/bin").mkdir(parents=True)
    (place / ".dist.imagekit/new/bin/half").write_bytes(b"half")
    (place / ".dist.imagekit/.gitignore").write_text("*\n")
    assert imagekit("build", cwd=place).returncode == 0
    assert whole(place / "dist") == before
    assert not (place / ".dist.imagekit").exists()


def kill(place: Path, cache: Path, delay: float, *, staged: bool = False) -> None:
    """Start a build and kill it `delay` seconds later, or that long after it has begun to write."""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOFLAGS", "SOURCE_DATE_EPOCH")}
    before = staging(place)
    child = subprocess.Popen(
        [sys.executable, "-m", "imagekit", "build"],
        cwd=place,
        env={**environment, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while staged and child.poll() is None and staging(place) == before:
        time.sleep(0.001)
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    child.wait()


def staging(place: Path) -> tuple[int, int] | None:
    """What tells the folder that is written from the one that an earlier run left."""
    try:
        status = (place / ".dist.imagekit/new").stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_ctime_ns
