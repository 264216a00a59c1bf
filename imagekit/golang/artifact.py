"""Artifact: a file that a target became."""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagekit.content import Digest
from imagekit.targets.target import Target


class Artifact(msgspec.Struct, frozen=True):
    """A built file; `size` in bytes.

    `relinked` says why a kept output was not trusted, '' if it was or there was none.
    """

    target: Target
    path: Path
    digest: Digest
    size: int
    relinked: str = ""
