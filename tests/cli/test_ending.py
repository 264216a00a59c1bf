"""How commands end: usage errors of every kind, arguments that want to be obeyed, a pipe that nobody reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagekit.cli.main import main

LAST = re.compile(r"imagekit: exit (\d+): \S.*")


@pytest.mark.parametrize(
    "words",
    [
        ["build", "--jobs", "0"],
        ["build", "--format", "xml"],
        ["build", "--fail-on", "never"],
        ["build", "--config", "none.yaml"],
        ["build", "--partial", "x", "--load"],
        ["cache", "key", "--format", "xml"],
        ["cache", "prune", "--older-than", "soon"],
        ["doctor", "--format", "xml"],
        ["env", "--format", "xml"],
        ["targets", "--diff", "a"],
        ["schema", "frobnicate"],
        ["merge"],
    ],
    ids=" ".join,
)
def test_usage_errors_end_with_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = main(words)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert code in ((2, 4) if "none.yaml" in words else (2,))
    found = LAST.fullmatch(captured.err.splitlines()[-1])
    assert found, captured.err
    assert int(found[1]) == code


def test_a_hostile_argument_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "x\n::error::\x1b[31m", "--config", "\n::add-mask::x.yaml"]) in (2, 4)
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("reader", ["head -1", "true"])
@pytest.mark.parametrize("words", ["targets", "schema", "--help", "--version", "build --frobnicate"])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_closed_pipe_is_quiet(hello: Path, clean: dict[str, str], reader: str, words: str, buffered: str) -> None:
    script = f'"$0" -m imagekit {words} | {reader}; echo "${{PIPESTATUS[0]}}" >&2'
    environment = {**clean, "PYTHONUNBUFFERED": buffered}
    argv = ["bash", "-c", script, sys.executable]
    done = subprocess.run(argv, cwd=hello, env=environment, capture_output=True, text=True)
    *said, code = done.stderr.splitlines()
    assert (len(said), code) == ((1, "2") if "frob" in words else (0, "0"))


ACCOUNT = "me:s3cret@registry.example/a/b:1"


@pytest.mark.parametrize("scheme", ["", "https://", "docker:"])
@pytest.mark.parametrize(
    "words",
    [
        ["image", "copy", "IMAGE", "oci:here"],
        ["image", "copy", "oci:layout", "IMAGE"],
        ["image", "inspect", "IMAGE"],
        ["image", "list", "IMAGE"],
        ["image", "delete", "IMAGE"],
        ["audit", "IMAGE"],
        ["diff", "IMAGE", "IMAGE"],
        ["rebuild", "IMAGE"],
        ["login", "IMAGE", "--username", "me"],
        ["build", "--push", "IMAGE"],
    ],
    ids=" ".join,
)
def test_a_password_in_an_argument_is_not_repeated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    assert main([word.replace("IMAGE", scheme + ACCOUNT) for word in words]) != 0
    captured = capsys.readouterr()
    assert "s3cret" not in captured.out + captured.err


def test_a_path_with_an_at_sign_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "mod/example.org/x@v1.0.0/app"]) == 4
    assert "'mod/example.org/x@v1.0.0/app' is not there" in capsys.readouterr().err
