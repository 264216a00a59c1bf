"""`imagekit audit` as a user runs it: reports, exit codes, policies, baselines, and what it costs to start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Audit = Callable[..., "subprocess.CompletedProcess[str]"]
DYNAMIC = Path("/bin/true").resolve()


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Run `imagekit audit …` in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()

    def run(*words: str | Path, cwd: Path = folder, **environment: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "imagekit", "audit", *map(str, words)]
        clean = {k: v for k, v in os.environ.items() if k not in ("CI", "GITHUB_ACTIONS")}
        return subprocess.run(
            argv, cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """The smallest static program there is: ELF headers, one segment, and code that exits."""
    code = bytes.fromhex("b83c00000031ff0f05")
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    start = 64 + 2 * 56
    header = identity + b"".join(
        n.to_bytes(size, "little")
        for n, size in [(2, 2), (62, 2), (1, 4), (0x400000 + start, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2),
                        (2, 2), (64, 2), (0, 2), (0, 2)]
    )  # fmt: skip
    load = [(1, 4), (5, 4), (0, 8), (0x400000, 8), (0x400000, 8), (start + 9, 8), (start + 9, 8), (4096, 8)]
    stack = [(0x6474E551, 4), (6, 4), (0, 8), (0, 8), (0, 8), (0, 8), (0, 8), (16, 8)]
    segments = b"".join(n.to_bytes(size, "little") for n, size in (*load, *stack))
    path = tmp_path / "static"
    path.write_bytes(header + segments + code)
    path.chmod(0o755)
    assert subprocess.run([str(path)], check=False).returncode == 0
    return path


def last(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1] if done.stderr else ""


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


# --- one file, reports -----------------------------------------------------------------------------------------------


def test_a_clean_file_ends_with_0_and_nothing_on_stderr(audit: Audit, static: Path) -> None:
    done = audit(static)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{static}: linux/amd64, static" in done.stdout


def test_a_refused_file_ends_with_10_and_one_line(audit: Audit) -> None:
    done = audit(DYNAMIC)
    assert done.returncode == 10
    assert last(done).startswith("imagekit: exit 10: the policy scratch does not allow")
    assert "error linkage" in done.stdout


def test_a_single_file_is_explained_and_several_only_if_asked(audit: Audit) -> None:
    assert "where it runs" in audit(DYNAMIC).stdout
    several = audit(DYNAMIC, DYNAMIC, "--format", "json")
    assert [one["explanation"] for one in report(several)["subjects"]] == [None, None]
    asked = audit(DYNAMIC, DYNAMIC, "--explain", "--format", "json")
    assert all(one["explanation"]["places"] for one in report(asked)["subjects"])


@pytest.mark.parametrize(
    ("form", "start"),
    [("json", "{"), ("sarif", "{"), ("junit", "<?xml"), ("github", "::error "), ("html", "<!doctype html>")],
)
def test_every_format_goes_to_stdout_or_whole_into_a_file(audit: Audit, tmp_path: Path, form: str, start: str) -> None:
    done = audit(DYNAMIC, "--format", form)
    assert done.returncode == 10
    assert done.stdout.lower().startswith(start)
    filed = audit(DYNAMIC, "--format", form, "--output", tmp_path / "report")
    assert (filed.returncode, filed.stdout) == (10, "")
    assert (tmp_path / "report").read_text() == done.stdout


def test_the_same_bytes_whatever_the_job_count(audit: Audit, tmp_path: Path) -> None:
    for number in range(40):
        shutil.copy(DYNAMIC, tmp_path / f"program{number}")
    one, many = (audit(tmp_path, "--format", "json", "--jobs", jobs) for jobs in ("1", "3"))
    assert one.stdout == many.stdout
    assert len(report(one)["subjects"]) == 40


def test_the_deep_look(audit: Audit) -> None:
    done = audit(DYNAMIC, "--deep", "--format", "json")
    assert [rule["rule"] for rule in report(done)["subjects"][0]["findings"]] == ["linkage"]
    assert report(done)["subjects"][0]["deep"] is not None


# --- what fails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "Missing argument"),
        (("--format", "yaml"), 2, "--format 'yaml'"),
        (("--fail-on", "fatal"), 2, "--fail-on 'fatal'"),
        (("--policy", "nobody"), 2, "there is no policy 'nobody'"),
        (("--timeout", "soon"), 2, "--timeout soon"),
        (("oci:",), 2, "nothing behind the colon"),
        (("nothing",), 4, "'nothing' is not there"),
        (("oci:nothing",), 4, "not an OCI layout"),
        (("docker-archive:nothing",), 4, "No such file"),
        (("localhost:1/app",), 6, "localhost:1"),
        (("--baseline", "nothing"), 4, "nothing: No such file"),
        (("--source", "nothing"), 2, "is not a folder"),
        (("--source", "/"), 2, "is in no Go module"),
    ],
)
def test_what_cannot_be_done(audit: Audit, static: Path, words: tuple[str, ...], code: int, said: str) -> None:
    named = () if not words or not words[0].startswith("-") else (static,)
    done = audit(*named, *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert last(done).startswith(f"imagekit: exit {code}: ")


def test_what_cannot_be_read_does_not_hide_the_rest(audit: Audit) -> None:
    done = audit("nothing", DYNAMIC, "--format", "json", "--allow-skipped")
    assert done.returncode == 4
    assert [one["path"] for one in report(done)["subjects"]] == [str(DYNAMIC)]
    assert [one["path"] for one in report(done)["skips"]] == ["nothing"]


@pytest.mark.real
def test_the_worst_of_several_ends_wins(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "oci").mkdir()
    assert audit("localhost:1/app", DYNAMIC).returncode == 6
    assert audit("localhost:1/app", "nothing", DYNAMIC).returncode == 4


def test_notes_and_warnings_fail_where_asked(audit: Audit, static: Path) -> None:
    (static.parent / "strict.yaml").write_text("version: 1\nextends: scratch\nrules: {linkage: warning}\n")
    words = (DYNAMIC, "--policy", static.parent / "strict.yaml")
    assert audit(*words).returncode == 0
    assert audit(*words, "--fail-on", "warning").returncode == 10
    assert audit(static, "--fail-on", "note").returncode == 0


def test_the_policy_of_the_configuration_holds(audit: Audit, tmp_path: Path) -> None:
    here = tmp_path / "project"
    here.mkdir()
    (here / "imagekit.yaml").write_text("version: 1\npolicy: own.yaml\n")
    (here / "own.yaml").write_text("version: 1\nlinkage: {linux: [dynamic]}\n")
    assert audit(DYNAMIC, cwd=here).returncode == 0
    assert audit(DYNAMIC, "--config", here / "imagekit.yaml").returncode == 0
    assert audit(DYNAMIC, "--policy", "scratch", cwd=here).returncode == 10


# --- trees, baseline -------------------------------------------------------------------------------------------------


def test_a_tree_counts_what_is_no_program(audit: Audit, static: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy(static, tree / "program")
    (tree / "script").write_text("#!/bin/sh\n")
    (tree / "link").symlink_to(DYNAMIC)
    done = audit(tree, "--format", "json")
    assert done.returncode == 0
    assert {key: report(done)["summary"][key] for key in ("subjects", "other", "skipped")} == {
        "subjects": 1,
        "other": 1,
        "skipped": 0,
    }


def test_names_cannot_speak_to_terminal_or_ci(audit: Audit, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy(DYNAMIC, tree / "a\n::error::owned\x1b[31m")
    shutil.copy(DYNAMIC, os.fsdecode(os.fsencode(tree) + b"/\xff"))
    for form in ("text", "github", "json", "sarif", "junit", "html"):
        done = audit(tree, "--format", form)
        assert done.returncode == 10, (form, done.stderr)
        shown = done.stdout + done.stderr
        assert "\x1b" not in shown
        assert not [line for line in shown.splitlines() if line.startswith("::error::owned")]


def test_a_baseline_leaves_out_what_is_known(audit: Audit, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    shutil.copy(DYNAMIC, tree / "old")
    old = audit(tree, "--format", "json", "--output", tmp_path / "old.json")
    assert old.returncode == 10
    same = audit(tree, "--baseline", tmp_path / "old.json", "--format", "json")
    assert same.returncode == 0
    assert report(same)["summary"]["errors"] == 0
    assert "1 known from" in same.stderr
    shutil.copy(DYNAMIC, tree / "new")
    more = audit(tree, "--baseline", tmp_path / "old.json", "--format", "json")
    assert more.returncode == 10
    assert {one["path"]: len(one["findings"]) for one in report(more)["subjects"]} == {
        f"{tree}/new": 1,
        f"{tree}/old": 0,
    }


# --- stopping, starting ----------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More than can be read in the time that a test of stopping gives."""
    folder = tmp_path / "many"
    folder.mkdir()
    content = Path(sys.executable).resolve().read_bytes()
    (folder / "p0").write_bytes(content + bytes(max(0, (16 << 20) - len(content))))
    for number in range(1, 300):
        (folder / f"p{number}").hardlink_to(folder / "p0")
    return folder


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_its_processes(many: Path, number: int, code: int) -> None:
    argv = [sys.executable, "-m", "imagekit", "audit", str(many), "--jobs", "2", "--format", "json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 20
        while len(pids := children(running.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(pids) == 2
        running.send_signal(number)
        stdout, stderr = running.communicate(timeout=20)
    assert (running.returncode, stdout) == (code, "")
    assert stderr.splitlines()[-1].startswith(f"imagekit: exit {code}: ")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_time_limit(audit: Audit, many: Path) -> None:
    done = audit(many, "--timeout", "300ms")
    assert (done.returncode, done.stdout) == (124, "")


LATE = (
    *("docker", "jinja2", "rich", "urllib3", "lief", "elftools", "cryptography", "yaml", "jsonschema", "isal"),
    *("zstandard", "multiprocessing", "asyncio", "certifi"),
)


@pytest.mark.parametrize("form", ["text", "json"])
def test_files_are_audited_without_what_only_images_and_pages_need(audit: Audit, static: Path, form: str) -> None:
    script = (
        "import sys\nfrom imagekit.cli.main import main\n"
        f"main(['audit', {str(static)!r}, '--format', {form!r}])\n"
        f"print([name for name in {LATE!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
