"""Blobs: bytes that are found by their digest, and believed only after a check.

`BlobReader` and `BlobStore` are the whole contract between the rooms and any place that holds images: an OCI layout, a
registry, memory, later an archive or an engine. Bytes are checked where they are read (`read_verified`,
`VerifyingReader`) and where they are written (`add`).
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

from imagekit.content import CHUNK, Digest, Readable, digest_of
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.documents import DOCUMENT_LIMIT, FOREIGN_LAYERS, Descriptor

_SPOOL = 1 << 20


class MissingBlobError(UnreadableError):
    """A store does not hold a blob that a document promises."""


class WrongBytesError(IntegrityError):
    """What a stream gives is not what the blob's descriptor promises."""


class BlobReader(Protocol):
    """A place to read blobs from."""

    def has(self, digest: Digest, /) -> bool:
        """Whether `open` would find it. Says nothing about the bytes being right."""

    def open(self, digest: Digest, /) -> BinaryIO:
        """The blob's bytes from the start, unchecked; the caller closes. Raises `MissingBlobError`."""


class BlobStore(BlobReader, Protocol):
    """A place to write blobs to as well."""

    def add(self, stream: Readable, expected: Descriptor | None = None) -> tuple[Digest, int]:
        """Keep all that is left in `stream`; return its digest and size in bytes.

        Whole or nothing: after an error the store holds what it held. The second time nothing is written, and the
        stream may be left unread. Bytes that are not what `expected` promises raise `IntegrityError`, after at most
        one byte too many was read. The caller closes the stream.
        """


@runtime_checkable
class Sorting(Protocol):
    """A store that keeps manifests and indexes elsewhere than other blobs, as registries do."""

    def learn(self, descriptor: Descriptor, /) -> None:
        """Remember from the media type where the digest is kept; until then it is taken for a plain blob."""


@runtime_checkable
class Mounting(Protocol):
    """A store that may take a blob over from a neighbour without its bytes passing here, as registries do."""

    def mount(self, source: object, blob: Descriptor, /) -> bool:
        """Whether the blob is here now; False, and nothing changed, where `source` is no such neighbour."""


@runtime_checkable
class Ranged(Protocol):
    """A store that need not read the beginning of a blob to give the rest, as registries do."""

    def open_rest(self, blob: Descriptor, start: int, /) -> BinaryIO:
        """`open`, from byte `start` of the blob on."""


@runtime_checkable
class Gathered(Protocol):
    """Several stores read as one; each can do for its own blobs what the whole cannot."""

    def holder(self, digest: Digest, /) -> BlobReader:
        """The one that a blob is read from."""


@runtime_checkable
class Doubtful(Protocol):
    """A stream from somebody who is not the last word on a blob, as a registry's mirrors are not."""

    def doubt(self, error: IntegrityError, /) -> None:
        """The bytes were not those that were promised: opening the blob again asks somebody else."""


def origin_of(stream: object) -> str:
    """Who gives the bytes of a stream (a registry, a mirror, a layout), where it says so by `origin`; else ''."""
    return str(getattr(stream, "origin", ""))


class VerifyingReader(io.RawIOBase):
    """Passes on the bytes of `stream` while they are what `promised` says; closing it closes `stream`.

    The last byte is handed out only after size and digest were found right; `IntegrityError` otherwise. So whoever
    has read `promised.size` bytes has read the right ones. Errors (`WrongBytesError`) name who gave them (`origin_of`),
    else `where`.
    """

    def __init__(self, stream: Readable, promised: Descriptor, where: str = "") -> None:
        self._stream, self._promised, self._where = stream, promised, where
        self._state, self._seen, self._done = hashlib.sha256(), 0, False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes (all that is left for a negative one)."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self._piece(CHUNK), b""))
        return self._piece(size)

    def readinto(self, buffer: Any, /) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed and (close := getattr(self._stream, "close", None)):
            close()
        super().close()

    def _piece(self, size: int) -> bytes:
        if self._done or not size:
            return b""
        piece = self._stream.read(min(size, self._promised.size - self._seen)) if self._left else b""
        self._state.update(piece)
        self._seen += len(piece)
        if not self._left or not piece:
            self._check()
        return piece

    @property
    def _left(self) -> bool:
        return self._seen < self._promised.size

    def _check(self) -> None:
        self._done = True
        if self._left:
            raise self._broken(f"ends after {self._seen} bytes, {self._promised.size} were promised")
        if self._stream.read(1):
            raise self._broken(f"is longer than the {self._promised.size} bytes promised")
        if (found := "sha256:" + self._state.hexdigest()) != self._promised.digest:
            raise self._broken(f"holds bytes of {found}")

    def _broken(self, how: str) -> WrongBytesError:
        origin = origin_of(self._stream)
        where = f" from {origin}" if origin else f" in {self._where}" if self._where else ""
        return WrongBytesError(
            f"blob {self._promised.digest}{where} {how}",
            hint="make or fetch it again; its bytes were changed or cut on the way",
        )


def read_verified(store: BlobReader, promised: Descriptor, limit: int = DOCUMENT_LIMIT) -> bytes:
    """The blob, once its size and digest are what `promised` says; reads at most `promised.size + 1` bytes.

    Raises `UnreadableError` for a promise of more than `limit` bytes, `MissingBlobError`, `IntegrityError`.
    """
    if promised.size > limit:
        raise UnreadableError(f"blob {promised.digest} of {promised.size} bytes, more than {limit} are not read here")
    with open_verified(store, promised) as stream:
        return stream.read()


def open_verified(store: BlobReader, promised: Descriptor) -> VerifyingReader:
    """The blob as a stream that is checked while it is read; the caller closes.

    What a mirror gives is checked before, in a file that nobody else sees: if it is wrong, another is asked, which
    could not be done for bytes that were read already.
    """
    stream = store.open(promised.digest)
    while isinstance(stream, Doubtful):
        try:
            with VerifyingReader(stream, promised, str(store)) as source:
                return VerifyingReader(_spooled(source), promised, str(store))
        except WrongBytesError as error:
            stream.doubt(error)
            stream = store.open(promised.digest)
    return VerifyingReader(stream, promised, str(store))


def _spooled(stream: Readable) -> BinaryIO:
    """All that is left of a stream, in memory or in a file without a name."""
    from tempfile import SpooledTemporaryFile

    spool = SpooledTemporaryFile(_SPOOL)  # noqa: SIM115 - whoever reads it closes it
    try:
        while piece := stream.read(CHUNK):
            spool.write(piece)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return cast(BinaryIO, spool)


def lives_elsewhere(store: BlobReader, blob: Descriptor) -> bool:
    """Whether it is a layer that is not distributed with its image, nor here; it is never fetched from its `urls`."""
    return blob.media_type in FOREIGN_LAYERS and not store.has(blob.digest)


def put(store: BlobStore, content: bytes, media_type: str, **fields: Any) -> Descriptor:
    """Keep `content`; return its descriptor, with `fields` (`platform`, `annotations`, …) of `Descriptor` set."""
    promised = Descriptor(media_type, digest_of(content), len(content), **fields)
    store.add(io.BytesIO(content), promised)
    return promised
