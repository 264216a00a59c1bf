"""The programs in a layer, each with its facts. Unpacks one at a time into a folder of its own.

Nothing of a layer but its programs touches the disk, under names that are not the layer's.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

import msgspec

from imagekit.audit.subjects.examined import shown_path
from imagekit.audit.subjects.program import HEAD, Program, Wishes, look, promising, startable
from imagekit.content import CHUNK, Digest
from imagekit.errors import IntegrityError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import Descriptor
from imagekit.oci.headers import FILE, FOLDER, HARD_LINK, LINK, Head, heads
from imagekit.oci.inflate import Inflated
from imagekit.oci.members import MOST_MEMBERS

_DEVICES = (b"3", b"4", b"6")
_KINDS = (FILE, HARD_LINK, LINK, FOLDER, *_DEVICES)


class Place(msgspec.Struct, frozen=True):
    """What stands at a path of a layer: kind as in tar, where a link points, which of the layer's programs it is."""

    kind: bytes
    target: str = ""
    program: int | None = None
    mode: int = 0
    owner: tuple[int, int] = (0, 0)
    """Uid and gid."""


class Member(msgspec.Struct, frozen=True):
    """A program at its path in the image, absolute; what is not UTF-8 in the path is escaped."""

    path: str
    program: Program


class Content(msgspec.Struct, frozen=True):
    """What one layer holds, by absolute path; `other` counts files that are no programs.

    Of two entries at one path the later stands there, and both are among the programs if they are some.
    """

    places: dict[str, Place]
    programs: tuple[Member, ...]
    other: int


def read_layer(store: BlobReader, layer: Descriptor, diff_id: Digest, folder: Path, wishes: Wishes) -> Content:
    """All places and programs of a layer; `folder` takes one program at a time.

    A path that leaves the layer (`../../x`) is what an engine makes of it: a path below its root. Raises
    `IntegrityError` if blob or `diff_id` do not fit, or what it unpacks to has no bounds; `FormatError` for a damaged
    tar.
    """
    places: dict[str, Place] = {}
    programs: list[Member] = []
    files = 0
    with Inflated(store, layer) as source:
        for head in heads(source, _KINDS):
            if len(places) >= MOST_MEMBERS:
                raise IntegrityError(f"{source} has more than {MOST_MEMBERS} entries")
            path = _inside(head.name)
            program = _program(source, head, path, folder, wishes) if head.kind == FILE else None
            target = _inside(head.target) if head.kind == HARD_LINK else shown_path(head.target)
            number = None if program is None else len(programs)
            places[path] = Place(head.kind, target, number, head.mode & 0o7777, (head.uid, head.gid))
            if program is not None:
                programs.append(Member(path, program))
            files += head.kind == FILE and program is None
        if source.finish() != diff_id:
            raise IntegrityError(f"{source} does not unpack to {diff_id}, which the image's configuration promises")
    return Content(places, tuple(programs), files)


def _inside(name: str) -> str:
    return posixpath.normpath("/" + shown_path(name)).replace("//", "/")


def _program(source: Inflated, head: Head, path: str, folder: Path, wishes: Wishes) -> Program | None:
    start = source.read_at(head.content, min(HEAD, head.size))
    if not promising(start, wishes):
        return None
    place = folder / f"program-{os.getpid()}"
    try:
        with place.open("wb+") as out:
            out.write(start)
            for piece in _rest(source, head, head.content + len(start), path):
                out.write(piece)
            out.flush()
            return look(out.fileno(), wishes, place, might_start=startable(start, head.mode))
    finally:
        place.unlink(missing_ok=True)


def _rest(source: Inflated, head: Head, position: int, path: str) -> Iterator[bytes]:
    end = head.content + head.size
    while position < end:
        piece = source.read_at(position, min(CHUNK, end - position))
        if not piece:
            raise IntegrityError(f"{source}: {path} is cut")
        yield piece
        position += len(piece)
