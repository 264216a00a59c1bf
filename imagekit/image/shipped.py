"""Program and the platform that an index states for it: read from what was built, never from what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from imagekit.audit.needs import Need
from imagekit.content import Digest
from imagekit.errors import ConfigError
from imagekit.golang.arch import default_level
from imagekit.image.recipe import Recipe
from imagekit.platform import Platform, Selector, selected

IMAGE_SYSTEMS = ("linux", "freebsd")
"""Operating systems whose containers can start a program on an empty root file system."""

_ARM = {"5": "v5", "6": "v6", "7": "v7"}
_PLAIN_ARM64 = {"arm64": "v8"}
"""How OCI spells arm64's lowest level; like Go's own lowest levels it is left unsaid, as old clients look for none."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A built file that passed the gate, on its way into an image; `size` in bytes."""

    platform: Platform
    """What the file's bytes say (`BinaryFacts.platform`)."""
    level: str
    """The CPU level it was built for, in Go's spelling (`v1`, `v8.0`, `7`); '' if the architecture has none."""
    path: Path
    digest: Digest
    size: int
    name: str
    """Its name in the image: `/<name>`."""
    requested: Platform
    """The platform as the target spells it: it names the folder in dist/bin."""
    needs: tuple[Need, ...]
    """What `needs` read in its function table."""


def shipped_platform(platform: Platform, level: str) -> Platform:
    """The platform of an index entry: no variant for amd64 v1 and arm64 v8.0, always one for arm, else the level.

    Raises `ConfigError` for an arm program whose level is not known.
    """
    built = level or platform.variant
    if platform.architecture == "arm":
        return Platform(platform.os, "arm", _arm_variant(platform, built))
    plain = built in (default_level(platform.architecture), _PLAIN_ARM64.get(platform.architecture))
    return Platform(platform.os, platform.architecture, "" if plain else built)


def _arm_variant(platform: Platform, built: str) -> str:
    """`v7` for `7`, `v7` and `7,hardfloat` (image-spec 1.1, image-index.md, platform variants)."""
    variant = _ARM.get(built.partition(",")[0].removeprefix("v"))
    if variant is None:
        raise ConfigError(
            f"an index must state the variant of {platform}, and neither the file nor the target names one",
            hint="write the platform as linux/arm/v6 or linux/arm/v7",
        )
    return variant


def chosen(recipe: Recipe, platforms: Sequence[Platform]) -> tuple[Platform, ...]:
    """Which of the platforms at hand become part of the image, in their order.

    They may be a part of the matrix (`--target`, `--partial`), so a selector may match none of them. Raises
    `ConfigError` for a system that has no scratch images.
    """
    selectors = tuple(map(Selector.parse, recipe.platforms))
    found = tuple(platform for platform in platforms if selected(selectors, recipe.build, platform))
    for platform in found:
        require_image_system(recipe, platform)
    return found


def require_image_system(recipe: Recipe, platform: Platform) -> None:
    """Raise `ConfigError` for an operating system that cannot start a program from scratch."""
    if platform.os not in IMAGE_SYSTEMS:
        reason = "a Windows image needs Microsoft's base layers" if platform.os == "windows" else "it has no containers"
        raise ConfigError(
            f"images/{recipe.id}: no scratch image for {platform}: {reason}",
            hint=f"add '!{platform.os}' to its platforms; the program is still built and archived",
        )


def distinct(recipe: Recipe, programs: Sequence[Program]) -> tuple[tuple[Platform, Program], ...]:
    """Each program with the platform that the index states; raises `ConfigError` if two state the same."""
    taken: dict[Platform, Program] = {}
    for program in programs:
        require_image_system(recipe, program.platform)
        stated = shipped_platform(program.platform, program.level)
        if stated in taken:
            raise ConfigError(
                f"images/{recipe.id}: {taken[stated].requested} and {program.requested} are both {stated} in the index",
                hint="exclude one of them by `platforms`, or give the second build an image of its own",
            )
        taken[stated] = program
    if not taken:
        raise ConfigError(f"images/{recipe.id}: no program to put into it", hint="look at its build and platforms")
    return tuple(taken.items())
