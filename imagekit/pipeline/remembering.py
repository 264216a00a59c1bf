"""Answers that can be had again, kept in the cache directory so that a warm build need not ask. Touches disk."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from imagekit.content import canonical_json, parse_json, write_whole

T = TypeVar("T")


def recall(place: Path, kind: type[T]) -> T | None:
    """What was remembered there; None for nothing, and for what is no value of that type."""
    try:
        return parse_json(place.read_bytes(), kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def remember(place: Path, value: object) -> None:
    """Keep a value; it is not flushed, since what a crash loses is asked for again."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(place, canonical_json(value), durable=False)
