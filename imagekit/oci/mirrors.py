"""Mirrors of a registry: asked first, and left as soon as one breaks, or gives what was not asked for."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from imagekit.errors import ImagekitError, IntegrityError, NetworkError, UnreadableError
from imagekit.oci.blobs import MissingBlobError, origin_of
from imagekit.text import line

if TYPE_CHECKING:
    from imagekit.oci.documents import Descriptor
    from imagekit.oci.repository import Repository

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class Mirrors:
    """Those of one repository, in their order; safe for threads. One that lies is named on the log: on stderr."""

    def __init__(self, repositories: Sequence[Repository]) -> None:
        self._left = list(repositories)
        self._lock = threading.Lock()

    def learn(self, descriptor: Descriptor) -> None:
        """`Repository.learn` of each."""
        for mirror in tuple(self._left):
            mirror.learn(descriptor)

    def ask(self, question: Callable[[Repository], T]) -> T | None:
        """What the first one says that has it; None if none does. One that fails is not asked again."""
        for mirror in tuple(self._left):
            try:
                return question(mirror)
            except MissingBlobError:
                continue
            except (NetworkError, UnreadableError, IntegrityError) as error:
                self.leave(mirror, error)
        return None

    def open(
        self, start: int, opened: Callable[[Repository], BinaryIO], go_on: Callable[[int], BinaryIO]
    ) -> BinaryIO | None:
        """A blob of the first one that has it, `opened` at its byte `start`; None if none does.

        Where it breaks off, `go_on` opens the blob from an offset on, without those that were left.
        """
        found = self.ask(lambda mirror: FromMirror(self, mirror, opened(mirror), start, go_on))
        return cast("BinaryIO | None", found)

    def leave(self, mirror: Repository, error: ImagekitError) -> None:
        """Ask it no more."""
        with self._lock:
            if mirror not in self._left:
                return
            self._left.remove(mirror)
        if not isinstance(error, NetworkError):
            _LOG.warning("imagekit: the mirror %s is asked no more: %s", line(str(mirror)), line(error.message))


class FromMirror(io.RawIOBase):
    """A blob as a mirror gives it; where the mirror breaks off, it is gone on with elsewhere (`blobs.Doubtful`)."""

    def __init__(
        self, mirrors: Mirrors, mirror: Repository, stream: BinaryIO, start: int, go_on: Callable[[int], BinaryIO]
    ) -> None:
        self._mirrors, self._mirror, self._go_on = mirrors, mirror, go_on
        self._stream, self._offset, self._broke = stream, start, False

    @property
    def origin(self) -> str:
        return origin_of(self._stream) or str(self._mirror)

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            piece = self._stream.read(-1 if size is None else size)
        except (NetworkError, UnreadableError) as error:
            if self._broke:
                raise
            self._mirrors.leave(self._mirror, error)
            self._stream.close()
            self._stream, self._broke = self._go_on(self._offset), True
            return self.read(size)
        self._offset += len(piece)
        return piece

    def readinto(self, buffer: Any, /) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def doubt(self, error: IntegrityError, /) -> None:
        """Of a mirror that broke off it is not known whether it lied: it is left already."""
        if not self._broke:
            self._mirrors.leave(self._mirror, error)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
