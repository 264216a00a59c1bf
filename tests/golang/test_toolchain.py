import os
import sys
from pathlib import Path

import pytest

from imagekit.errors import ToolError
from imagekit.golang.toolchain import Toolchain, beside, find, of_root


@pytest.fixture
def installation(tmp_path: Path, go: Toolchain) -> Path:
    """A GOROOT with the real program and a VERSION of its own."""
    root = tmp_path / "goroot"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "go").symlink_to(go.go)
    (root / "VERSION").write_text("go1.99.1\ntime 2026-01-01T00:00:00Z\n")
    return root


def test_the_go_on_path_is_used_without_starting_it(
    installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = installation / "bin" / "go"
    program.unlink()
    program.write_bytes(b"\x7fELF this would not start")
    program.chmod(0o755)
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "go").symlink_to(program)
    monkeypatch.setenv("PATH", str(shims))
    assert find() == Toolchain(program, "go1.99.1", installation)


def test_a_wrapper_script_is_looked_through(go: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "go"
    wrapper.write_text(f'#!/bin/sh\nexec {go.go} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = find()
    assert (found.go.resolve(), found.version) == (go.go.resolve(), go.version)


def test_a_wrapper_that_answers_nonsense_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "go"
    wrapper.write_text("#!/bin/sh\nexit 7\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="does not answer"):
        find()


def test_without_a_go_on_path_the_wheel_is_used(
    installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    installation.rename(site / "go")
    (site / "go" / "__init__.py").write_text("")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert find() == Toolchain(site / "go" / "bin" / "go", "go1.99.1", site / "go")


def test_the_wheels_script_beside_this_python_is_not_started(
    installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, scripts = tmp_path / "site", tmp_path / "scripts"
    site.mkdir()
    scripts.mkdir()
    installation.rename(site / "go")
    (scripts / "go").write_text("#!/bin/sh\nexit 1\n")
    (scripts / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(scripts))
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    assert find().goroot == site / "go"


def test_no_go_at_all_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match="no go command") as caught:
        find()
    assert "imagekit[go]" in caught.value.hint


@pytest.mark.parametrize("version", ["", "python 3\n", "\n"])
def test_a_folder_without_a_go_version_is_no_installation(installation: Path, version: str) -> None:
    (installation / "VERSION").write_text(version)
    assert of_root(installation) is None
    (installation / "VERSION").unlink()
    assert of_root(installation) is None


def test_gofmt_stands_beside_go(go: Toolchain) -> None:
    found = beside(go, "gofmt")
    assert found is not None
    assert os.access(found, os.X_OK)
    assert beside(go, "no-such-tool") is None
