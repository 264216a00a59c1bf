"""Children run to their end or are stopped whole, with the reason."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from imagekit.errors import StoppedError, ToolError
from imagekit.workers import Ahead, Cancellation, Checked, OutputError, Workers, memory, prefetched, run, waited

STOPPED = StoppedError("enough", exit_code=124)
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


def in_time(task) -> None:
    """Run `task` in a thread; fail if it hangs, raise what it raises."""
    raised: list[BaseException] = []

    def carry_out() -> None:
        try:
            task()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive(), "it hangs"
    if raised:
        raise raised[0]


@pytest.mark.parametrize("point", range(6))
def test_what_making_any_piece_raises_comes_after_those_before_it(point):
    def pieces():
        for number in range(5):
            if number == point:
                raise ToolError("broken")
            yield number
        raise ToolError("broken")

    taken: list[int] = []

    def take() -> None:
        taken.extend(prefetched(pieces(), Cancellation()))

    with pytest.raises(ToolError, match="broken"):
        in_time(take)
    assert taken == list(range(min(point, 5)))


@pytest.mark.parametrize("point", range(7))
@pytest.mark.parametrize("making", ["at once", "for a while", "until it is stopped"])
def test_a_switch_thrown_at_any_piece_ends_the_taking_and_the_making(point, making):
    switch, before = Cancellation(), threading.active_count()

    def pieces():
        for number in range(6):
            if making != "at once" and number == point:
                switch.wait(0.2 if making == "for a while" else LONG * 2)
            yield number

    def take() -> None:
        for taken, _ in enumerate(prefetched(pieces(), switch)):
            if taken == point:
                switch.stop(STOPPED)

    stopper = threading.Timer(0.5, switch.stop, [STOPPED])
    stopper.start()
    if point < 6:
        with pytest.raises(StoppedError, match="enough"):
            in_time(take)
    else:
        in_time(take)
    stopper.cancel()
    stopper.join()
    assert threading.active_count() == before


class _InjectedError(Exception):
    """Comes as the exception of a signal handler would: between any two instructions of the interpreter."""


def _raise_at(moment: int) -> bool:
    """Take pieces, and raise at that instruction of whatever runs; whether there was such an instruction."""
    passed = 0

    def trace(frame, event, _):
        nonlocal passed
        if frame.f_code.co_filename.endswith("_weakrefset.py"):
            return None  # what it raises nobody gets
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == moment:
                raise _InjectedError
        return trace

    def take() -> None:
        pieces = prefetched(iter(range(4)))
        next(pieces)  # starting a thread takes locks of the whole process
        sys.settrace(trace)
        try:
            for _ in pieces:
                pass
        finally:
            sys.settrace(None)
            pieces.close()

    with suppress(_InjectedError):
        in_time(take)
    return passed >= moment


def test_an_exception_between_any_two_instructions_of_the_taking_hangs_nobody():
    moment = 1
    while _raise_at(moment):
        moment += 1
    assert moment > 200


def test_each_ends_when_the_switch_is_thrown_and_begins_no_more_tasks():
    switch, begun = Cancellation(), []

    def task(number: int) -> None:
        begun.append(number)
        switch.wait(LONG * 2)

    def carry_out() -> None:
        threading.Timer(0.2, switch.stop, [STOPPED]).start()
        list(Workers(2, switch).each(task, range(9)))

    with pytest.raises(StoppedError, match="enough"):
        in_time(carry_out)
    assert begun == [0, 1]


def test_whoever_no_longer_wants_results_throws_no_switch():
    switch = Cancellation()
    with pytest.raises(ToolError, match="of the taker"):
        for _ in Workers(2, switch).each(lambda number: number, range(9)):
            raise ToolError("of the taker")
    assert not switch.stopped


def test_a_checked_stream_reads_until_the_switch_is_thrown_and_is_else_the_stream():
    switch = Cancellation()
    stream = Checked(io.BytesIO(b"abcdef"), switch)
    assert (stream.read(2), stream.seekable(), stream.tell(), stream.read()) == (b"ab", True, 2, b"cdef")
    assert stream.seek(1) == 1
    switch.stop(STOPPED)
    with pytest.raises(StoppedError, match="enough"):
        stream.read(1)
    assert stream.tell() == 1


def test_what_is_waited_for_gives_its_result_or_its_error():
    assert waited(lambda: 7, Cancellation()) == 7
    with pytest.raises(ToolError, match="no"):
        waited(lambda: run(["no-such-program"], env=ENV), Cancellation())


def test_what_never_ends_is_left_behind_when_the_switch_is_thrown():
    switch = Cancellation()
    threading.Timer(0.1, switch.stop, [STOPPED]).start()
    with pytest.raises(StoppedError, match="enough"):
        in_time(lambda: waited(lambda: time.sleep(LONG * 2), switch))
