"""What Go left in a program: build info, function table, note; and whether cgo is proven by it."""

from __future__ import annotations

import msgspec

from imagekit.binary import buildinfo, functions
from imagekit.binary.elf import Elf
from imagekit.binary.facts import CgoUse, Evidence, GoBuild
from imagekit.binary.formats import Program

_NOTE_OWNER, _NOTE_BUILD_ID = "Go", 4
_SECTIONS = (*functions.SECTIONS, ".go.buildinfo", ".note.go.buildid", ".gosymtab", ".gopkginfo", ".typelink")
"""What cmd/link calls Go's sections, in every version and mode of it."""
_PACKAGE = b"runtime/cgo."
_WRAPPERS = (b"._Cfunc_", b"_cgoexp_")
"""What the cgo tool names the Go side of a call into C, and of one out of C."""


class GoCode(msgspec.Struct, frozen=True):
    """The three traces; offsets count from the start of the file."""

    build: GoBuild | None
    build_offset: int | None
    table: functions.FunctionTable | None
    note_offset: int | None

    @property
    def present(self) -> bool:
        return self.build is not None or self.table is not None or self.note_offset is not None

    def setting(self, name: str) -> str:
        """A build setting; '' where there is none."""
        return self.build.settings.get(name, "") if self.build else ""


def trace(program: Program) -> GoCode:
    """Look for all three; a program that is not Go has none."""
    view, layout = program.view, program.layout
    build = buildinfo.read(view, layout)
    note = program.note(_NOTE_OWNER, _NOTE_BUILD_ID) if isinstance(program, Elf) else None
    foreign = build is None and note is None and isinstance(program, Elf) and _names_no_go(program)
    return GoCode(
        build[0] if build else None,
        view.base + build[1] if build else None,
        None if foreign else functions.find(view, layout),
        view.base + note.offset if note else None,
    )


def _names_no_go(program: Elf) -> bool:
    """Whether the file has its section headers, and none of those that every Go linker writes.

    Then its bytes are not searched for a function table, which is a third of the time for a file that is not Go. One
    whose sections were renamed to hide Go is told from its headers, its cgo `unknown`: never less than it should be.
    """
    names = {section.name for section in program.sections}
    return ".text" in names and not names.intersection(_SECTIONS)


def cgo(code: GoCode) -> tuple[CgoUse, Evidence | None]:
    """`proven` by names in the function table, which survive stripping; `unknown` where there is no table.

    Build info's CGO_ENABLED proves nothing: with 1 a program need not use cgo, with 0 it can import C libraries.
    """
    table = code.table
    if table is None:
        return CgoUse.UNKNOWN, None
    package = table.where_starts(_PACKAGE)
    if package is not None:
        return CgoUse.PROVEN, Evidence("function table", package, "runtime/cgo is linked in")
    for marker in _WRAPPERS:
        found = table.where(marker)
        if found is not None:
            return CgoUse.PROVEN, Evidence("function table", found, f"a function named {marker.decode()}…")
    if code.setting("-buildmode") == "plugin":
        return CgoUse.UNKNOWN, None  # its runtime/cgo is in the program that loads it
    where = table.view.base + table.offset
    return CgoUse.ABSENT, Evidence("function table", where, "no function of runtime/cgo, no cgo wrapper")
