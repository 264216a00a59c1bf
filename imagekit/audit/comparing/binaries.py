"""Two program files compared: every fact, every module, every setting, and the bytes, part by part. Touches disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from imagekit.audit.comparing import told
from imagekit.audit.comparing.difference import Change, Difference, Side, SizeChange, Spot
from imagekit.audit.comparing.meaning import meaning
from imagekit.audit.comparing.parts import Part, parts
from imagekit.audit.comparing.reasons import reasons
from imagekit.audit.comparing.spots import Around, Differing, differing, first_difference
from imagekit.binary.facts import BinaryFacts
from imagekit.binary.formats import Program
from imagekit.binary.reader import read
from imagekit.binary.sizes import by_package, named_programs
from imagekit.binary.window import Window, open_window
from imagekit.content import hash_file
from imagekit.errors import FormatError

_MOST_SPOTS = 64
Slices = dict[str, BinaryFacts]


def compare_files(one: Path, other: Path, labels: tuple[str, str] | None = None) -> Difference:
    """What differs between two files; `labels` are what they are called. Raises `UnreadableError`."""
    names = labels or (str(one), str(other))
    sides = tuple(_side(path, name) for path, name in zip((one, other), names, strict=True))
    if sides[0].digest == sides[1].digest:
        return Difference(equal=True, one=sides[0], other=sides[1])
    before, after = _slices(one), _slices(other)
    found = Difference(
        equal=False,
        one=sides[0],
        other=sides[1],
        facts=_slice_changes(before, after) + _across(before, after, _facts),
        modules=_across(before, after, _modules),
        settings=_across(before, after, _settings),
        sizes=tuple(chain.from_iterable(_sizes(one, other, name) for name in _common(before, after))),
    )
    found = msgspec.structs.replace(found, bytes=_bytes(one, other, (*found.settings, *found.modules)))
    return msgspec.structs.replace(found, because=reasons(found))


def _side(path: Path, name: str) -> Side:
    digest, size = hash_file(path)
    return Side(path=name, kind="file", digest=digest, size=size)


def _slices(path: Path) -> Slices:
    return {facts.slice: facts for facts in read(path)}


def _common(before: Slices, after: Slices) -> tuple[str, ...]:
    return tuple(name for name in before if name in after)


def _facts(one: BinaryFacts, other: BinaryFacts) -> tuple[Change, ...]:
    return told.changes(told.facts(one), told.facts(other))


def _modules(one: BinaryFacts, other: BinaryFacts) -> tuple[Change, ...]:
    return told.modules(one.go, other.go)


def _settings(one: BinaryFacts, other: BinaryFacts) -> tuple[Change, ...]:
    return told.changes(told.settings(one.go), told.settings(other.go))


def _slice_changes(before: Slices, after: Slices) -> tuple[Change, ...]:
    """Which slices there are; a file that is not fat has one without a name."""
    words = tuple(", ".join(each) for each in (before, after))
    return (Change("slices", words[0] or None, words[1] or None),) if words[0] != words[1] else ()


def _across(
    before: Slices, after: Slices, compare: Callable[[BinaryFacts, BinaryFacts], tuple[Change, ...]]
) -> tuple[Change, ...]:
    """What differs in each slice that both have, its name before it (`arm64/linkage`)."""
    return tuple(
        Change(f"{name}/{each.name}" if name else each.name, each.one, each.other)
        for name in _common(before, after)
        for each in compare(before[name], after[name])
    )


def _sizes(one: Path, other: Path, name: str) -> tuple[SizeChange, ...]:
    return told.sizes(by_package(one, name), by_package(other, name))


def _bytes(one: Path, other: Path, said: Sequence[Change]) -> tuple[Spot, ...]:
    """One spot a part that differs, slice by slice; of files in no known format the first differing bytes."""
    first, second = open_window(one), open_window(other)
    try:
        left, right = _programs(first), _programs(second)
        common = [name for name in left if name in right and type(left[name]) is type(right[name])]
        if not common:
            return tuple(_raw(first, second))
        return tuple(chain.from_iterable(_spots(left[name], right[name], name, said) for name in common))
    finally:
        for view in (first, second):
            if not isinstance(view.buffer, bytes):
                view.buffer.close()


def _programs(view: Window) -> dict[str, Program]:
    """The programs whose headers can be read; a damaged file has none."""
    try:
        return dict(named_programs(view))
    except FormatError:
        return {}


def _spots(one: Program, other: Program, name: str, said: Sequence[Change]) -> Iterator[Spot]:
    pairs = ({part.name: part for part in parts(program)} for program in (one, other))
    every = sorted(differing(one.view, next(pairs), other.view, next(pairs)), key=_place)
    for found in every[:_MOST_SPOTS]:
        spot, why = found.spot, meaning(found, one, other, said)
        where = f"{name}/{spot.where}" if name else spot.where
        yield msgspec.structs.replace(spot, where=where, why="; ".join(filter(None, (why, spot.why))))


def _place(found: Differing) -> int:
    spot = found.spot
    return spot.one_offset if spot.one_offset is not None else spot.other_offset or 0


def _raw(first: Window, second: Window) -> Iterator[Spot]:
    shorter = min(first.size, second.size)
    at = first_difference(first, 0, second, 0, shorter)
    at = shorter if at is None else at
    left, right = (Around(view, Part("file", 0, view.size), at) for view in (first, second))
    why = "" if first.size == second.size else f"{first.size} bytes against {second.size}"
    yield Spot(where="file", one_offset=at, other_offset=at, one=left.shown(), other=right.shown(), why=why)
