"""Request: what one `imagekit build` was asked to do, after the command line was read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagekit.audit.finding import Severity


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Paths are as given, relative to the working directory; None where nobody said anything."""

    cache: Path
    jobs: int
    packages: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    directory: Path = Path()
    """The folder in which there is no configuration, or ./imagekit.yaml, and which packages are relative to."""
    config: Path | None = None
    output: Path | None = None
    partial: Path | None = None
    policy: str | None = None
    fail_on: Severity = Severity.ERROR
    verify_modules: bool = False
    verify_reproducible: bool = False
    push: str = ""
    tags: tuple[str, ...] = ()
    load: bool = False
    engine: str = ""
    """The engine plug-in that takes part; '' for none."""
    tarball: Path | None = None
