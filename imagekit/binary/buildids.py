"""The names that linkers give to one build: Go's, GNU's, and Apple's."""

from __future__ import annotations

import re

from imagekit.binary.elf import Elf
from imagekit.binary.facts import Evidence
from imagekit.binary.macho import LC_UUID, MachO
from imagekit.binary.pe import Pe
from imagekit.binary.window import Window, readable

_NT_GNU_BUILD_ID, _NT_GO_BUILD_ID = 3, 4
_GO = re.compile(rb'\xff Go build ID: "([^"\n]{1,256})"\n \xff')
_GO_REACH = 1 << 15
"""Bytes at the start of a file in which Go looks for its own id (cmd/internal/buildid, readSize)."""

Ids = tuple[dict[str, str], Evidence | None]


def of_elf(program: Elf) -> Ids:
    """`go` and `gnu`, from their notes."""
    ids: dict[str, str] = {}
    said: Evidence | None = None
    for note in program.notes:
        if (note.owner, note.kind) == ("Go", _NT_GO_BUILD_ID):
            key, value = "go", readable(note.content)
        elif (note.owner, note.kind) == ("GNU", _NT_GNU_BUILD_ID):
            key, value = "gnu", note.content.hex()
        else:
            continue
        said = said or Evidence(f"note {note.owner}", program.view.base + note.offset, value)
        ids.setdefault(key, value)
    return dict(sorted(ids.items())), said


def of_macho(program: MachO) -> Ids:
    """`go`, which stands where the code begins, and `uuid`."""
    ids, said = _go(program.view)
    command = program.first(LC_UUID)
    if command is not None and command.size >= 24:
        ids["uuid"] = program.view.raw(command.offset + 8, 16, "LC_UUID").hex()
        said = said or Evidence("LC_UUID", program.view.base + command.offset, ids["uuid"])
    return ids, said


def of_pe(program: Pe) -> Ids:
    """`go`."""
    return _go(program.view)


def _go(view: Window) -> Ids:
    for at, raw in view.matches(_GO, 0, _GO_REACH):
        return {"go": readable(raw)}, Evidence("start of the code", view.base + at, readable(raw))
    return {}, None
