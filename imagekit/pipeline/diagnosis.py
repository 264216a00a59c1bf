"""What a diagnosis is made of: the patient, and what was found."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import msgspec

from imagekit.config import Config
from imagekit.golang.settings import GoSettings
from imagekit.targets.target import Target


class State(StrEnum):
    """`missing` is what a build here cannot do without, `warning` what it can; `absent` is what it will fetch."""

    OK = "ok"
    ABSENT = "absent"
    MISSING = "missing"
    WARNING = "warning"
    SKIPPED = "skipped"


class Found(msgspec.Struct, frozen=True):
    """One thing that was looked for; `hint` is the way out where it lacks."""

    name: str
    state: State
    detail: str
    hint: str = ""


class Patient(msgspec.Struct, frozen=True):
    """What is looked at: a folder with or without a configuration, the cache, and Go's settings if Go answers."""

    config: Config | None
    targets: tuple[Target, ...]
    root: Path
    cache: Path
    offline: bool
    settings: GoSettings | None = None

    @property
    def compiled(self) -> tuple[Target, ...]:
        """The targets that Go compiles."""
        return tuple(target for target in self.targets if not target.prebuilt)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of local modules, relative to `root`."""
        return tuple(dict.fromkeys(target.directory for target in self.compiled if "@" not in target.main))


def first_line(text: str) -> str:
    """The first line of a message."""
    return text.strip().partition("\n")[0].rstrip(":")
