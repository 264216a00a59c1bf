"""Platform, as the OCI image index spells it, and the selectors that choose among targets."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Self

import msgspec

from imagekit.errors import ConfigError


class Platform(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """One `os/architecture[/variant]` (OCI image index, `platform` object)."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `linux/arm/v7`; raise `ConfigError` for anything else."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_is_segment(part) for part in parts):
            raise ConfigError(f"{text!r} is not a platform", hint="write os/architecture[/variant], e.g. linux/arm64")
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @property
    def slug(self) -> str:
        """The name of this platform in paths: `linux_arm_v7`."""
        return str(self).replace("/", "_")


def _is_segment(text: str) -> bool:
    return bool(text) and text.isascii() and all(c.isalnum() or c in "._-" for c in text)


class Selector(msgspec.Struct, frozen=True):
    """`[build:]os/arch[/variant]`, globs segment by segment; missing trailing segments match all."""

    text: str
    build: str
    segments: tuple[str, ...]
    negated: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `app:linux/*`, `linux`, `!windows/arm64`; raise `ConfigError` for an empty segment."""
        negated = text.startswith("!")
        build, colon, platform = text.removeprefix("!").rpartition(":")
        segments = tuple(platform.split("/"))
        if (colon and not build) or len(segments) > 3 or not all(segments):
            raise ConfigError(
                f"{text!r} is not a selector",
                hint="write [build:]os/arch[/variant] with globs, e.g. 'linux/*'",
            )
        return cls(text, build if colon else "*", segments, negated)

    def matches(self, build: str, platform: Platform) -> bool:
        """Whether the pattern (its `!` aside) covers this build and platform."""
        actual = (platform.os, platform.architecture, platform.variant)
        return fnmatchcase(build, self.build) and all(
            fnmatchcase(part, pattern) for part, pattern in zip(actual, self.segments, strict=False)
        )


def selected(selectors: tuple[Selector, ...], build: str, platform: Platform) -> bool:
    """Whether the list, read in order, ends with this cell in; one that starts with `!` starts from all."""
    inside = not selectors or selectors[0].negated
    for selector in selectors:
        if selector.matches(build, platform):
            inside = not selector.negated
    return inside
