"""The file system that an image's layers make together, and the file in it that the image starts. Values only."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from imagekit.audit.subjects.layers import Content, Place
from imagekit.audit.subjects.program import Program
from imagekit.oci.documents import ImageConfig, RuntimeConfig
from imagekit.oci.headers import FILE, HARD_LINK, LINK

_HIDDEN, _OPAQUE = ".wh.", ".wh..wh..opq"
"""How a layer deletes what lower ones hold (OCI image spec, layer.md, whiteouts)."""
_MOST_LINKS = 40
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ON_DISK, _WINDOWS_PATH = "/Files", ("/Windows/System32", "/Windows")
"""A layer for Windows keeps what is on drive C: below `Files` (hcsshim, the layer tar of OCI images)."""
_DRIVE = re.compile(r"^[A-Za-z]:")


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


def standing(layers: Sequence[Content], path: str) -> Program | None:
    """The program at a path of the merged layers; None where another file covers it, or none is there."""
    for content in reversed(layers):
        if path in content.places:
            number = content.places[path].program
            return None if number is None else content.programs[number].program
    return None


def started(config: ImageConfig, places: Mapping[str, Place]) -> tuple[str, str]:
    """What the image starts, as its configuration names it, and the file that this is; '' where there is none."""
    runtime = config.config
    words = ((runtime.entrypoint or runtime.cmd) if runtime else None) or ("",)
    if not runtime or not words[0]:
        return "", ""
    if config.os == "windows":
        return words[0], _on_windows(words[0], runtime, places)
    candidates = _candidates(words[0], runtime, _DEFAULT_PATH)
    resolved = (_resolved(candidate, places) for candidate in candidates)
    return words[0], next((path for path in resolved if _is_file(path, places)), "")


def _is_file(path: str, places: Mapping[str, Place]) -> bool:
    return path in places and places[path].kind == FILE


def _candidates(word: str, runtime: RuntimeConfig, default: str) -> list[str]:
    folder = posixpath.join("/", runtime.working_dir)
    if "/" in word:
        return [posixpath.join(folder, word)]
    search = dict(pair.split("=", 1) for pair in runtime.env or () if "=" in pair).get("PATH", default)
    return [posixpath.join(folder, part, word) for part in search.split(":")]


def _on_windows(word: str, runtime: RuntimeConfig, places: Mapping[str, Place]) -> str:
    """The same where names have drives and backslashes, and case does not count; PATH is not looked at."""
    names = {path.lower(): path for path in places}
    folders = [_ON_DISK + _slashes(folder) for folder in (runtime.working_dir, "/", *_WINDOWS_PATH)]
    spelled = _slashes(word)
    for folder in folders:
        place = posixpath.normpath(_ON_DISK + spelled if spelled.startswith("/") else posixpath.join(folder, spelled))
        for name in (place, f"{place}.exe"):
            if _is_file(found := names.get(name.lower(), ""), places):
                return found
    return ""


def _slashes(path: str) -> str:
    return _DRIVE.sub("", path.replace("\\", "/"))


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
