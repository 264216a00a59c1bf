"""Platform, as the OCI image index spells it, what runs on which, and the selectors that choose among targets."""

from __future__ import annotations

from collections.abc import Sequence
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


_LADDERS = (
    ("amd64", ("v1", "v2", "v3", "v4")),
    ("arm", ("v5", "v6", "v7", "v8")),
    ("arm64", tuple(f"v8.{minor}" for minor in range(10))),
    ("arm64", (*(f"v8.{minor}" for minor in range(6)), *(f"v9.{minor}" for minor in range(6)))),
)
"""CPU levels, the lowest first: a program for one runs on all behind it (x86-64 psABI; Arm: v9.0 has all of v8.5)."""
_UNSAID = {"amd64": "v1", "arm": "v7", "arm64": "v8.0"}
"""The level that a platform means which states none."""
_SHORT = {"v8": "v8.0", "v9": "v9.0"}


def closest(offered: Sequence[Platform], wanted: Platform) -> int | None:
    """The place in `offered` of what runs on `wanted` and is closest to its CPU level; None if nothing does.

    As engines have it, `linux/amd64/v1` is `linux/amd64`, `linux/arm64/v8` is `linux/arm64`, and `linux/arm` asks for
    v7. What states no variant runs on every one.
    """
    fits = [_fit(one, wanted) for one in offered]
    return fits.index(max(fits)) if any(fits) else None


def _fit(candidate: Platform, wanted: Platform) -> int:
    """0 for what does not run there, more the better it fits."""
    if (candidate.os, candidate.architecture) != (wanted.os, wanted.architecture):
        return 0
    have, want = _level(candidate), _level(wanted)
    if have == want:
        return 100
    for architecture, levels in _LADDERS:
        if architecture == wanted.architecture and have in levels and want in levels[levels.index(have) :]:
            return 2 + levels.index(have)
    return 0 if candidate.variant else 1


def _level(platform: Platform) -> str:
    said = platform.variant or _UNSAID.get(platform.architecture, "")
    return _SHORT.get(said, said) if platform.architecture == "arm64" else said


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
