"""Platforms of an index, and which platforms become part of an image."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagekit.errors import ConfigError
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import Program, chosen, distinct, shipped_platform
from imagekit.platform import Platform


@pytest.mark.parametrize(
    ("platform", "level", "stated"),
    [
        ("linux/amd64", "v1", "linux/amd64"),
        ("linux/amd64", "", "linux/amd64"),
        ("linux/amd64", "v3", "linux/amd64/v3"),
        ("linux/amd64/v3", "", "linux/amd64/v3"),
        ("linux/arm64", "v8.0", "linux/arm64"),
        ("linux/arm64/v8", "", "linux/arm64"),
        ("linux/arm64", "v8.2", "linux/arm64/v8.2"),
        ("linux/arm64", "v9.0", "linux/arm64/v9.0"),
        ("linux/arm", "5", "linux/arm/v5"),
        ("linux/arm", "6,hardfloat", "linux/arm/v6"),
        ("linux/arm/v7", "", "linux/arm/v7"),
        ("linux/386", "sse2", "linux/386"),
        ("linux/386", "softfloat", "linux/386/softfloat"),
        ("linux/riscv64", "rva20u64", "linux/riscv64"),
        ("linux/riscv64", "rva22u64", "linux/riscv64/rva22u64"),
        ("linux/ppc64le", "power8", "linux/ppc64le"),
        ("linux/s390x", "", "linux/s390x"),
        ("freebsd/amd64", "v1", "freebsd/amd64"),
    ],
)
def test_the_index_states_what_was_built(platform: str, level: str, stated: str) -> None:
    assert str(shipped_platform(Platform.parse(platform), level)) == stated


def test_arm_must_have_a_variant() -> None:
    with pytest.raises(ConfigError, match="must state the variant"):
        shipped_platform(Platform("linux", "arm"), "")


BUILT = tuple(map(Platform.parse, ("linux/amd64", "linux/arm64", "freebsd/amd64", "windows/amd64", "darwin/arm64")))


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        (("linux/*",), ["linux/amd64", "linux/arm64"]),
        (("linux/*", "freebsd"), ["linux/amd64", "linux/arm64", "freebsd/amd64"]),
        (("linux/*", "!linux/arm64"), ["linux/amd64"]),
        (("app:linux/arm64",), ["linux/arm64"]),
        (("linux/arm64", "linux/riscv64"), ["linux/arm64"]),
        (("!windows", "!darwin"), ["linux/amd64", "linux/arm64", "freebsd/amd64"]),
    ],
)
def test_platforms_of_an_image(selectors: tuple[str, ...], expected: list[str]) -> None:
    recipe = Recipe(id="app", build="app", platforms=selectors)
    assert [str(platform) for platform in chosen(recipe, BUILT)] == expected


@pytest.mark.parametrize(
    ("selectors", "says"),
    [
        (("windows/*",), "needs Microsoft's base layers"),
        (("*",), "needs Microsoft's base layers"),
        (("darwin",), "it has no containers"),
    ],
)
def test_platforms_that_cannot_be(selectors: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        chosen(Recipe(id="app", build="app", platforms=selectors), BUILT)
    assert caught.value.hint


def test_each_platform_once(program: Callable[..., Program]) -> None:
    twice = (program("linux/amd64"), program("linux/amd64/v1", level="v1"))
    with pytest.raises(ConfigError, match="linux/amd64 and linux/amd64/v1 are both linux/amd64 in the index"):
        distinct(Recipe(id="app", build="app"), twice)
    with pytest.raises(ConfigError, match="no program"):
        distinct(Recipe(id="app", build="app"), ())
