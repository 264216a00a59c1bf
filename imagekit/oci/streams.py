"""Streams between a store and the network: answers that are read as blobs, and blobs that are sent again."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imagekit.content import Readable
from imagekit.oci.transport import read_piece

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse


class Body(io.RawIOBase):
    """An answer's bytes, as they came; closing it early closes the connection."""

    def __init__(self, answer: BaseHTTPResponse, what: str) -> None:
        self._answer, self._what, self._ended = answer, what, False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, all for a negative one; raises `NetworkError` for an answer that breaks off."""
        wanted = None if size is None or size < 0 else size
        piece = read_piece(self._answer, wanted, self._what)
        self._ended = self._ended or (not piece and size != 0)
        return piece

    def readinto(self, buffer: Any, /) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            (self._answer.release_conn if self._ended else self._answer.close)()
        super().close()


class Unclosed:
    """A stream that its reader cannot close: it may be needed again from the start."""

    def __init__(self, stream: Readable) -> None:
        self.read = stream.read


def rewinder(stream: Readable) -> Callable[[], bool]:
    """Brings `stream` back to where it is now; gives False if it cannot go back."""
    seekable = getattr(stream, "seekable", None)
    if seekable is None or not seekable():
        return lambda: False
    seek: Callable[[int], int] = stream.seek  # type: ignore[attr-defined]  # `seekable` said so
    start: int = stream.tell()  # type: ignore[attr-defined]
    return lambda: seek(start) == start
