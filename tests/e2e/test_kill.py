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
    place = module("hello")
    config = (place / "imagekit.yaml").read_text()
    versions = {}
    for version in ("one", "two"):
        (place / "imagekit.yaml").write_text(config.replace("{{ version }}", version))
        done = imagekit("build", cwd=place, cache=tmp_path / "cache")
        assert done.returncode == 0, done.stderr
        versions[version] = whole(place / "dist")
    assert len(set(versions.values())) == 2
    start = time.monotonic()
    imagekit("build", cwd=place, cache=tmp_path / "cache")
    duration = time.monotonic() - start
    chance = random.Random(SEED)
    environment = {k: v for k, v in os.environ.items() if k != "GOFLAGS"} | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for moment in range(MOMENTS):
        version = ("one", "two")[moment % 2]
        (place / "imagekit.yaml").write_text(config.replace("{{ version }}", version))
        child = subprocess.Popen(
            [sys.executable, "-m", "imagekit", "build"],
            cwd=place,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.02, duration * 1.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert whole(place / "dist") in versions.values(), f"moment {moment}"
    done = imagekit("build", cwd=place, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert whole(place / "dist") == versions["two"]
    assert not (place / ".dist.imagekit").exists()
