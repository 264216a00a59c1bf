"""One open file as a place for one packed tar: how layers' bytes become an archive or a file that Dockerfiles `ADD`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import BinaryIO

from imagekit.content import CHUNK, Digest, Readable
from imagekit.oci.blobs import MissingBlobError, VerifyingReader
from imagekit.oci.documents import Descriptor
from imagekit.oci.layers import Compression, Entry, write_layer


class Sink:
    """A blob store that pours what it is given into a file and keeps nothing that could be read again."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def has(self, _digest: Digest, /) -> bool:
        return False

    def open(self, digest: Digest, /) -> BinaryIO:
        raise MissingBlobError(f"blob {digest} went into a file and cannot be read from here")

    def add(self, stream: Readable, expected: Descriptor | None = None) -> tuple[Digest, int]:
        source = stream if expected is None else VerifyingReader(stream, expected)
        state, size = hashlib.sha256(), 0
        while piece := source.read(CHUNK):
            state.update(piece)
            self._stream.write(piece)
            size += len(piece)
        return Digest("sha256:" + state.hexdigest()), size


def write_tar(
    stream: BinaryIO, entries: Sequence[Entry], *, mtime: int, compression: Compression
) -> tuple[Digest, int]:
    """Pour `entries` as a deterministic tar into `stream`; its digest and size in bytes. Raises as `write_layer`."""
    written = write_layer(Sink(stream), entries, mtime=mtime, compression=compression).descriptor
    return written.digest, written.size
