"""A module whose files constraints choose; fixtures/hello, committed; imagekit in a process with caches of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[str]"]
Imagekit = Callable[..., "subprocess.CompletedProcess[str]"]
FILES = {
    "go.mod": "module example.org/choosy\n\ngo 1.21\n",
    "imagekit.yaml": """version: 1
builds:
  - {id: app, main: ./cmd/app, platforms: [linux/amd64, windows/amd64, linux/arm64], tags: [special]}
""",
    "cmd/app/main.go": 'package main\n\nimport "example.org/choosy/lib"\n\n'
    "func main() { println(lib.Name, lib.Speed) }\n",
    "cmd/app/main_windows.go": 'package main\n\nimport _ "example.org/choosy/registry"\n',
    "registry/registry.go": "package registry\n",
    "lib/lib.go": "package lib\n\nconst Mark = UNIQUE\n",
    "lib/name_linux.go": 'package lib\n\nconst Name = "linux"\n',
    "lib/name_windows.go": 'package lib\n\nconst Name = "windows"\n',
    "lib/special.go": "//go:build special\n\npackage lib\n\nconst Special = true\n",
    "lib/never.go": "//go:build never && linux\n\npackage lib\n",
    "lib/fast.go": "//go:build cgo\n\npackage lib\n\nconst Speed = 2\n",
    "lib/fast_nocgo.go": "//go:build !cgo\n\npackage lib\n\nconst Speed = 1\n",
    "lib/lib_test.go": 'package lib\n\nimport "testing"\n\nfunc Test(t *testing.T) {\n\tif !Special || Speed != 1 {\n'
    '\t\tt.Fatal("not what is built")\n\t}\n}\n',
}


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A committed copy of fixtures/hello, without a dist/."""
    place = tmp_path / "hello"
    shutil.copytree(ROOT / "fixtures/hello", place, ignore=shutil.ignore_patterns("dist", ".dist.imagekit"))
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", "-C", str(place), *words], check=True)
    return place


@pytest.fixture
def start(hello: Path, tmp_path: Path) -> Start:
    """Start `imagekit …` in fixtures/hello, as the leader of a session of its own; its caches are empty."""

    def begin(*words: str, stdout: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("GOFLAGS", "SOURCE_DATE_EPOCH")}
        return subprocess.Popen(
            [sys.executable, "-m", "imagekit", *words],
            cwd=hello,
            env=inherited | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


@pytest.fixture
def choosy(tmp_path: Path) -> Path:
    """The module, with a constant in it that no compiler has ever seen."""
    root = tmp_path / "choosy"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content.replace("UNIQUE", f'"{os.urandom(8).hex()}"'))
    return root


@pytest.fixture
def clean(tmp_path: Path) -> dict[str, str]:
    """This environment with a cache directory of the test's own, and nothing that steers Go."""
    left_out = ("GOFLAGS", "SOURCE_DATE_EPOCH", "CI")
    return {**{k: v for k, v in os.environ.items() if k not in left_out}, "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def imagekit(clean: dict[str, str]) -> Imagekit:
    """Run `imagekit …` in a folder; the completed process, whatever its exit code."""

    def run(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "imagekit", *map(str, words)]
        go_caches = {} if "GOCACHE" in os.environ else {"GOCACHE": _usual_go_cache()}
        return subprocess.run(
            argv, cwd=cwd, env={**clean, **go_caches, **environment}, capture_output=True, text=True, timeout=600
        )

    return run


def _usual_go_cache() -> str:
    """Where Go keeps packages although XDG_CACHE_HOME is the test's own: the library is compiled once a machine."""
    return subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()
