"""Where tasks run: threads under one CPU budget, child processes, and cancellation with its reason.

Touches processes and the clock.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import IO, Generic, TypeVar

import msgspec

from imagekit.errors import StoppedError, ToolError

T = TypeVar("T")
R = TypeVar("R")
_GRACE = 3.0
"""Seconds that a child has between SIGTERM and SIGKILL."""
_TICK = 0.05
_AHEAD = 2
"""Pieces that wait: more would only take memory."""
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""The control group's limit (v2 and v1), as a container sees its own; `max` where there is none."""


class Cancellation:
    """A switch that is thrown once, with the reason; every child process and task looks at it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._error: StoppedError | None = None

    def stop(self, error: StoppedError) -> None:
        """Throw the switch; the first reason stays."""
        if not self._event.is_set():
            self._error = error
            self._event.set()

    def check(self) -> None:
        """Raise the `StoppedError` that the switch was thrown with, if it was."""
        if self._error is not None:
            raise self._error

    @property
    def stopped(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep until the switch is thrown or the time is over; whether it was thrown."""
        return self._event.wait(seconds)


class Completed(msgspec.Struct, frozen=True):
    """How a child ended: its exit status (0 to 255, or minus the signal) and all that it wrote."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    cancellation: Cancellation | None = None,
) -> Completed:
    """Run a program to its end in a process group of its own, with exactly this environment.

    Raises `ToolError` if it cannot be started. When the switch is thrown, the group gets SIGTERM, then SIGKILL after
    3 s, and the `StoppedError` is raised once no process of it is left to wait for.
    """
    if cancellation is not None:
        cancellation.check()
    try:
        child = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(
            f"cannot start {argv[0]}: {error.strerror}",
            hint=f"install {Path(argv[0]).name}, or put it on PATH",
        ) from error
    _feed(child, stdin)
    try:
        return _collect(child, cancellation)
    except BaseException:
        _end(child)
        raise


def _feed(child: subprocess.Popen[bytes], stdin: bytes) -> None:
    """Write the child's input from a thread of its own.

    `communicate` with a timeout forgets what is left of its input when it is called again (python/cpython, 3.11).
    """
    stream, child.stdin = child.stdin, None
    if stream is not None:
        threading.Thread(target=_pour, args=(stream, stdin), daemon=True).start()


def _pour(stream: IO[bytes], stdin: bytes) -> None:
    """All of it, or as much as the child reads before it ends."""
    with suppress(OSError), stream:
        stream.write(stdin)


def _collect(child: subprocess.Popen[bytes], cancellation: Cancellation | None) -> Completed:
    while True:
        try:
            stdout, stderr = child.communicate(timeout=None if cancellation is None else _TICK)
        except subprocess.TimeoutExpired:
            stdout = None
        if cancellation is not None:
            cancellation.check()
        if stdout is not None:
            return Completed(child.returncode, stdout, stderr)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop the whole group, politely first; the leader is reaped."""
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and _group_alive(child):
            time.sleep(0.01)
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _group_alive(child: subprocess.Popen[bytes]) -> bool:
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


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
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield waiting.pop(future), future.result()
            except BaseException as error:
                for future in waiting:
                    future.cancel()
                if not isinstance(error, Exception):
                    self.cancellation.stop(StoppedError("interrupted", exit_code=130))
                raise

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


def prefetched(pieces: Iterable[T]) -> Iterator[T]:
    """The same pieces, the next ones made in a thread while one is used; what making them raises is raised here.

    For pieces that are read and hashed, which need no interpreter, while others are written.
    """
    made: queue.Queue[T | _End] = queue.Queue(_AHEAD)
    over = threading.Event()
    thread = threading.Thread(target=_make, args=(pieces, made, over), daemon=True)
    thread.start()
    try:
        while not isinstance(piece := made.get(), _End):
            yield piece
        if piece.error is not None:
            raise piece.error
    finally:
        over.set()
        with suppress(queue.Empty):
            while True:
                made.get_nowait()
        thread.join()


class _End:
    """What comes after the last piece."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def _make(pieces: Iterable[T], made: queue.Queue[T | _End], over: threading.Event) -> None:
    end = _End()
    try:
        for piece in pieces:
            if over.is_set():
                return
            made.put(piece)
    except BaseException as error:
        end = _End(error)
    if not over.is_set():
        made.put(end)


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
