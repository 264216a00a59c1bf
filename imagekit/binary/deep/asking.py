"""The other side of `answering`: starts the parsers' process when it is needed, and tells how it ended.

Touches processes. There is one for each process of ours, however many threads and files; it ends with us.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from imagekit.binary.deep.answering import LENGTH, QUESTION, Question
from imagekit.binary.deep.opinion import Answer
from imagekit.errors import UnreadableError
from imagekit.unfinished import unfinished

_SECONDS, _BYTES_A_SECOND = 20, 20 << 20
"""What any file may take, and how many bytes more earn a further second."""
_MERCY = 10
"""Seconds that we wait longer than the process should live."""
_ANSWER = 64 << 20


class Ended(Exception):
    """The process is gone; the text says how, '' if it had simply answered enough."""


class Parsers:
    """One process and our end of its socket."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.set_inheritable(True)
            module = "imagekit.binary.deep.answering"
            start = partial(
                subprocess.Popen[bytes],
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
            self._opened = ExitStack()
            self._process = self._opened.enter_context(unfinished(start, subprocess.Popen.kill))
        self._socket, self.owner = ours, os.getpid()

    def ask(self, question: Question, descriptor: int) -> Answer:
        """Raises `Ended`, after which nothing can be asked any more."""
        raw = msgspec.msgpack.encode(question)
        if len(raw) > QUESTION:
            raise ValueError(raw)
        try:
            self._socket.settimeout(question.seconds + _MERCY)
            socket.send_fds(self._socket, [raw], [descriptor])
            size = int.from_bytes(self._received(LENGTH), "big")
            if size > _ANSWER:
                raise Ended("answers without an end")
            return msgspec.msgpack.decode(self._received(size), type=Answer)
        except TimeoutError as error:
            raise Ended(f"did not end within {question.seconds} seconds") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._end(question) from error

    def _received(self, size: int) -> bytes:
        taken = bytearray()
        while len(taken) < size:
            piece = self._socket.recv(size - len(taken))
            if not piece:
                raise ConnectionResetError
            taken += piece
        return bytes(taken)

    def _end(self, question: Question) -> Ended:
        code = self._process.wait()
        if code == -signal.SIGALRM:
            return Ended(f"did not end within {question.seconds} seconds")
        return Ended(f"ended by signal {-code}" if code < 0 else f"ended with exit {code}" if code else "")

    def close(self) -> None:
        """End the process; a second time does nothing."""
        self._socket.close()
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._opened.close()


_LOCK = threading.Lock()
_RUNNING: list[Parsers] = []
"""None or one, started by this process; a fork of ours starts its own."""


def ask(parser: str, kind: str, path: Path) -> Answer:
    """What the parser says of the file; a refusal if it crashes, or takes too much time or memory.

    Raises `UnreadableError` if the path cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    try:
        question = Question(parser, kind, _SECONDS + os.fstat(descriptor).st_size // _BYTES_A_SECOND)
        with _LOCK:
            return _ask(question, descriptor)
    finally:
        os.close(descriptor)


def _ask(question: Question, descriptor: int) -> Answer:
    """Of the running process; of a new one where that had answered enough."""
    for _ in range(2):
        try:
            return _running().ask(question, descriptor)
        except Ended as end:
            stop()
            if str(end):
                return Answer(refusal=str(end))
    return Answer(refusal="does not start")


def _running() -> Parsers:
    if _RUNNING and _RUNNING[0].owner != os.getpid():
        _RUNNING.clear()
    if not _RUNNING:
        _RUNNING.append(Parsers())
        atexit.register(stop)
    return _RUNNING[0]


def stop() -> None:
    """End the parsers' process, if there is one."""
    while _RUNNING:
        _RUNNING.pop().close()
