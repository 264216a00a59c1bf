"""Streams between a store and the network: blobs that are read on after a break, and blobs that are sent again."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imagekit.content import CHUNK, Readable
from imagekit.oci.answers import PassingError, read_piece

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_BREAKS = 4
"""How often a blob is asked for again without a MiB of progress in between."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(?:\d{1,19}|\*)")
Ask = Callable[[str], "BaseHTTPResponse"]
"""Asks for a `Range` (all for ''); status 206 for that, 200 or 416 if the registry knows no ranges."""


class Body(io.RawIOBase):
    """A blob's bytes, as they come, asked for again from where they broke off; closing it early closes the connection.

    It can go back, by asking again.
    """

    def __init__(self, ask: Ask, what: str, patiently: Callable[[Callable[[], BaseHTTPResponse]], Any]) -> None:
        """Asks at once; raises what `ask` raises."""
        self._ask, self._what, self._patiently = ask, what, patiently
        self._offset, self._breaks, self._seen, self._ended = 0, 0, 0, False
        answer: BaseHTTPResponse = patiently(lambda: ask(""))
        self._answer: BaseHTTPResponse | None = answer
        length = answer.headers.get("Content-Length", "")
        self._last = str(int(length) - 1) if length.isdecimal() and len(length) < 16 else ""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to an offset from the start; nothing is asked for before the next read."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        if offset != self._offset:
            self._leave()
            self._offset = offset
        return offset

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, all for a negative one; raises `NetworkError` for what breaks off for good."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while True:
            try:
                answer = self._answer = self._answer or self._again()
                piece = read_piece(answer, size, self._what)
            except PassingError as error:
                self._count(error)
                continue
            self._offset += len(piece)
            self._ended = not piece and size != 0
            return piece

    def readinto(self, buffer: Any, /) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._leave()
        super().close()

    def _count(self, error: PassingError) -> None:
        """Count a break; raise it after too many that brought nothing."""
        self._answer = None
        self._breaks = 1 if self._offset >= self._seen + CHUNK else self._breaks + 1
        self._seen = self._offset
        if self._breaks > _BREAKS:
            raise error

    def _again(self) -> BaseHTTPResponse:
        """The rest: by a range, else all of it, and what was read already is passed over."""
        wanted = f"bytes={self._offset}-{self._last}" if self._offset else ""
        answer: BaseHTTPResponse = self._patiently(lambda: self._ask(wanted))
        if answer.status == 416:
            answer.close()
            answer = self._patiently(lambda: self._ask(""))
        if answer.status == 206:
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if found and int(found[1]) == self._offset:
                return answer
            answer.close()
            raise PassingError(f"{self._what}: gave another range than it was asked for")
        left = self._offset
        while left and (piece := read_piece(answer, min(left, CHUNK), self._what)):
            left -= len(piece)
        return answer

    def _leave(self) -> None:
        if self._answer is not None:
            (self._answer.release_conn if self._ended else self._answer.close)()
        self._answer, self._ended = None, False


class Unclosed:
    """A stream that its reader cannot close: it may be needed again from the start."""

    def __init__(self, stream: Readable) -> None:
        self.read = stream.read


class Limited:
    """At most `limit` bytes of a stream."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int = -1, /) -> bytes:
        piece = self._stream.read(self._left if size < 0 else min(size, self._left)) if self._left else b""
        self._left -= len(piece)
        return piece


def rewinder(stream: Readable) -> Callable[[], bool]:
    """Brings `stream` back to where it is now; gives False if it cannot go back."""
    seekable = getattr(stream, "seekable", None)
    if seekable is None or not seekable():
        return lambda: False
    seek: Callable[[int], int] = stream.seek  # type: ignore[attr-defined]  # `seekable` said so
    start: int = stream.tell()  # type: ignore[attr-defined]
    return lambda: seek(start) == start
