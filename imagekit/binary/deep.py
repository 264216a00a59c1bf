"""The deep look: what independent parsers (pyelftools, lief) say of the same file."""

from __future__ import annotations

import msgspec


class CompileUnit(msgspec.Struct, frozen=True):
    """A unit of DWARF's .debug_info that is not Go's: its file, its compiler and its language."""

    name: str
    producer: str
    language: str


class Disagreement(msgspec.Struct, frozen=True):
    """A fact that another parser reads otherwise."""

    fact: str
    ours: str
    theirs: str
    parser: str


class Deep(msgspec.Struct, frozen=True, kw_only=True):
    """What the deep look adds to the facts of one program (one slice)."""

    compile_units: tuple[CompileUnit, ...] = ()
    signature: str | None = None
    """How lief judges an Authenticode or code signature; None where there is none."""
    disagreements: tuple[Disagreement, ...] = ()
