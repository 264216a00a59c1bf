"""Children run to their end or are stopped whole, with the reason."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from imagekit.errors import StoppedError, ToolError
from imagekit.workers import Ahead, Cancellation, Workers, memory, prefetched, run

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


def test_each_yields_every_result_and_the_first_error_cancels_the_rest():
    workers = Workers(2, Cancellation())
    assert sorted(workers.each(lambda n: n * n, range(5))) == [(0, 0), (1, 1), (2, 4), (3, 9), (4, 16)]
    began: list[int] = []

    def task(number: int) -> None:
        began.append(number)
        if number == 0:
            raise ToolError("no")
        time.sleep(0.05)

    with pytest.raises(ToolError):
        list(workers.each(task, range(50)))
    assert len(began) < 50


def _until(path) -> None:
    while not path.exists() or not path.read_text().strip():
        time.sleep(0.01)


def _running(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_task_ahead_begins_by_itself_and_is_done_once():
    began, done = threading.Event(), []
    ahead = Ahead(lambda: (began.set(), done.append(1), 7)[-1], 0.01)
    with ahead:
        assert began.wait(10)
    assert (ahead.result(), ahead.result(), done) == (7, 7, [1])


def test_a_task_ahead_of_a_short_block_waits_until_it_is_asked_for():
    done: list[int] = []
    with Ahead(lambda: done.append(1), 3600) as ahead:
        pass
    assert done == []
    ahead.result()
    assert done == [1]


def test_what_a_task_ahead_raises_its_result_raises():
    def fail() -> None:
        raise ToolError("no")

    with Ahead(fail, 0) as ahead:
        time.sleep(0.05)
    with pytest.raises(ToolError, match="no"):
        ahead.result()


def test_memory_is_some_and_no_more_than_the_machine_has():
    assert 0 < memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_prefetched_pieces_come_in_their_order_and_no_more_than_a_few_ahead():
    made: list[int] = []

    def pieces():
        for number in range(100):
            made.append(number)
            yield number

    taken = prefetched(pieces())
    assert next(taken) == 0
    time.sleep(0.05)
    assert len(made) < 10
    assert list(taken) == list(range(1, 100))


def test_what_making_a_piece_raises_is_raised_after_those_before_it():
    def pieces():
        yield 1
        raise ToolError("broken")

    taken = prefetched(pieces())
    assert next(taken) == 1
    with pytest.raises(ToolError, match="broken"):
        next(taken)


def test_pieces_that_nobody_takes_leave_no_thread():
    before = threading.active_count()
    taken = prefetched(iter(range(1000)))
    next(taken)
    taken.close()
    assert threading.active_count() == before
