"""Labels and annotations."""

from __future__ import annotations

import pytest

from imagekit.errors import ConfigError
from imagekit.image.recipe import Recipe
from imagekit.image.words import Origin, annotations_of, labels_of, source_date_epoch, timestamp, without_credentials

RECIPE = Recipe(id="app", build="app", labels={"org.opencontainers.image.title": "Mine"}, annotations={"x": "y"})


def test_what_is_known_is_written_and_nothing_else() -> None:
    assert annotations_of(RECIPE, "app-debug", Origin(version="1.0"), 0) == {
        "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
        "org.opencontainers.image.title": "app-debug",
        "org.opencontainers.image.version": "1.0",
        "x": "y",
    }


def test_the_recipe_wins() -> None:
    assert labels_of(RECIPE, "app", Origin(), 0)["org.opencontainers.image.title"] == "Mine"


def test_a_published_module_is_named() -> None:
    origin = Origin(module="example.org/mod", module_version="v1.2.3", module_sum="h1:abc=")
    found = labels_of(RECIPE, "app", origin, 0)
    assert found["imagekit.module"] == "example.org/mod"
    assert found["imagekit.module.version"] == "v1.2.3"
    assert found["imagekit.module.h1"] == "h1:abc="


@pytest.mark.parametrize(("epoch", "text"), [(0, "1970-01-01T00:00:00Z"), (1700000000, "2023-11-14T22:13:20Z")])
def test_times_are_utc(epoch: int, text: str) -> None:
    assert timestamp(epoch) == text


@pytest.mark.parametrize("epoch", [-1, 10**12])
def test_times_that_cannot_be_spelled(epoch: int) -> None:
    with pytest.raises(ConfigError, match="is not a time between 1970 and 9999"):
        timestamp(epoch)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("https://git.example/a", "https://git.example/a"),
        ("https://user:token@git.example:8443/a", "https://git.example:8443/a"),
        ("https://token@git.example/a", "https://git.example/a"),
        ("ssh://git@git.example/a", "ssh://git@git.example/a"),
        ("ssh://git:password@git.example/a", "ssh://git@git.example/a"),
        ("git@git.example:team/app.git", "git@git.example:team/app.git"),
        ("https://[bad", ""),
    ],
)
def test_credentials_do_not_reach_an_image(source: str, shown: str) -> None:
    assert without_credentials(source) == shown


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("", None), ("0", 0), ("1700000000", 1700000000)])
def test_source_date_epoch(text: str | None, seconds: int | None) -> None:
    assert source_date_epoch(text) == seconds


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", " 1", "²", "1" * 13])
def test_a_source_date_epoch_that_is_no_number(text: str) -> None:
    with pytest.raises(ConfigError, match="not a number of seconds"):
        source_date_epoch(text)
