"""Two layers compared: the same tar under other compression, or entry by entry. Touches stores and a folder."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from imagekit.audit.comparing.binaries import compare_files
from imagekit.audit.comparing.difference import Change, LayerChange, Member
from imagekit.audit.comparing.entries import Entry, extract, read_entries
from imagekit.audit.comparing.told import changes
from imagekit.content import Digest
from imagekit.errors import IntegrityError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import Descriptor
from imagekit.oci.inflate import Inflated
from imagekit.unfinished import temporary_folder

_MOST_MEMBERS, _MOST_PROGRAMS = 100, 8
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}
_SYSTEMS = {0: "FAT", 3: "Unix", 11: "NTFS", 255: "not said"}
"""RFC 1952 2.3.1."""


class Held(msgspec.Struct, frozen=True):
    """A layer where it is, with the digest of its tar."""

    store: BlobReader
    layer: Descriptor
    diff_id: Digest


def compare_layers(one: Held, other: Held, platform: str, number: int) -> LayerChange:
    """What differs between two layers that are not the same blob.

    Raises `IntegrityError` where a layer is not what its image promises, `FormatError` for a damaged tar.
    """
    found = LayerChange(
        platform=platform,
        number=number,
        one=one.layer.digest,
        other=other.layer.digest,
        same_content=one.diff_id == other.diff_id,
        why="",
    )
    if found.same_content:
        for held in (one, other):
            with Inflated(held.store, held.layer) as source:
                _finish(source, held)
        return msgspec.structs.replace(found, why=f"the same content, {_compression(one, other)}")
    before, after = _entries(one), _entries(other)
    members = list(_members(before, after))
    why = _summary(members) if members else _otherwise(before, after)
    shown = tuple(members[:_MOST_MEMBERS])
    shown = _with_programs(shown, (one, before), (other, after))
    return msgspec.structs.replace(found, why=why, members=shown, more=len(members) - len(shown))


def _entries(held: Held) -> dict[str, Entry]:
    with Inflated(held.store, held.layer) as source:
        found = read_entries(source)
        _finish(source, held)
    return found


def _finish(source: Inflated, held: Held) -> None:
    if source.finish() != held.diff_id:
        raise IntegrityError(f"{source} does not unpack to {held.diff_id}, which the image's configuration promises")


# --- compression --------------------------------------------------------------------------------------------------


def _compression(one: Held, other: Held) -> str:
    """`other compression: gzip, 120 bytes against zstd, 110 bytes`, or which field of gzip's header differs."""
    first, second = _start(one), _start(other)
    names = tuple(_MAGIC.get(raw[:2], "none") for raw in (first, second))
    said = f"{names[0]}, {one.layer.size} bytes against {names[1]}, {other.layer.size} bytes"
    fields = tuple(_gzip_differs(first, second)) if names == ("gzip", "gzip") else ()
    same_kind = "compressed otherwise" if names[0] == names[1] else "other compression"
    return f"{same_kind}: {said}" + (f"; gzip header: {', '.join(fields)}" if fields else "")


def _start(held: Held) -> bytes:
    with held.store.open(held.layer.digest) as stream:
        return stream.read(10)


def _gzip_differs(one: bytes, other: bytes) -> Iterator[str]:
    """The fields of the ten bytes that differ (RFC 1952 2.3)."""
    if len(one) < 10 or len(other) < 10:
        return
    if one[4:8] != other[4:8]:
        yield f"time {_moment(one[4:8])} against {_moment(other[4:8])}"
    if one[3] != other[3]:
        yield f"flags {one[3]:#x} against {other[3]:#x}"
    if one[8] != other[8]:
        yield f"effort {one[8]} against {other[8]}"
    if one[9] != other[9]:
        yield f"system {_SYSTEMS.get(one[9], one[9])} against {_SYSTEMS.get(other[9], other[9])}"


def _moment(raw: bytes) -> str:
    seconds = int.from_bytes(raw, "little")
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else "none"


# --- entries ------------------------------------------------------------------------------------------------------


def _members(before: dict[str, Entry], after: dict[str, Entry]) -> Iterator[Member]:
    """The entries that differ, in the order of the first layer, then those that only the second has."""
    for path in dict.fromkeys((*before, *after)):
        one, other = before.get(path), after.get(path)
        if one is None or other is None:
            said = tuple(f"{e.fields['type']}, {e.size} bytes" if e else None for e in (one, other))
            yield Member(path=path, changes=(Change("entry", *said),))
        elif found := tuple(_changes(one, other)):
            yield Member(path=path, changes=found)


def _changes(one: Entry, other: Entry) -> Iterator[Change]:
    yield from (_readable(change) for change in changes(one.fields, other.fields))
    if one.size != other.size:
        yield Change("size", str(one.size), str(other.size))
    if one.digest != other.digest:
        yield Change("content", one.digest, other.digest)


def _readable(change: Change) -> Change:
    """A time as a date too."""
    if change.name != "mtime":
        return change
    return Change("mtime", *(_date(value) if value else value for value in (change.one, change.other)))


def _date(seconds: str) -> str:
    try:
        return f"{datetime.datetime.fromtimestamp(int(float(seconds)), datetime.UTC):%Y-%m-%dT%H:%M:%SZ} ({seconds})"
    except (ValueError, OverflowError, OSError):
        return seconds


def _summary(members: list[Member]) -> str:
    """`3 entries differ: mtime of 2, content of 1, 1 only in the second`."""
    counts = Counter(change.name for member in members for change in member.changes)
    only = Counter(change.one is None for member in members for change in member.changes if change.name == "entry")
    counts.pop("entry", None)
    said = [f"{name} of {count}" for name, count in counts.items()]
    said += [
        f"{only[second]} only in the {'second' if second else 'first'}" for second in (False, True) if only[second]
    ]
    return f"{len(members)} {'entry differs' if len(members) == 1 else 'entries differ'}: {', '.join(said)}"


def _otherwise(before: dict[str, Entry], after: dict[str, Entry]) -> str:
    """Why tars with the same entries are not the same bytes."""
    if list(before) != list(after):
        moved = next(path for path, there in zip(before, after, strict=True) if path != there)
        return f"the same entries in another order, from {moved} on"
    written = next((path for path in before if before[path].header != after[path].header), "")
    if written:
        return f"the same entries, their headers written by another program: the first is that of {written}"
    return "the same entries; what stands between or behind them differs"


# --- programs -----------------------------------------------------------------------------------------------------

_Side = tuple[Held, dict[str, Entry]]


def _with_programs(members: tuple[Member, ...], one: _Side, other: _Side) -> tuple[Member, ...]:
    """The same, with the first files whose content differs compared as programs."""
    paths = [member.path for member in members if member.changes[-1].name == "content"][:_MOST_PROGRAMS]
    if not paths:
        return members
    with temporary_folder("imagekit-diff-") as folder:
        places = [_extracted(side, paths, folder, name) for side, name in ((one, "one"), (other, "other"))]
        found = {path: _compared(path, places[0][path], places[1][path]) for path in paths}
    return tuple(
        msgspec.structs.replace(member, program=found[member.path].program) if member.path in found else member
        for member in members
    )


def _extracted(side: _Side, paths: list[str], folder: Path, name: str) -> dict[str, Path]:
    held, entries = side
    places = {path: folder / f"{name}-{number}" for number, path in enumerate(paths)}
    with Inflated(held.store, held.layer) as source:
        extract(source, {entries[path].position: place for path, place in places.items()})
    return places


def _compared(path: str, one: Path, other: Path) -> Member:
    return Member(path=path, changes=(), program=compare_files(one, other, (path, path)))
