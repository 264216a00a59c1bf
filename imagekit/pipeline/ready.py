"""Ready: a target with the source it will be compiled from, fetched and checked."""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagekit.binary.facts import GoModule
from imagekit.golang.arguments import Main
from imagekit.golang.settings import GoSettings
from imagekit.targets.target import Target


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """One target, and where and how Go compiles it. One that is prebuilt, or came in a part, has no settings."""

    target: Target
    settings: GoSettings | None = None
    toolchain: str = ""
    """The release that compiles it (`go1.26.8`)."""
    package: str = ""
    """What `go build` is given: `./cmd/app`."""
    import_path: str = ""
    """The main package as Go's build info names it; '' where it is not known."""
    mode: str = ""
    """`vendor` or `readonly`."""
    buildvcs: bool = False
    module: GoModule | None = None
    """The main module; for a published one with version and `h1`."""
    published: bool = False
    time: int = 0
    """When a published version was made, in seconds since 1970; 0 where nobody says."""
    prebuilt: Path | None = None

    @property
    def main(self) -> Main:
        """The main package as `golang` takes it."""
        return Main(self.package, self.mode, self.buildvcs)

    @property
    def go(self) -> GoSettings:
        """The settings of a target that Go compiles."""
        if self.settings is None:
            raise ValueError(f"{self.target.id} is not compiled here")
        return self.settings
