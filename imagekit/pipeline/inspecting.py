"""Inspect: facts of a built file, remembered by its digest. Touches disk."""

from __future__ import annotations

from pathlib import Path

import msgspec

import imagekit
from imagekit.audit.needs import Need, needs
from imagekit.binary.facts import BinaryFacts, CgoUse, Linkage
from imagekit.binary.functions import read_functions
from imagekit.binary.reader import read
from imagekit.content import hex_of
from imagekit.errors import FormatError
from imagekit.golang.artifact import Artifact
from imagekit.pipeline.remembering import recall, remember

FORMAT = 3
"""Raised when the readers learn something new about the same bytes."""


class Inspected(msgspec.Struct, frozen=True):
    """An artifact with what its bytes say; `slices` has one entry but for a fat Mach-O."""

    artifact: Artifact
    slices: tuple[BinaryFacts, ...]
    needs: tuple[Need, ...]

    @property
    def facts(self) -> BinaryFacts:
        """The facts of the only slice, or of the first."""
        return self.slices[0]


class _Remembered(msgspec.Struct, frozen=True):
    slices: tuple[BinaryFacts, ...]
    needs: tuple[Need, ...]


def linked_packages(path: Path) -> tuple[str, ...] | None:
    """Import paths of what was linked in, sorted; None where no function table can be read."""
    try:
        table = read_functions(path)
        return tuple(sorted(table.packages())) if table is not None else None
    except FormatError:
        return None


def inspect(artifact: Artifact, cache: Path) -> Inspected:
    """What the file says; read once for each digest and version of the readers.

    Only a file that was hashed just now is looked up, so the memory cannot speak for other bytes.
    """
    place = cache / "facts" / f"{imagekit.__version__}-{FORMAT}-{hex_of(artifact.digest)}"
    known = recall(place, _Remembered)
    if known is None:
        slices = read(artifact.path)
        linked = read_functions(artifact.path) if slices[0].linkage is not Linkage.BROKEN else None
        known = _Remembered(slices, needs(linked, cgo=slices[0].cgo is CgoUse.PROVEN))
        remember(place, known)
    return Inspected(artifact, known.slices, known.needs)
