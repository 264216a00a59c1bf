"""Spots: the first differing bytes of each part of two programs, with the bytes around them. Reads Windows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from imagekit.audit.comparing.difference import Spot
from imagekit.audit.comparing.parts import Part
from imagekit.binary.window import Window

_CHUNK = 1 << 16
_BEFORE, _AFTER = 96, 160
_HEXADECIMAL = 16


def first_difference(one: Window, at: int, other: Window, there: int, size: int) -> int | None:
    """The distance of the first byte that differs among `size` from `at` and `there` on; None if none does."""
    for start in range(0, size, _CHUNK):
        length = min(_CHUNK, size - start)
        left = one.raw(at + start, length, "part")
        right = other.raw(there + start, length, "part")
        if left != right:
            return start + _index(left, right)
    return None


def _index(left: bytes, right: bytes) -> int:
    """The index of the first byte that differs, found by halves; they do differ."""
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if left[low:middle] != right[low:middle] else (middle, high)
    return low


class Around:
    """The bytes around one place of a file, not beyond its part."""

    def __init__(self, view: Window, part: Part, at: int) -> None:
        start, end = max(part.offset, at - _BEFORE), min(part.offset + part.size, at + _AFTER)
        self.raw = view.raw(start, max(end - start, 0), "part")
        self.at = at - start
        self.offset = view.base + at

    def text(self) -> str:
        """The printable characters that hold the place; '' where it is not in text of at least four."""
        before = re.search(rb"[\x20-\x7e]*\Z", self.raw[: self.at])
        after = re.match(rb"[\x20-\x7e]*", self.raw[self.at :])
        found = (before[0] if before else b"") + (after[0] if after else b"")
        return found.decode() if len(found) >= 4 and after and after[0] else ""

    def shown(self) -> str:
        """The text, else sixteen bytes in hexadecimal."""
        return self.text() or self.raw[self.at : self.at + _HEXADECIMAL].hex(" ")


class Differing:
    """One part that differs: the spot, and the bytes around it where both sides have them."""

    def __init__(self, spot: Spot, part: Part, one: Around | None = None, other: Around | None = None) -> None:
        self.spot, self.part, self.one, self.other = spot, part, one, other


def differing(one: Window, parts: Mapping[str, Part], other: Window, others: Mapping[str, Part]) -> Iterator[Differing]:
    """Each part that differs, in the order of the first file; then those that only the second has."""
    for name, left in parts.items():
        right = others.get(name)
        if right is None:
            why = f"only the first has it: {left.size} bytes"
            yield Differing(Spot(where=name, one_offset=one.base + left.offset, other_offset=None, why=why), left)
        elif found := _compared(one, left, other, right):
            yield found
    for name in (name for name in others if name not in parts):
        right = others[name]
        why = f"only the second has it: {right.size} bytes"
        yield Differing(Spot(where=name, one_offset=None, other_offset=other.base + right.offset, why=why), right)


def _compared(one: Window, left: Part, other: Window, right: Part) -> Differing | None:
    shorter = min(left.size, right.size)
    at = first_difference(one, left.offset, other, right.offset, shorter)
    if at is None and left.size == right.size:
        return None
    here = shorter if at is None else at
    first, second = Around(one, left, left.offset + here), Around(other, right, right.offset + here)
    spot = Spot(
        where=left.name,
        one_offset=first.offset,
        other_offset=second.offset,
        one=first.shown(),
        other=second.shown(),
        why="" if left.size == right.size else f"{left.size} bytes against {right.size}",
    )
    return Differing(spot, left, first, second)
