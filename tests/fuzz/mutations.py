"""What hostile hands do to a file: cut it anywhere, and put 0, the most, and itself into every field."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

SEED = 20260329


def cuts(size: int, dense: int, places: int) -> list[int]:
    """Where a file is cut, the longest first: at every byte of the first `dense`, at seeded `places` behind them."""
    seeded = random.Random(SEED)
    behind = {seeded.randrange(dense, size) for _ in range(places)} if size > dense else set()
    return sorted({*range(min(dense, size)), *behind}, reverse=True)


def values(width: int, at: int) -> tuple[bytes, ...]:
    """0, the most, and the field's own place in both byte orders."""
    place = at & ((1 << 8 * width) - 1)
    return bytes(width), b"\xff" * width, place.to_bytes(width, "little"), place.to_bytes(width, "big")


def fields(content: bytes, places: Iterable[int], widths: tuple[int, ...] = (4, 8)) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the file with one field changed, for every place that is a multiple of the field's width."""
    for at in places:
        for width in widths:
            if at % width or at + width > len(content):
                continue
            for value in dict.fromkeys(values(width, at)):
                if content[at : at + width] != value:
                    yield f"{value.hex()} at {at:#x}", content[:at] + value + content[at + width :]


def flips(content: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the file with one to eight bytes changed, moved or doubled, as a seed says."""
    seeded = random.Random(SEED)
    for number in range(count):
        changed = bytearray(content)
        for _ in range(seeded.randrange(1, 9)):
            at = seeded.randrange(len(changed)) if changed else 0
            piece = content[seeded.randrange(len(content)) :][: seeded.randrange(1, 17)] if content else b""
            match seeded.randrange(4):
                case 0 if changed:
                    changed[at] ^= 1 << seeded.randrange(8)
                case 1:
                    changed[at : at + len(piece)] = piece
                case 2:
                    changed[at:at] = piece
                case _:
                    del changed[at : at + len(piece)]
        yield f"flip {number}", bytes(changed)
