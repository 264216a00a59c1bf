"""`imagekit dockerfile`: what a build wrote, byte for byte, if SHA256SUMS vouches for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.cli.main import main

Dist = Callable[..., Path]


@pytest.fixture
def dist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dist:
    """Write a dist/ with these Dockerfiles and stand beside it."""
    monkeypatch.chdir(tmp_path)

    def write(*names: str, into: str = "dist") -> Path:
        folder = tmp_path / into
        folder.mkdir()
        lines = []
        for name in names:
            content = f"# {name}: é\nFROM scratch\n".encode()
            (folder / name).write_bytes(content)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        (folder / "SHA256SUMS").write_text("".join([*lines, f"{'0' * 64}  bin/linux_amd64/app\n"]))
        return folder

    return write


ONE = ("Dockerfile.app", "Dockerfile.app.source")
SEVERAL = (*ONE, "Dockerfile.app-debug", "Dockerfile.app-debug.source", "Dockerfile.other")
FOUND = {
    "the only one": (ONE, [], "Dockerfile.app"),
    "the only one's source": (ONE, ["--source"], "Dockerfile.app.source"),
    "by name": (SEVERAL, ["app-debug"], "Dockerfile.app-debug"),
    "source by name": (SEVERAL, ["app", "--source"], "Dockerfile.app.source"),
}


@pytest.mark.parametrize(("names", "words", "wanted"), FOUND.values(), ids=FOUND)
def test_it_is_printed_as_it_is(
    dist: Dist, capsys: pytest.CaptureFixture[str], names: tuple[str, ...], words: list[str], wanted: str
) -> None:
    folder = dist(*names)
    assert main(["dockerfile", *words]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ((folder / wanted).read_text(), "")


REFUSED = {
    "one of several": (SEVERAL, [], 2, "does not hold a Dockerfile of one image; name one of app, app-debug, other"),
    "another": (ONE, ["web"], 2, "of the image web; name one of app"),
    "another's source": (
        SEVERAL,
        ["other", "--source"],
        2,
        "that compiles of the image other; name one of app, app-debug",
    ),
    "a source of what was prebuilt": (("Dockerfile.app",), ["--source"], 2, "images of prebuilt programs have none"),
    "a path": (ONE, ["../app"], 2, "of the image ../app"),
}


@pytest.mark.parametrize(("names", "words", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused(
    dist: Dist, capsys: pytest.CaptureFixture[str], names: tuple[str, ...], words: list[str], code: int, said: str
) -> None:
    dist(*names)
    assert main(["dockerfile", *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


def test_without_a_build_it_says_which_command_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["dockerfile"]) == 4
    assert "dist holds no finished build" in (said := capsys.readouterr().err)
    assert "run: imagekit build" in said


def test_what_was_changed_since_is_not_printed(dist: Dist, capsys: pytest.CaptureFixture[str]) -> None:
    (dist(*ONE) / "Dockerfile.app").write_text("FROM evil\n")
    assert main(["dockerfile"]) == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "dist/Dockerfile.app is not what SHA256SUMS says" in captured.err


@pytest.mark.parametrize("by", ["option", "configuration"])
def test_the_output_may_be_elsewhere(dist: Dist, tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    folder = dist(*ONE, into="out")
    if by == "configuration":
        (tmp_path / "imagekit.yaml").write_text("version: 1\noutput: out\nbuilds: [{id: app, main: .}]\n")
    assert main(["dockerfile", *(["--output", "out"] if by == "option" else [])]) == 0
    assert capsys.readouterr().out == (folder / "Dockerfile.app").read_text()
