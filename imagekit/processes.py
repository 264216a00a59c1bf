"""Child processes: run to their end with exactly one environment, and ended with all that they started.

Touches processes and the clock.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, cast

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.unfinished import unfinished

_GRACE = 1.0
"""Seconds that a child has between SIGTERM and SIGKILL; less than `imagekit.cli.stopping` waits for us."""
_TICK = 0.05
_PIECE = 1 << 18


class Completed(msgspec.Struct, frozen=True):
    """How a child ended: its exit status (0 to 255, or minus the signal) and all that it wrote."""

    returncode: int
    stdout: bytes
    stderr: bytes


class OutputError(ToolError):
    """A child that took too long or wrote too much; `what` says so in a few words."""

    def __init__(self, program: str, what: str) -> None:
        super().__init__(f"{program} {what}", hint=f"run {program} by itself and see what it waits for")
        self.what = what


class _Watched:
    """What a child must not outlive or outgrow."""

    def __init__(
        self, program: str, cancellation: Cancellation | None, seconds: float | None, limit: int | None
    ) -> None:
        self._program, self._cancellation, self._seconds, self._limit = program, cancellation, seconds, limit
        self._until = math.inf if seconds is None else time.monotonic() + seconds

    def check(self, size: int = 0) -> None:
        if self._cancellation is not None:
            self._cancellation.check()
        if time.monotonic() > self._until:
            raise OutputError(self._program, f"did not end within {self._seconds:.0f} s")
        if self._limit is not None and size > self._limit:
            raise OutputError(self._program, f"printed more than {self._limit >> 10} KiB")


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    cancellation: Cancellation | None = None,
    seconds: float | None = None,
    limit: int | None = None,
) -> Completed:
    """Run a program to its end in a process group of its own, with exactly this environment.

    Raises `ToolError` if it cannot be started, `OutputError` after `seconds`, or for more than `limit` bytes of stdout
    or of stderr. Then, and when the switch is thrown, the group gets SIGTERM, and SIGKILL after 1 s; the error comes
    once no process of it is left to wait for.
    """
    if cancellation is not None:
        cancellation.check()
    watched = _Watched(Path(argv[0]).name, cancellation, seconds, limit)
    with unfinished(partial(_start, argv, env, cwd, bool(stdin)), _kill) as child:
        _feed(child, stdin)
        try:
            return _collect(child, watched)
        except BaseException:
            _end(child)
            raise


def _start(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, fed: bool) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(
            f"cannot start {argv[0]}: {error.strerror}",
            hint=f"install {Path(argv[0]).name}, or put it on PATH",
        ) from error


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the whole group at once; not if the leader was reaped, whose number may be another's by now."""
    if child.returncode is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(_GRACE)


def _feed(child: subprocess.Popen[bytes], stdin: bytes) -> None:
    """Write the child's input from a thread of its own."""
    stream, child.stdin = child.stdin, None
    if stream is not None:
        threading.Thread(target=_pour, args=(stream, stdin), daemon=True).start()


def _pour(stream: IO[bytes], stdin: bytes) -> None:
    """All of it, or as much as the child reads before it ends."""
    with suppress(OSError), stream:
        stream.write(stdin)


def _collect(child: subprocess.Popen[bytes], watched: _Watched) -> Completed:
    kept = {stream: bytearray() for stream in (child.stdout, child.stderr) if stream is not None}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(_TICK):
                held, piece = kept[cast("IO[bytes]", key.fileobj)], os.read(key.fd, _PIECE)
                held += piece
                watched.check(len(held))
                if not piece:
                    selector.unregister(key.fileobj)
            watched.check()
    while not _has_ended(child):
        watched.check()
    stdout, stderr = map(bytes, kept.values())
    for stream in kept:
        stream.close()
    return Completed(child.returncode, stdout, stderr)


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        child.wait(_TICK)
    return child.returncode is not None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop the whole group, politely first; the leader is reaped."""
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE / 4)):
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
    return child.returncode is None or _has_living(child.pid)


def _has_living(group: int) -> bool:
    """Whether anybody of a process group does more than wait to be reaped, which in many containers nobody does."""
    found = list(Path("/proc").glob("[0-9]*/stat"))
    for path in found:
        with suppress(OSError):
            state, _, leader = path.read_bytes().rpartition(b")")[2].split()[:3]
            if int(leader) == group and state not in (b"Z", b"X"):
                return True
    return not found
