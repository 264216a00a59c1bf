"""Streams between stores: joined, cut, opened only when they are read, and read again from the start."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO

from imagekit.content import CHUNK, Readable
from imagekit.oci.blobs import BlobReader, Doubtful, Ranged, WrongBytesError, origin_of
from imagekit.oci.documents import Descriptor


class Movable(io.RawIOBase):
    """A stream that goes to another offset by leaving where it is; it is opened there by the next `read`."""

    _offset = 0

    @property
    def origin(self) -> str:
        """Who gives the bytes (`blobs.origin_of`)."""
        return ""

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

    def readinto(self, buffer: Any, /) -> int:
        piece = self.read(len(buffer)) or b""
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._leave()
        super().close()

    def _leave(self) -> None:
        raise NotImplementedError


class OnDemand(Movable):
    """A blob of a store, opened where it is first read: what stands before that is asked for only if it must be.

    Reading raises what `BlobReader.open` raises.
    """

    def __init__(self, source: BlobReader, blob: Descriptor) -> None:
        self._source, self._blob = source, blob
        self._stream: BinaryIO | None = None

    @property
    def origin(self) -> str:
        return origin_of(self._stream) or str(self._source)

    def read(self, size: int | None = -1, /) -> bytes:
        self._stream = self._stream or self._open()
        piece = self._stream.read(-1 if size is None else size)
        self._offset += len(piece)
        return piece

    def doubt(self, error: WrongBytesError) -> bool:
        """The bytes were wrong: whether somebody else can be asked (`blobs.Doubtful`). It is at its start then."""
        if not isinstance(self._stream, Doubtful):
            return False
        self._stream.doubt(error)
        self._leave()
        self._offset = 0
        return True

    def _open(self) -> BinaryIO:
        if self._offset and isinstance(self._source, Ranged):
            return self._source.open_rest(self._blob, self._offset)
        stream = self._source.open(self._blob.digest)
        skip(stream, self._offset)
        return stream

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None


class Unclosed:
    """A stream that its reader cannot close: it may be needed again from the start."""

    def __init__(self, stream: Readable) -> None:
        self.read, self._stream = stream.read, stream

    @property
    def origin(self) -> str:
        return origin_of(self._stream)


class Limited:
    """At most `limit` bytes of a stream."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._left = stream, limit

    @property
    def origin(self) -> str:
        return origin_of(self._stream)

    def read(self, size: int = -1, /) -> bytes:
        piece = self._stream.read(self._left if size < 0 else min(size, self._left)) if self._left else b""
        self._left -= len(piece)
        return piece


class Chained:
    """One stream, then another, whose origin is told."""

    def __init__(self, first: Readable, second: Readable) -> None:
        self._first, self._second = first, second

    @property
    def origin(self) -> str:
        return origin_of(self._second)

    def read(self, size: int = -1, /) -> bytes:
        return self._first.read(size) or self._second.read(size)


def skip(stream: Readable, count: int) -> None:
    """Pass over `count` bytes, or as many as there are."""
    while count and (piece := stream.read(min(count, CHUNK))):
        count -= len(piece)


def rewinder(stream: Readable) -> Callable[..., bool]:
    """Brings `stream` back to where it is now, or to so many bytes behind that; gives False if it cannot go there."""
    seekable = getattr(stream, "seekable", None)
    if seekable is None or not seekable():
        return lambda _offset=0: False
    seek: Callable[[int], int] = stream.seek  # type: ignore[attr-defined]  # `seekable` said so
    start: int = stream.tell()  # type: ignore[attr-defined]
    return lambda offset=0: seek(start + offset) == start + offset
