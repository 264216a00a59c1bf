"""A file whose bytes cannot change under the reader: hashed once, compared at every later read.

Touches disk. The first pass keeps the SHA-256 of every MiB; whatever is read afterwards, by the checks or by an engine
that loads, is first found to be the same bytes. So what was verified is what gets loaded, whoever else can write the
medium in between, and nothing has to be copied for that.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from imagekit.content import CHUNK, Digest
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.files import open_regular


class Opened:
    """A regular file, read at offsets; one descriptor from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        """Open it; raise `UnreadableError` if it is missing or is a pipe, device or folder."""
        self.path = path
        try:
            self._file = open_regular(path)
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror}") from error
        self.size = os.fstat(self._file.fileno()).st_size

    def __str__(self) -> str:
        return str(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._file.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """The `size` bytes from `offset`, fewer at the end of the file."""
        return self._raw(offset, size)

    def open(self, offset: int, size: int) -> BinaryIO:
        """The section as a stream of its own."""
        return cast(BinaryIO, io.BufferedReader(_Section(self, offset, size), CHUNK))

    def _raw(self, offset: int, size: int) -> bytes:
        number, taken = self._file.fileno(), bytearray()
        try:
            while len(taken) < size and (piece := os.pread(number, size - len(taken), offset + len(taken))):
                taken += piece
        except OSError as error:
            raise UnreadableError(f"{self.path}: {error.strerror} near byte {offset}") from error
        return bytes(taken)


class Sealed(Opened):
    """`digest` and `size` are those of the first pass; a read that finds other bytes raises `IntegrityError`."""

    def __init__(self, path: Path) -> None:
        """Open the file and hash it whole."""
        super().__init__(path)
        self._leaves: list[bytes] = []
        self._last: tuple[int, bytes] = (-1, b"")
        state, self.size = hashlib.sha256(), 0
        while piece := self._raw(self.size, CHUNK):
            state.update(piece)
            self._leaves.append(hashlib.sha256(piece).digest())
            self.size += len(piece)
        self.digest = Digest("sha256:" + state.hexdigest())

    def pieces(self) -> Iterator[bytes]:
        """The whole file, a MiB at a time."""
        for number in range(len(self._leaves)):
            yield self._leaf(number)

    def read_at(self, offset: int, size: int) -> bytes:
        """The `size` bytes from `offset`, fewer at the end of the file; all of them found unchanged."""
        end = min(offset + size, self.size)
        taken = bytearray()
        while (start := offset + len(taken)) < end:
            number, inside = divmod(start, CHUNK)
            taken += self._leaf(number)[inside : inside + end - start]
        return bytes(taken)

    def _leaf(self, number: int) -> bytes:
        if self._last[0] != number:
            content = self._raw(number * CHUNK, min(CHUNK, self.size - number * CHUNK))
            if hashlib.sha256(content).digest() != self._leaves[number]:
                raise IntegrityError(
                    f"{self.path} changed after it was verified, in the MiB at byte {number * CHUNK}",
                    hint="something else writes this file: take the medium away from it and begin again",
                )
            self._last = (number, content)
        return self._last[1]


class _Section(io.RawIOBase):
    def __init__(self, source: Opened, offset: int, size: int) -> None:
        self._source, self._offset, self._left = source, offset, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self._source.read_at(self._offset, min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        self._left -= len(piece)
        return len(piece)
