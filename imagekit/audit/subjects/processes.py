"""A task over many items in forked processes, results in the order of the items. Touches processes.

Cheaper than `multiprocessing`: what this process has imported and read is there in its children, who take the next
batch from one pipe and answer on a pipe each. The children end with this process, however it ends.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import struct
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import prepared
from imagekit.errors import ToolError
from imagekit.unfinished import unfinished

T = TypeVar("T")
R = TypeVar("R")
_NUMBER, _SIZE = struct.Struct("=I"), struct.Struct("=IQ")
_TICK = 0.05
_PIECE = 1 << 18
_BUG = 0xFFFFFFFF
MOST_BATCHES = 1000
"""Numbers of four bytes: less than the page that a pipe holds, at least, before anyone reads it."""


def each(
    task: Callable[[T], R],
    batches: Sequence[Sequence[T]],
    kind: type[R],
    *,
    first: Sequence[int],
    jobs: int,
    cancellation: Cancellation,
) -> Iterator[tuple[R, ...]]:
    """The results of each batch, batches in their order; `kind` is what msgspec reads the results back as.

    Work begins in the order of `first`, which names every batch, at most `MOST_BATCHES`. Raises the switch's
    `StoppedError`, and `ToolError` for a child that was killed; no child is left then.
    """
    with unfinished(lambda: _Pool(task, batches, kind), _Pool.kill) as pool:
        try:
            pool.start(first, min(jobs, len(batches)))
            yield from pool.results(cancellation)
        finally:
            pool.end()


class _Pool(Generic[T, R]):
    def __init__(self, task: Callable[[T], R], batches: Sequence[Sequence[T]], kind: type[R]) -> None:
        self._task, self._batches = task, batches
        prepared(kind)
        self._decoder = msgspec.msgpack.Decoder(tuple[kind, ...])  # type: ignore[valid-type]  # a type at run time
        self._children: dict[int, int] = {}
        """Process id by the descriptor that its answers come from."""
        self._partial: dict[int, bytearray] = {}

    def start(self, first: Sequence[int], jobs: int) -> None:
        queue, numbers = os.pipe()
        try:
            os.write(numbers, b"".join(map(_NUMBER.pack, first)))
            os.close(numbers)
            gc.freeze()
            for _ in range(jobs):
                self._fork(queue)
        finally:
            gc.unfreeze()
            os.close(queue)

    def _fork(self, queue: int) -> None:
        answers, out = os.pipe()
        child = os.fork()
        if child == 0:
            for inherited in (answers, *self._children):  # else this process would listen to itself
                os.close(inherited)
            _live(self._task, self._batches, queue, out)
        os.close(out)
        self._children[answers] = child
        self._partial[answers] = bytearray()

    def results(self, cancellation: Cancellation) -> Iterator[tuple[R, ...]]:
        """Batch after batch; what comes early waits."""
        done: dict[int, tuple[R, ...]] = {}
        wanted = 0
        with selectors.DefaultSelector() as selector:
            for answers in self._children:
                selector.register(answers, selectors.EVENT_READ)
            while wanted < len(self._batches):
                cancellation.check()
                if not selector.get_map():
                    cancellation.wait(_TICK)  # a signal to the whole group may reach the children first
                    cancellation.check()
                    raise ToolError("a process of the audit was killed", hint="give it more memory, or --jobs 1")
                for key, _ in selector.select(_TICK):
                    if not self._received(key.fd, done):
                        selector.unregister(key.fd)
                while wanted in done:
                    yield done.pop(wanted)
                    wanted += 1

    def _received(self, answers: int, done: dict[int, tuple[R, ...]]) -> bool:
        """Take what there is; False at the end of that child's answers."""
        piece = os.read(answers, _PIECE)
        held = self._partial[answers]
        held += piece
        while len(held) >= _SIZE.size:
            number, size = _SIZE.unpack_from(held)
            end = _SIZE.size + size
            if len(held) < end:
                break
            if number == _BUG:
                raise RuntimeError(held[_SIZE.size : end].decode())
            done[number] = self._decoder.decode(held[_SIZE.size : end])
            del held[:end]
        return bool(piece)

    def end(self) -> None:
        """Close every pipe; kill and reap every child. A second time nothing is left to do."""
        self.kill()
        for answers, child in self._children.items():
            os.close(answers)
            os.waitpid(child, 0)
        self._children.clear()

    def kill(self) -> None:
        """Kill every child."""
        for child in tuple(self._children.values()):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # it has not been reaped, so the number is still its own


def _live(task: Callable[[T], R], batches: Sequence[Sequence[T]], queue: int, out: int) -> None:
    """What a child does, to its end: batch after batch, until none is left or nobody listens."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to the parent too, which ends us
        for number in (signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        encoder = msgspec.msgpack.Encoder()
        while raw := os.read(queue, _NUMBER.size):
            batch = _NUMBER.unpack(raw)[0]
            body = encoder.encode([task(item) for item in batches[batch]])
            _write(out, _SIZE.pack(batch, len(body)) + body)
        code = 0
    except Exception:
        said = traceback.format_exc().encode(errors="backslashreplace")
        _write(out, _SIZE.pack(_BUG, len(said)) + said)
    finally:
        os._exit(code)


def _write(out: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(out, rest) :]
