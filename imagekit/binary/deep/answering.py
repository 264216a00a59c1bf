"""The parsers' process: answers questions about files on a socket, one after another, each behind limits.

`python -P -m imagekit.binary.deep.answering FD`. A question is a line of its own with the file's descriptor; the
answer is its length and an `Answer`. Out of time, the kernel ends the process; out of memory, it says so and ends.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from pathlib import Path

import msgspec

from imagekit.binary.deep.opinion import Answer

QUESTION = 256
"""Bytes of a question at most."""
LENGTH = 8
_FILES = 500
"""Questions after which the process ends: what a parser leaks does not add up."""
_MEMORY, _COPIES, _MOST = 1 << 29, 3, 1 << 32
"""Bytes that a parser may take beyond what the process has, how many times the file's size more, and the most of both:
lief reads a file whole, and a file without content may be as large as it likes."""
_ROOTS = (Path("/proc/self/fd"), Path("/dev/fd"))


class Question(msgspec.Struct, frozen=True):
    """`kind` is the facts' format, `seconds` how long it may take."""

    parser: str
    kind: str
    seconds: float


def answer(question: Question, path: Path) -> Answer:
    """What the parser makes of the file; why not, if it raises anything."""
    try:
        if question.parser == "lief":
            from imagekit.binary.deep import with_lief

            return Answer(opinions=with_lief.opinions(path, question.kind))
        from imagekit.binary.deep import with_pyelftools

        return Answer(opinions=with_pyelftools.opinions(path))
    except MemoryError:
        return Answer(refusal="takes more memory than a file of this size deserves")
    except Exception as error:  # whatever a foreign parser throws at hostile bytes is its answer
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Answer(refusal=said[:200])


def serve(connection: socket.socket) -> None:
    """Answer until the other side closes, or enough was answered."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked decides; our end is that of the connection
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for _ in range(_FILES):
        raw, descriptors, _, _ = socket.recv_fds(connection, QUESTION, 1)
        if not raw or not descriptors:
            return
        question = msgspec.msgpack.decode(raw, type=Question)
        found = _limited(question, descriptors[0])
        body = msgspec.msgpack.encode(found)
        connection.sendall(len(body).to_bytes(LENGTH, "big") + body)


def _limited(question: Question, descriptor: int) -> Answer:
    root = next(folder for folder in _ROOTS if folder.is_dir())
    signal.setitimer(signal.ITIMER_REAL, question.seconds)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    room = _taken() + min(_MEMORY + _COPIES * os.fstat(descriptor).st_size, _MOST)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (room if hard == resource.RLIM_INFINITY else min(room, hard), hard))
        return answer(question, root / str(descriptor))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(descriptor)


def _taken() -> int:
    """Bytes of address space that this process has; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connected:
        serve(connected)
