"""The programs in an image's layers, each with its facts. Unpacks one at a time into a folder of its own.

Nothing of a layer but its programs touches the disk, under names that are not the layer's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from imagekit.audit.subject import FunctionNames
from imagekit.binary.facts import BinaryFacts
from imagekit.content import CHUNK, Digest, hash_file
from imagekit.errors import IntegrityError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import Descriptor, ImageConfig
from imagekit.oci.headers import FILE, FOLDER, HARD_LINK, LINK, Head, heads
from imagekit.oci.inflate import Inflated
from imagekit.oci.members import MOST_MEMBERS

_DEVICES = (b"3", b"4", b"6")
_KINDS = (FILE, HARD_LINK, LINK, FOLDER, *_DEVICES)
_MAGIC = (
    b"\x7fELF",
    b"MZ",
    *(bytes.fromhex(word) for word in ("feedface", "feedfacf", "cefaedfe", "cffaedfe", "cafebabe", "cafebabf")),
)
"""ELF; PE; Mach-O, thin and fat, in both byte orders."""
_HIDDEN, _OPAQUE = ".wh.", ".wh..wh..opq"
"""How a layer deletes what lower ones hold (OCI image spec, layer.md, whiteouts)."""
_MOST_LINKS = 40
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Program(msgspec.Struct, frozen=True):
    """A file that a system could start, or one slice of a fat Mach-O; `path` is absolute in the image."""

    path: str
    digest: Digest
    size: int
    facts: BinaryFacts
    functions: FunctionNames | None = None


class Place(msgspec.Struct, frozen=True):
    """What stands at a path of a layer: kind as in tar, where a link points."""

    kind: bytes
    target: str = ""


class Content(msgspec.Struct, frozen=True):
    """What one layer holds, by absolute path; `other` counts files that are no programs."""

    places: Mapping[str, Place]
    programs: tuple[Program, ...]
    other: int


def read_layer(store: BlobReader, layer: Descriptor, diff_id: Digest, folder: Path) -> Content:
    """All places and programs of a layer; `folder` takes one program at a time.

    Raises `IntegrityError` if blob or `diff_id` do not fit, or what it unpacks to has no bounds; `FormatError` for a
    damaged tar.
    """
    places: dict[str, Place] = {}
    programs: list[Program] = []
    files = 0
    with Inflated(store, layer) as source:
        for head in heads(source, _KINDS):
            if len(places) >= MOST_MEMBERS:
                raise IntegrityError(f"{source} has more than {MOST_MEMBERS} entries")
            path = posixpath.normpath("/" + head.name).replace("//", "/")
            target = posixpath.normpath("/" + head.target) if head.kind == HARD_LINK else head.target
            places[path] = Place(head.kind, target)
            found = _programs(source, head, path, folder) if head.kind == FILE else ()
            programs += found
            files += head.kind == FILE and not found
        if source.finish() != diff_id:
            raise IntegrityError(f"{source} does not unpack to {diff_id}, which the image's configuration promises")
    return Content(places, tuple(programs), files)


def _programs(source: Inflated, head: Head, path: str, folder: Path) -> tuple[Program, ...]:
    start = source.read_at(head.content, min(4, head.size))
    if not start.startswith(_MAGIC):
        return ()
    place = folder / "program"
    with place.open("wb") as out:
        out.write(start)
        position = head.content + len(start)
        while position < head.content + head.size:
            piece = source.read_at(position, min(CHUNK, head.content + head.size - position))
            if not piece:
                raise IntegrityError(f"{source}: {path} is cut")
            out.write(piece)
            position += len(piece)
    try:
        return _examined(place, head, path)
    finally:
        place.unlink()


def _examined(place: Path, head: Head, path: str) -> tuple[Program, ...]:
    """The file's facts; bytes that only begin like a program and cannot be started are none."""
    from imagekit.binary.reader import read

    digest, size = hash_file(place)
    every = read(place)
    if all(facts.format == "unknown" for facts in every) and not head.mode & 0o111:
        return ()
    return tuple(Program(path, digest, size, facts, _functions(place, facts)) for facts in every)


def _functions(place: Path, facts: BinaryFacts) -> FunctionNames | None:
    """The function table where a rule asks for it: only static glibc programs can call its name service."""
    if facts.libc != "glibc" or facts.needed:
        return None
    from imagekit.binary.functions import read_functions

    return read_functions(place)


# --- the file system that the layers make together ----------------------------------------------------------------


def merged(layers: Sequence[Content]) -> dict[str, Place]:
    """What stands where once all layers lie on each other, the lowest first; deletions carried out."""
    places: dict[str, Place] = {}
    for layer in layers:
        marks = {path for path in layer.places if posixpath.basename(path).startswith(_HIDDEN)}
        if marks:
            places = _without(places, marks)
        places.update((path, place) for path, place in layer.places.items() if path not in marks)
    return places


def _without(places: dict[str, Place], marks: set[str]) -> dict[str, Place]:
    """What is left after a layer's whiteouts: one removes a path and all below, an opaque one all below its folder."""
    opaque = {posixpath.dirname(mark) for mark in marks if posixpath.basename(mark) == _OPAQUE}
    pairs = (posixpath.split(mark) for mark in marks)
    gone = {posixpath.join(folder, name.removeprefix(_HIDDEN)) for folder, name in pairs if name != _OPAQUE}
    return {
        path: place
        for path, place in places.items()
        if path not in gone and not any(parent in gone or parent in opaque for parent in _parents(path))
    }


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path


def started(config: ImageConfig, places: Mapping[str, Place]) -> tuple[str, str]:
    """What the image starts, as its configuration names it, and the file that this is; '' where there is none."""
    runtime = config.config
    words = ((runtime.entrypoint or runtime.cmd) if runtime else None) or ("",)
    if not runtime or not words[0]:
        return "", ""
    folder = posixpath.join("/", runtime.working_dir)
    if "/" in words[0]:
        candidates = [posixpath.join(folder, words[0])]
    else:
        search = dict(pair.split("=", 1) for pair in runtime.env or () if "=" in pair).get("PATH", _DEFAULT_PATH)
        candidates = [posixpath.join(folder, part, words[0]) for part in search.split(":")]
    resolved = (_resolved(candidate, places) for candidate in candidates)
    return words[0], next((path for path in resolved if path in places and places[path].kind == FILE), "")


def _resolved(path: str, places: Mapping[str, Place]) -> str:
    """The path without links, '' for a circle."""
    done, rest, hops = "/", [part for part in path.split("/") if part], 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            done = posixpath.dirname(done)
        elif part != ".":
            here = posixpath.join(done, part)
            place = places.get(here)
            if place is None or place.kind not in (LINK, HARD_LINK):
                done = here
                continue
            hops += 1
            if hops > _MOST_LINKS:
                return ""
            rest = [word for word in place.target.split("/") if word] + rest
            done = "/" if place.target.startswith("/") else done
    return done
