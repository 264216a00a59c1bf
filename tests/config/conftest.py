"""A module of two programs, and configurations in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.config import Config, load
from imagekit.errors import ConfigError


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A folder with a go.mod, `./cmd/app` and `./cmd/tool`."""
    root = tmp_path / "module"
    for name in ("app", "tool"):
        folder = root / "cmd" / name
        folder.mkdir(parents=True)
        (folder / "main.go").write_text("package main\n\nfunc main() {}\n")
    (root / "go.mod").write_text("module example.org/team/mod/v2\n\ngo 1.21\n")
    return root


@pytest.fixture
def configured(module: Path) -> Callable[[str], Config]:
    """The configuration that a text is, as imagekit.yaml of the module."""

    def configured(text: str) -> Config:
        path = module / "imagekit.yaml"
        path.write_text(text)
        return load(path, name="imagekit.yaml")

    return configured


@pytest.fixture
def told(configured: Callable[[str], Config]) -> Callable[[str], str]:
    """What people read when a text is refused."""

    def told(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            configured(text)
        return caught.value.message

    return told
