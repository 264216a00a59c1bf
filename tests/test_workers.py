"""Tasks in threads end when the switch is thrown, and hang nobody."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from contextlib import suppress

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import StoppedError, ToolError
from imagekit.workers import Ahead, Checked, Workers, memory, prefetched, waited

STOPPED = StoppedError("enough", exit_code=124)
LONG = 30.0
"""Seconds that nothing but a hang takes."""


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
        waited(_fail, Cancellation())


def _fail() -> None:
    raise ToolError("no")


def test_what_never_ends_is_left_behind_when_the_switch_is_thrown():
    switch = Cancellation()
    threading.Timer(0.1, switch.stop, [STOPPED]).start()
    with pytest.raises(StoppedError, match="enough"):
        in_time(lambda: waited(lambda: time.sleep(LONG * 2), switch))
