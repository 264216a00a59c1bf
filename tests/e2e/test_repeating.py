"""`--verify-reproducible`: the second build is elsewhere in every way, and a difference is named and explained."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Imagekit = Callable[..., "subprocess.CompletedProcess[str]"]
Project = Callable[[dict[str, str]], Path]
FILES = {
    "go.mod": "module example.org/app\n\ngo 1.24\n",
    "main.go": 'package main\n\nvar built = "unset"\n\nfunc main() { println(built) }\n',
    "imagekit.yaml": "version: 1\nbuilds:\n  - {id: app, main: ., platforms: [linux/amd64]}\n",
}


def stamping(place: Path, body: str) -> dict[str, str]:
    """The project with a program that Go starts its tools through (`-toolexec`), as some build systems do."""
    tool = place / "stamp"
    tool.write_text(f'#!/bin/sh\ntool=$1\nshift\n{body}\nexec "$tool" "$@"\n')
    tool.chmod(0o755)
    unsafe = f"unsafe: {{flags: ['-toolexec={tool}']}}"
    return FILES | {"imagekit.yaml": FILES["imagekit.yaml"].replace("main: .,", f"main: ., {unsafe},")}


def test_a_build_that_depends_on_nothing_else_is_proven(
    project: Project, imagekit: Imagekit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    place = project(FILES)
    done = imagekit("build", "--verify-reproducible", cwd=place)
    assert done.returncode == 0, done.stderr
    count = len((place / "dist/SHA256SUMS").read_text().splitlines())
    assert f"reproducible: a second build elsewhere gave the same {count} files" in done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_time_in_a_variable_is_caught_and_named(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    linking = """case "$tool,$1" in *link,-o) set -- -X "main.built=$(date +%s%N)" "$@" ;; esac"""
    place = project(stamping(tmp_path, linking))
    done = imagekit("build", "--verify-reproducible", cwd=place)
    assert done.returncode == 5, done.stderr
    assert "first in bin/linux_amd64/app" in done.stderr
    assert "main.built" in done.stderr, done.stderr


def test_a_second_build_that_fails_says_why(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    failing = """case "$PWD" in *elsewhere*) echo "no such luck" >&2; exit 1 ;; esac"""
    done = imagekit("build", "--verify-reproducible", cwd=project(stamping(tmp_path, failing)))
    assert done.returncode == 3, done.stderr
    assert "did not end like the first" in done.stderr
    assert "no such luck" in done.stderr
