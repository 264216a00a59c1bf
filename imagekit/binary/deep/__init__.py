"""The deep look: what independent parsers (pyelftools, lief) say of the same file, in a process of their own.

Their code reads hostile bytes with less care than ours: it runs behind limits of time and memory, and what ends it is
a disagreement, never our end. `examine` touches disk and processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from imagekit.binary.facts import BinaryFacts


class CompileUnit(msgspec.Struct, frozen=True):
    """A unit of DWARF's .debug_info that is not Go's: its file, its compiler and its language."""

    name: str
    producer: str
    language: str


class Disagreement(msgspec.Struct, frozen=True):
    """A fact that another parser reads otherwise; the fact `file` is whether it can be read at all."""

    fact: str
    ours: str
    theirs: str
    parser: str


class Deep(msgspec.Struct, frozen=True, kw_only=True):
    """What the deep look adds to the facts of one program (one slice)."""

    compile_units: tuple[CompileUnit, ...] = ()
    """At most 1,024, in the order of .debug_info."""
    signature: str | None = None
    """What an Authenticode or code signature is worth by itself; None where there is none. No root is asked."""
    load_configuration: dict[str, str] = {}
    """What a PE's load configuration says of control flow guard, the stack cookie and SafeSEH; {} where it has none."""
    disagreements: tuple[Disagreement, ...] = ()


def examine(path: Path, facts: tuple[BinaryFacts, ...]) -> tuple[Deep, ...]:
    """One for each of the facts that `imagekit.binary.reader.read` gave of the file, in their order.

    What neither parser knows, and what our reader found damaged, gets an empty one. Raises `UnreadableError` if the
    path cannot be opened.
    """
    from imagekit.binary.deep.examining import examine as by_parsers

    return by_parsers(path, facts)
