"""Small real modules, the real go command, and targets with defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from imagekit.golang.environments import read_settings
from imagekit.golang.settings import GoSettings
from imagekit.golang.toolchain import Toolchain, find
from imagekit.platform import Platform
from imagekit.targets.target import Target

MakeModule = Callable[..., Path]
MakeTarget = Callable[..., Target]
Ask = Callable[[Path], GoSettings]

MAIN = """package main

var version = "unset"

func main() { println(version) }
"""


def write_files(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(scope="session")
def go() -> Toolchain:
    return find()


@pytest.fixture
def module(tmp_path: Path) -> MakeModule:
    """Write a module: a program that prints its `main.version`, unless other files say otherwise."""

    def make(name: str = "module", /, **files: str) -> Path:
        given = {path.replace("__", "/"): text for path, text in files.items()}
        return write_files(tmp_path / name, {"go.mod": "module example.org/m\n\ngo 1.24\n", "main.go": MAIN} | given)

    return make


@pytest.fixture
def files() -> Callable[[Path, Mapping[str, str]], Path]:
    return write_files


@pytest.fixture
def target() -> MakeTarget:
    """A target for linux/amd64 and the package `.`, unless told otherwise."""

    def make(platform: str = "linux/amd64", **fields: Any) -> Target:
        return Target(**({"build": "app", "platform": Platform.parse(platform), "main": "."} | fields))

    return make


@pytest.fixture
def ask(go: Toolchain) -> Ask:
    """Go's settings in a folder."""
    return lambda folder: read_settings(go, folder)
