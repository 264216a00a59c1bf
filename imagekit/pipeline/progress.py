"""What the main job tells while it runs: values that the command line draws."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Stage(StrEnum):
    """How far a target is."""

    COMPILING = "compiling"
    COMPILED = "compiled"
    JUDGED = "judged"


class Progress(msgspec.Struct, frozen=True):
    """A target came to a stage; `detail` is for people."""

    target: str
    stage: Stage
    detail: str = ""


class Said(msgspec.Struct, frozen=True):
    """A sentence that people should see, about no target in particular."""

    message: str


class Phase(msgspec.Struct, frozen=True):
    """The job as a whole began something that can take a while (`fetching modules`)."""

    name: str


Event = Progress | Said | Phase
