"""Where tasks run: threads under one CPU budget, which a thrown switch ends. Touches threads and the clock."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from imagekit.cancellation import Cancellation
from imagekit.content import Readable

T = TypeVar("T")
R = TypeVar("R")
_TICK = 0.05
_AHEAD = 2
"""Pieces that wait, beside the one that is used: more would only take memory."""
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""The control group's limit (v2 and v1), as a container sees its own; `max` where there is none."""


class Workers:
    """Threads under one CPU budget: at most `jobs` tasks run at a time."""

    def __init__(self, jobs: int, cancellation: Cancellation) -> None:
        self.jobs = max(1, jobs)
        self.cancellation = cancellation

    def each(self, task: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Run `task` over the items; yield each item with its result as it finishes.

        The first error (or a thrown switch) cancels what has not begun, waits for what runs, and is raised.
        """
        with ThreadPoolExecutor(self.jobs) as pool:
            waiting: dict[Future[R], T] = {pool.submit(self._guarded, task, item): item for item in items}
            try:
                while waiting:
                    done, _ = wait(waiting, timeout=_TICK, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield waiting.pop(future), future.result()
                    self.cancellation.check()
            finally:
                for future in waiting:
                    future.cancel()

    def _guarded(self, task: Callable[[T], R], item: T) -> R:
        self.cancellation.check()
        return task(item)


class Ahead(Generic[R]):
    """A task that begins by itself, in a thread, if the block it accompanies is not over after some seconds.

    It is done once: by that thread, or by whoever asks for its result first. What it raises, `result` raises.
    """

    def __init__(self, task: Callable[[], R], seconds: float) -> None:
        self._task, self._future, self._claim = task, Future[R](), threading.Lock()
        self._timer = threading.Timer(seconds, self._begin)
        self._timer.daemon = True

    def __enter__(self) -> Ahead[R]:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _begin(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._future.set_result(self._task())
        except BaseException as error:
            self._future.set_exception(error)

    def result(self) -> R:
        """What the task gives; waits for it if it has begun, does it here if it has not."""
        self._begin()
        return self._future.result()


def prefetched(pieces: Iterable[T], cancellation: Cancellation | None = None) -> Iterator[T]:
    """The same pieces, the next ones made in a thread while one is used; what making them raises is raised here.

    For pieces that are read and hashed, which need no interpreter, while others are written. A thrown switch ends it
    with its `StoppedError`; however it ends, its thread has ended too.
    """
    made = _Prefetched(pieces)
    made.start()
    try:
        while not isinstance(piece := made.take(cancellation), _End):
            yield piece
        if piece.error is not None:
            raise piece.error
    finally:
        made.leave()


class _End:
    """What comes after the last piece."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Prefetched(threading.Thread, Generic[T]):
    """Makes pieces while there is room for them. Both queues are the interpreter's own: no code of theirs is cut."""

    def __init__(self, pieces: Iterable[T]) -> None:
        super().__init__(daemon=True)
        self._pieces = pieces
        self._made: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """A True for every piece that may be made; a False once none is wanted any more."""
        for _ in range(_AHEAD):
            self._room.put(True)
        self._left = False

    def run(self) -> None:
        end = _End()
        try:
            pieces = iter(self._pieces)
            while self._room.get() and not self._left:
                try:
                    self._made.put(next(pieces))
                except StopIteration:
                    break
        except BaseException as error:
            end = _End(error)
        self._made.put(end)

    def take(self, cancellation: Cancellation | None) -> T | _End:
        """The next piece, or the end; the one before is no longer used."""
        self._room.put(True)
        while cancellation is not None:
            cancellation.check()
            with suppress(queue.Empty):
                return self._made.get(timeout=_TICK)
        return self._made.get()

    def leave(self) -> None:
        """No more pieces are wanted; waits for the one that is being made."""
        self._left = True
        self._room.put(False)
        self.join()


def waited(task: Callable[[], R], cancellation: Cancellation) -> R:
    """What `task` gives; it is left behind in its thread when the switch is thrown. For what nothing else can stop."""
    answer: queue.SimpleQueue[tuple[R | None, BaseException | None]] = queue.SimpleQueue()

    def carry_out() -> None:
        try:
            answer.put((task(), None))
        except BaseException as error:
            answer.put((None, error))

    threading.Thread(target=carry_out, daemon=True).start()
    while True:
        cancellation.check()
        with suppress(queue.Empty):
            result, error = answer.get(timeout=_TICK)
            if error is not None:
                raise error
            return cast("R", result)


class Checked:
    """A stream that looks at the switch before every read; in all else it is the stream."""

    def __init__(self, stream: Readable, cancellation: Cancellation) -> None:
        self._stream, self._cancellation = stream, cancellation

    def read(self, size: int = -1, /) -> bytes:
        """As the stream reads; raises the switch's `StoppedError`."""
        self._cancellation.check()
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """How many bytes of memory this process and its children may fill: the machine's, or less in a control group."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()))
    return min(limits)
