"""Child processes end, with all that they started, when they should."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import StoppedError, ToolError
from imagekit.processes import OutputError, run

LONG = 30.0
"""Seconds that nothing but a hang takes."""
ENV = {"PATH": os.environ["PATH"]}


def test_a_child_sees_exactly_the_given_environment():
    done = run([sys.executable, "-I", "-c", "import os; print(sorted(os.environ))"], env={"ONLY": "this"})
    assert b"ONLY" in done.stdout
    assert b"PATH" not in done.stdout


def test_large_output_and_input_do_not_deadlock():
    done = run(
        [sys.executable, "-c", "import sys; sys.stdout.write(sys.stdin.read()); sys.stderr.write('e' * 300000)"],
        env=ENV,
        stdin=b"x" * 3_000_000,
        cancellation=Cancellation(),
    )
    assert (len(done.stdout), len(done.stderr), done.returncode) == (3_000_000, 300_000, 0)


def test_input_arrives_whole_at_a_child_that_begins_to_read_late():
    script = "import sys, time; time.sleep(0.5); sys.stdout.write(str(len(sys.stdin.read())))"
    done = run([sys.executable, "-c", script], env=ENV, stdin=b"x" * 3_000_000, cancellation=Cancellation())
    assert done.stdout == b"3000000"


def test_a_child_that_never_reads_its_input_ends_all_the_same():
    done = run(["true"], env=ENV, stdin=b"x" * 3_000_000, cancellation=Cancellation())
    assert done.returncode == 0


def test_a_child_that_takes_too_long_is_ended():
    with pytest.raises(OutputError, match=r"^sleep did not end within 1 s$"):
        run(["sleep", "600"], env=ENV, seconds=1)


@pytest.mark.parametrize("script", ["exec yes", "exec yes >&2"])
def test_a_child_that_writes_too_much_is_ended(script):
    with pytest.raises(OutputError, match=r"^sh printed more than 1024 KiB$"):
        run(["sh", "-c", script], env=ENV, limit=1 << 20)


def test_a_child_within_its_limits_is_not():
    done = run(["sh", "-c", "head -c 1048576 /dev/zero; exit 3"], env=ENV, limit=1 << 20, seconds=LONG)
    assert (done.returncode, len(done.stdout)) == (3, 1 << 20)


def test_a_child_may_close_its_output_and_go_on():
    done = run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 3"], env=ENV, cancellation=Cancellation())
    assert (done.returncode, done.stdout) == (3, b"")
    with pytest.raises(OutputError):
        run(["sh", "-c", "exec >&- 2>&-; sleep 600"], env=ENV, seconds=0.3)


def test_a_missing_program_is_a_tool_error_that_names_it():
    with pytest.raises(ToolError, match="no-such-program") as caught:
        run(["no-such-program"], env=ENV)
    assert "no-such-program" in caught.value.hint


def test_cancelling_ends_grandchildren_too(tmp_path):
    switch = Cancellation()
    mark = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {mark}; wait"
    threading.Thread(target=lambda: (_until(mark), switch.stop(StoppedError("enough", exit_code=124)))).start()
    with pytest.raises(StoppedError) as caught:
        run(["sh", "-c", script], env=ENV, cancellation=switch)
    assert caught.value.exit_code == 124
    grandchild = int(mark.read_text())
    for _ in range(200):
        if not _running(grandchild):
            return
        time.sleep(0.01)
    pytest.fail("the grandchild is still there")


def _until(path) -> None:
    while not path.exists() or not path.read_text().strip():
        time.sleep(0.01)


def _running(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
