"""Why two builds of the same source are not the same: the first file that differs, explained. Touches both outputs."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import msgspec

from imagekit.binary.variables import set_variables
from imagekit.cancellation import Cancellation
from imagekit.oci.documents import REF_NAME
from imagekit.oci.store import Layout
from imagekit.text import line

_MOST = 10
_WIDTH = 200
_ARCHIVES = (".tar", ".tar.gz", ".zip")


def telling(path: str) -> tuple[int, str]:
    """Sorts files of dist/: programs first, because what differs in them differs in everything that holds them."""
    order = ("bin/", "rootfs/", "oci/", "archives/", "sbom/")
    return (next((place for place, start in enumerate(order) if path.startswith(start)), len(order)), path)


def explained(one: Path, other: Path, path: str, cancellation: Cancellation) -> Iterator[str]:
    """What differs in the file `path` of two outputs, line by line; an image for a file of an image layout."""
    first, second = one / path, other / path
    if path.startswith("oci/"):
        yield from _images(one / "oci", other / "oci", cancellation)
    elif not first.is_file() or not second.is_file():
        yield f"only the {'first' if first.is_file() else 'second'} build has it"
    elif path.startswith("bin/"):
        yield from _variables(first, second)
        yield from _programs(first, second, cancellation)
    elif path.endswith(_ARCHIVES):
        yield from _entries(first, second)
    else:
        yield from _text(first, second)


def _programs(one: Path, other: Path, cancellation: Cancellation) -> Iterator[str]:
    from imagekit.audit.compare import compare
    from imagekit.audit.comparing import prose

    yield from prose.lines(compare(str(one), str(other), cancellation))


def _variables(one: Path, other: Path) -> Iterator[str]:
    """Each variable that `-X` gave another value."""
    before, after = set_variables(one), set_variables(other)
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            yield line(f"-X gave the variable {name} the value {before[name]!r}, then {after[name]!r}")


def _entries(one: Path, other: Path) -> Iterator[str]:
    from imagekit.audit.comparing import prose
    from imagekit.audit.comparing.archives import compare_archives

    yield from prose.entries(compare_archives(one, other))


def _images(one: Path, other: Path, cancellation: Cancellation) -> Iterator[str]:
    """Each image of the first layout that is another in the second; of equal ones what index.json says."""
    from imagekit.audit.compare import compare
    from imagekit.audit.comparing import prose

    before, after = _named(one), _named(other)
    differing = [name for name in before if before[name] != after.get(name)]
    for name in differing:
        if name in after:
            yield from prose.lines(compare(f"oci:{one}:{name}", f"oci:{other}:{name}", cancellation))
        else:
            yield f"only the first build has the image {line(name)}"
    if not differing:
        yield from _text(one / "index.json", other / "index.json")


def _named(layout: Path) -> dict[str, str]:
    entries = Layout(layout, durable=False).index().manifests
    return {entry.annotations[REF_NAME]: entry.digest for entry in entries if REF_NAME in entry.annotations}


# --- text and JSON ------------------------------------------------------------------------------------------------


def _text(one: Path, other: Path) -> Iterator[str]:
    """The first keys of two JSON documents, or the first line of two texts, that are not the same."""
    raw = one.read_bytes(), other.read_bytes()
    try:
        left, right = (msgspec.json.decode(each) for each in raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        yield from _first_line(*raw)
        return
    for number, (key, before, after) in enumerate(_values(left, right, "")):
        if number == _MOST:
            yield "and more"
            return
        yield line(f"{key or 'the document'}: {_shown(before)} then {_shown(after)}")


_ABSENT = object()


def _values(left: Any, right: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values differ, as deep as they can be followed."""
    match left, right:
        case dict(), dict():
            for name in dict.fromkeys((*left, *right)):
                inner = f"{key}.{name}" if key else name
                yield from _values(left.get(name, _ABSENT), right.get(name, _ABSENT), inner)
        case list(), list() if len(left) == len(right):
            for number, pair in enumerate(zip(left, right, strict=True)):
                yield from _values(*pair, f"{key}[{number}]")
        case _:
            if left != right:
                yield key, left, right


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def _first_line(one: bytes, other: bytes) -> Iterator[str]:
    lines = one.splitlines(), other.splitlines()
    for number in range(max(map(len, lines))):
        before, after = (each[number] if number < len(each) else b"(the end)" for each in lines)
        if before != after:
            yield f"line {number + 1}: {_readable(before)}"
            yield f"     then: {_readable(after)}"
            return
    yield "only its line ends differ"


def _readable(raw: bytes) -> str:
    return line(raw.decode("utf-8", "backslashreplace").strip()[:_WIDTH])


# --- the source ---------------------------------------------------------------------------------------------------


def changed_sources(source: Path, copy: Path, outputs: Container[Path]) -> Iterator[str]:
    """Each file of the source that is not what it is in its copy by now, `outputs` aside: a build that writes there may
    embed it too.
    """
    for folder, folders, names in os.walk(copy):
        place = Path(folder)
        folders[:] = sorted(name for name in folders if name != ".git" and place / name not in outputs)
        for name in sorted(names):
            path = (place / name).relative_to(copy)
            if how := _changed(source / path, copy / path):
                yield line(f"in the source too: {path}: {how}")


def _changed(one: Path, other: Path) -> str:
    try:
        before, after = one.lstat(), other.lstat()
        if not stat.S_ISREG(before.st_mode) or not stat.S_ISREG(after.st_mode):
            return ""
        modes = tuple(f"{stat.S_IMODE(status.st_mode):04o}" for status in (before, after))
        if modes[0] != modes[1]:
            return f"mode {modes[0]} then {modes[1]}"
        return "" if filecmp.cmp(one, other, shallow=False) else "content differs"
    except FileNotFoundError:
        return "only in the second build's copy"
    except OSError:
        return ""
