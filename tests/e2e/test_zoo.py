"""`imagekit audit --format json` on the whole zoo gives the words of fixtures/zoo/zoo.yaml; a start in a chroot too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ZOO = Path(__file__).parents[2] / "fixtures" / "zoo"
LINES: dict[str, str] = yaml.safe_load((ZOO / "zoo.yaml").read_text(encoding="utf-8"))
_BUILD_TIMEOUT, _START_TIMEOUT = 1800.0, 300.0
Imagekit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def specimens() -> Path:
    """The folder of all specimens; those that are not there yet are built."""
    done = subprocess.run(
        [sys.executable, str(ZOO / "build.py")], capture_output=True, text=True, check=False, timeout=_BUILD_TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def _expected() -> dict[str, list[tuple[str | None, ...]]]:
    words: dict[str, list[tuple[str | None, ...]]] = {}
    for name, line in LINES.items():
        for one in line.partition(" | ")[0].split(" & "):
            words.setdefault(name, []).append(tuple(None if word == "-" else word for word in one.split()[:5]))
    return words


def _read(report: dict[str, Any]) -> dict[str, list[tuple[str | None, ...]]]:
    words: dict[str, list[tuple[str | None, ...]]] = {}
    for subject in report["subjects"]:
        facts = subject["facts"]
        name, _, part = Path(subject["path"]).name.partition("#")
        assert not part or facts["platform"].endswith(f"/{part}")
        keys = ("linkage", "cgo", "libc", "format", "platform")
        words.setdefault(name, []).append(tuple(facts[key] for key in keys))
    return words


def test_the_whole_zoo(imagekit: Imagekit, specimens: Path, tmp_path: Path) -> None:
    done = imagekit("audit", "--format", "json", "--policy", "scratch", specimens, cwd=tmp_path)
    assert done.returncode == 10, done.stderr
    report = json.loads(done.stdout)
    assert _read(report) == _expected()
    assert report["skips"] == []
    assert report["summary"]["other"] == 0
    for jobs in ("1", "2"):
        again = imagekit("audit", "--format", "json", "--policy", "scratch", "--jobs", jobs, specimens, cwd=tmp_path)
        assert again.stdout == done.stdout, "the same bytes whatever the job count"


def test_scratch_lets_through_what_starts(imagekit: Imagekit, specimens: Path, tmp_path: Path) -> None:
    """No linux file without a `linkage` error fails to start in an empty chroot, which starts.py has tried."""
    report = json.loads(imagekit("audit", "--format", "json", "--policy", "scratch", specimens, cwd=tmp_path).stdout)
    starts = {name: line.partition(" | ")[0].split()[5] for name, line in LINES.items()}
    for subject in report["subjects"]:
        refused = any(found["rule"] == "linkage" for found in subject["findings"])
        name = Path(subject["path"]).name.partition("#")[0]
        if not refused and subject["facts"]["platform"].startswith("linux/"):
            assert starts[name] == "yes", name
        if starts[name] == "no":
            assert refused, name


def test_starts(specimens: Path) -> None:
    """What zoo.yaml says of a start in an empty chroot is so here too."""
    done = subprocess.run(
        [sys.executable, str(ZOO / "starts.py"), str(specimens)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_TIMEOUT,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_line_that_is_wrong_is_named(tmp_path: Path) -> None:
    """What does not build says which line, with its compiler's words."""
    done = subprocess.run(
        [sys.executable, str(ZOO / "build.py"), "--into", str(tmp_path), "--only", "gcc-bare"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": str(_without_gcc(tmp_path))},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("zoo: gcc-bare: ")


def _without_gcc(folder: Path) -> Path:
    (folder / "gcc").write_text("#!/bin/sh\necho no such compiler >&2\nexit 1\n")
    (folder / "gcc").chmod(0o755)
    return folder
