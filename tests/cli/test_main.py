"""The command line as a whole: help, exit codes and their last line, signals, a closed pipe."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import imagekit as package
from imagekit.cli.main import COMMANDS, GROUPS, main

LAST = re.compile(r"imagekit: exit (\d+): \S.*")


def last_line(text: str, code: int) -> str:
    line = text.splitlines()[-1]
    found = LAST.fullmatch(line)
    assert found, line
    assert int(found[1]) == code
    return line


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"imagekit {package.__version__}\n", "")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in {name.partition(" ")[0] for name, _ in COMMANDS}:
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE), name
    for group in GROUPS:
        assert main([group, "--help"]) == 0
        listed = capsys.readouterr().out
        for name, _ in COMMANDS:
            if name.startswith(f"{group} "):
                assert re.search(rf"^  {name.partition(' ')[2]} +\S", listed, re.MULTILINE), name


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert f"Usage: imagekit {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["--frobnicate"],
        ["cache", "frobnicate"],
        ["build", "--frobnicate"],
        ["build", "--jobs", "0"],
        ["build", "--jobs", "many"],
        ["build", "--timeout", "soon"],
        ["build", "--format", "xml"],
        ["build", "--fail-on", "never"],
        ["build", "--config", "none.yaml"],
        ["build", "--partial", "x", "--load"],
        ["explain"],
        ["targets", "--format", "xml"],
        ["targets", "--diff", "a"],
        ["schema", "frobnicate"],
        ["merge"],
    ],
    ids=" ".join,
)
def test_usage_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code = main(words)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert code in ((2, 4) if "none.yaml" in words else (2,))
    last_line(captured.err, code)


def test_a_hostile_argument_stays_on_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "x\n::error::\x1b[31m", "--config", "\n::add-mask::x.yaml"]) in (2, 4)
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert not [line for line in shown.splitlines() if line.startswith("::")]


def started(words: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "imagekit", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)


def compiling(cache: Path) -> list[int]:
    """The processes that compile into this Go cache."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment = (folder / "environ").read_bytes()
                program = (folder / "exe").readlink().name
            except OSError:
                continue
            if f"GOCACHE={cache}\0".encode() in environment and not program.startswith("python"):
                found.append(int(folder.name))
    return found


@pytest.mark.real
@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [
        ([signal.SIGINT], 130, "interrupted (SIGINT)"),
        ([signal.SIGTERM], 143, "terminated (SIGTERM)"),
        ([signal.SIGTERM, signal.SIGINT], 143, "terminated (SIGTERM)"),
        ([], 124, "timed out after 4s (--timeout)"),
    ],
    ids=["SIGINT", "SIGTERM", "twice", "timeout"],
)
def test_a_stopped_build_leaves_nothing(
    hello: Path, clean: dict[str, str], tmp_path: Path, how: list[signal.Signals], code: int, reason: str
) -> None:
    cache = tmp_path / "go-cache"
    words = ["build", *([] if how else ["--timeout", "4s"])]
    child = started(words, hello, {**clean, "GOCACHE": str(cache)})
    deadline = time.monotonic() + 60
    while not compiling(cache) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for number in how:
        time.sleep(0.5)
        child.send_signal(number)
    stdout, stderr = child.communicate(timeout=60)
    assert compiling(cache) == []
    assert (child.returncode, stdout) == (code, "")
    assert reason in last_line(stderr, code)
    assert not (hello / "dist").exists()
    assert not (hello / ".dist.imagekit").exists()
    assert "Traceback" not in stderr
    kept = tmp_path / "cache" / "imagekit" / "kept"
    assert list(kept.glob("*/tmp")) == []


@pytest.mark.parametrize("reader", ["head -1", "true"])
@pytest.mark.parametrize("words", ["targets", "schema", "--help", "--version", "build --frobnicate"])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_closed_pipe_is_quiet(hello: Path, clean: dict[str, str], reader: str, words: str, buffered: str) -> None:
    script = f'"$0" -m imagekit {words} | {reader}; echo "${{PIPESTATUS[0]}}" >&2'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable],
        cwd=hello,
        env={**clean, "PYTHONUNBUFFERED": buffered},
        capture_output=True,
        text=True,
    )
    *said, code = done.stderr.splitlines()
    assert (len(said), code) == ((1, "2") if "frob" in words else (0, "0"))


@pytest.mark.parametrize("name", ["typer", "urllib3", "msgspec", "shutil"])
def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, name: str) -> None:
    """Which is often a tree that somebody else wrote."""
    (tmp_path / f"{name}.py").write_text("raise SystemExit('a module of the tree was run')\n")
    words = [sys.executable, "-m", "imagekit", "image", "list", "localhost:1/a", "--timeout", "500ms"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert last_line(done.stderr, 124)
