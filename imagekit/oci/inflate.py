"""A layer's tar, decompressed while it is read: forward only, bounded, and hashed against its diff id."""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO, Protocol, cast

from imagekit.content import CHUNK, Digest
from imagekit.errors import IntegrityError
from imagekit.oci.blobs import BlobReader, open_verified
from imagekit.oci.documents import Descriptor

RATIO, SPARE = 256, 64 << 20
"""A layer may grow to 256 times its size and 64 MiB; deflate alone could make a thousand times out of zeros."""
_WINDOW = 32 << 20
"""Bytes of memory that a zstd frame may ask for (RFC 8878 3.1.1.1.2 recommends 8 MiB, what `zstd -19` takes)."""
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""How what is compressed begins (RFC 1952 2.3.1; RFC 8878 3.1.1)."""
_MAGIC = {GZIP: "gzip", ZSTD: "zstd"}


def _named(media_type: str) -> str:
    """What a media type says of the compression: OCI's behind a plus, docker's behind a dot."""
    mark = "+" if "+" in media_type else ".tar."
    return media_type.rpartition(mark)[2] if mark in media_type else "none"


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Inflated:
    """The uncompressed tar of a layer; `read_at` only goes forward. Close it, or use it in a `with`."""

    def __init__(self, store: BlobReader, layer: Descriptor) -> None:
        self._layer = layer
        self._raw = open_verified(store, layer.bare())
        self._limit = layer.size * RATIO + SPARE
        self._state, self._position = hashlib.sha256(), 0
        self._damage: tuple[type[Exception], ...] = ()
        self._stream = self._opened(store)

    def __str__(self) -> str:
        return f"layer {self._layer.digest}"

    def __enter__(self) -> Inflated:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read_at(self, offset: int, size: int, /) -> bytes:
        """The bytes there, fewer at the end; what lies between the last read and `offset` is passed over."""
        while self._position < offset and self._next(min(CHUNK, offset - self._position)):
            pass
        taken = bytearray()
        while self._position == offset + len(taken) and (piece := self._next(size - len(taken))):
            taken += piece
        return bytes(taken)

    def finish(self) -> Digest:
        """Read what is left, so that the layer's own digest is checked too; the digest of the whole tar."""
        while self._next(CHUNK):
            pass
        while self._raw.read(CHUNK):
            pass
        return Digest("sha256:" + self._state.hexdigest())

    def _next(self, size: int) -> bytes:
        try:
            piece = self._stream.read(min(size, CHUNK)) if size else b""
        except self._damage as error:
            raise IntegrityError(f"{self} cannot be decompressed: {error}") from error
        self._state.update(piece)
        self._position += len(piece)
        if self._position > self._limit:
            raise IntegrityError(
                f"{self} has {self._layer.size} bytes and becomes more than {self._limit}",
                hint="nothing honest is that empty; do not load it",
            )
        return piece

    def _opened(self, store: BlobReader) -> _Stream:
        """The stream that the bytes themselves ask for (engines look at them), which the media type must name."""
        with store.open(self._layer.digest) as start:
            head = start.read(4)
        found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "none")
        if found != _named(self._layer.media_type):
            raise IntegrityError(f"{self} calls itself {self._layer.media_type!r}, its bytes are compressed as {found}")
        match found:
            case "gzip":
                from isal import igzip, isal_zlib

                self._damage = (igzip.BadGzipFile, EOFError, cast(type[Exception], isal_zlib.error))
                opened: Any = igzip.open
                return cast(_Stream, opened(self._raw, "rb"))
            case "zstd":
                import zstandard

                self._damage = (zstandard.ZstdError,)
                inflater = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
                return cast(_Stream, inflater.stream_reader(cast(BinaryIO, self._raw), read_across_frames=True))
        return self._raw
