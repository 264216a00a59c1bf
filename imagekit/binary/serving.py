"""What an HTTP or gRPC server inside a Go program may answer to besides its own business."""

from __future__ import annotations

import re

from imagekit.binary.facts import Evidence
from imagekit.binary.formats import Program
from imagekit.binary.gonames import Found

_HEALTH = re.compile(rb"/(?:health|ready|live)z|/-/healthy")
"""Paths that hardly mean anything else."""
_STRINGS = (".rodata", ".data.rel.ro", "__rodata", ".rdata")
"""Sections that hold Go's string constants."""


def endpoints(program: Program, marks: dict[str, Found]) -> Found:
    """`pprof`, `expvar`, `health`: by packages that register them, and health by its path where a server is inside."""
    found = dict(marks.get("endpoints", {}))
    if "health" not in found and "serves" in marks and (path := _health_path(program)):
        found["health"] = path
    return found


def _health_path(program: Program) -> Evidence | None:
    section = program.layout.section(*_STRINGS)
    spans = [(section.offset, section.offset + section.size)] if section else []
    for start, end in spans or program.layout.spans(lambda segment: not segment.executable and not segment.writable):
        for at, raw in program.view.matches(_HEALTH, start, end):
            return Evidence(
                f"section {section.name}" if section else "loaded bytes", program.view.base + at, raw.decode()
            )
    return None
