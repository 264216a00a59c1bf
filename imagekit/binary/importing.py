"""What Mach-O and PE programs import, library by library. Damage ends a list early; it is never an error here."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import islice

from imagekit.binary.facts import Evidence
from imagekit.errors import FormatError

NAME_LIMIT = 1 << 12
"""Names that are kept in all."""
_LOOK_LIMIT, _LENGTH_LIMIT = 1 << 14, 1 << 22
"""Names that are looked at, and their characters in all: a table may repeat itself, and most of a long name is work."""
Imports = dict[str, tuple[str, ...]]


def by_library(libraries: Iterable[str], names: Iterable[tuple[str, str]]) -> Imports:
    """Library -> its names, sorted; first those that are `libraries`, even if nothing is wanted from them."""
    found: dict[str, set[str]] = {library: set() for library in libraries}
    left, room = NAME_LIMIT, _LENGTH_LIMIT
    with suppress(FormatError):
        for library, name in islice(names, _LOOK_LIMIT):
            wanted = found.setdefault(library, set())
            left, room = left - (name not in wanted), room - len(name)
            if left < 0 or room < 0:
                break
            wanted.add(name)
    return {library: tuple(sorted(wanted)) for library, wanted in found.items()}


def evidence(where: str, offset: int, imports: Imports, remark: str = "") -> Evidence:
    """How many names stand where; what they are stands in the trait."""
    count = sum(map(len, imports.values()))
    return Evidence(where, offset, f"{count} names of {len(imports)} libraries{remark}")
