"""Programs that unpack another program when they start: what is inside cannot be read from the outside."""

from __future__ import annotations

from imagekit.binary.facts import Evidence
from imagekit.binary.formats import Program
from imagekit.binary.pe import Pe

_UPX = b"UPX!"
_UPX_REACH = 1024
"""Bytes at the start and at the end of a file in which UPX leaves its mark."""
_SECTIONS = (
    ("UPX", "UPX"),
    (".aspack", "ASPack"),
    (".MPRESS", "MPRESS"),
    (".petite", "Petite"),
    ("PEC2", "PECompact"),
    (".themida", "Themida"),
    (".vmp", "VMProtect"),
)
"""Beginnings of the names that packers give to sections."""


def find(program: Program, is_go: bool) -> tuple[str, Evidence] | None:
    """The packer's name; UPX's mark at the end counts only where nothing shows Go, which may hold it as text."""
    view = program.view
    at = view.find(_UPX, 0, _UPX_REACH)
    if at < 0 and not is_go:
        at = view.find(_UPX, max(0, view.size - _UPX_REACH))
    if at >= 0:
        return "UPX", Evidence("file", view.base + at, "packed with UPX")
    return _by_section(program) if isinstance(program, Pe) else None


def _by_section(program: Pe) -> tuple[str, Evidence] | None:
    for section in program.sections:
        for beginning, name in _SECTIONS:
            if section.name.startswith(beginning):
                at = program.view.base + program.header
                return name, Evidence("section table", at, f"packed with {name}: section {section.name}")
    return None
