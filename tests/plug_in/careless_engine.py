"""Docker and podman, carelessly: of a stream that breaks off, what came whole is loaded all the same.

An engine that takes over image by image while the archive is still on its way does so; imagekit must undo it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.oci.engine import CONTRACT, Engine, EngineImage, EnginePlugin, EngineVersion, find_engine


class Careless:
    """All of the contract, over another engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def version(self) -> EngineVersion:
        return self._engine.version()

    def load(self, pieces: Iterable[bytes], *, cancellation: Cancellation | None = None) -> tuple[EngineImage, ...]:
        taken = io.BytesIO()
        try:
            for piece in pieces:
                taken.write(piece)
        except Exception:
            with suppress(ToolError):
                self._engine.load([whole_members(taken.getvalue())])
            raise
        return self._engine.load([taken.getvalue()], cancellation=cancellation)

    def image_id(self, name: str) -> str:
        return self._engine.image_id(name)

    def save(self, name: str, *, cancellation: Cancellation | None = None) -> Iterator[bytes]:
        return self._engine.save(name, cancellation=cancellation)

    def remove(self, name: str) -> None:
        self._engine.remove(name)

    def close(self) -> None:
        self._engine.close()


def whole_members(content: bytes) -> bytes:
    """A tar of those members of a broken one that are not cut."""
    end = 0
    with tarfile.open(fileobj=io.BytesIO(content)) as tar, suppress(tarfile.ReadError):
        for member in tar:
            after = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            if after <= len(content):
                end = after
    return content[:end] + bytes(2 * tarfile.BLOCKSIZE)


DOCKER = EnginePlugin(CONTRACT, lambda: Careless(find_engine("docker")))
PODMAN = EnginePlugin(CONTRACT, lambda: Careless(find_engine("podman")))
