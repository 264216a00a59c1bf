"""Config with what is known of the source: targets, filled images, archive names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagekit.config import Config, archive_names, images_of, targets_of
from imagekit.errors import ConfigError
from imagekit.targets.templating import TemplateContext

Configured = Callable[[str], Config]
DIRTY = TemplateContext(
    version="1.4.0+dirty", commit="a" * 40, env={"STAGE": "test", "BAD": "a\nb", "TOKEN": "glpat-" + "x" * 20}
)
APP = """version: 1
template_env: [STAGE]
builds: [{main: ./cmd/app, platforms: [linux/amd64, linux/arm/v7, windows/amd64]}]
"""


def test_images_are_filled(configured: Configured) -> None:
    (image,) = images_of(
        configured(
            APP
            + """images:
  - id: app
    build: app
    repository: "registry.example/{{ id }}"
    tags: ["{{ version }}", "{{ env.STAGE }}", latest]
    entrypoint: ["/app", "{{ version }}"]
    env: {VERSION: "{{ version }}"}
    labels: {v: "{{ version }}"}
    annotations: {c: "{{ commit[:7] }}"}
    healthcheck: ["/app", "{{ env.STAGE }}"]
"""
        ),
        DIRTY,
    )
    assert image.repository == "registry.example/app"
    assert image.tags == ("1.4.0-dirty", "test", "latest")
    assert image.entrypoint == ("/app", "1.4.0+dirty")
    assert image.env == {"VERSION": "1.4.0+dirty"}
    assert image.labels == {"v": "1.4.0+dirty"}
    assert image.annotations == {"c": "aaaaaaa"}
    assert image.healthcheck == ("/app", "test")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('tags: ["{{ tag }}"]', "imagekit.yaml:4:37: the template cannot be filled: 'tag' has no value here"),
        ('tags: ["{{ os }}"]', "'os' has no value here"),
        ('tags: ["{{ commit }}{{ commit }}{{ commit }}{{ commit }}"]', "imagekit.yaml:4:37: "),
        ('labels: {a: "{{ env.BAD }}"}', "imagekit.yaml:4:42: has a control character"),
        ('labels: {a: "{{ env.TOKEN }}"}', "imagekit.yaml:4:42: the value looks like a GitLab token"),
        ('env: {a: "https://u:' + 'p@example.org"}', "the value looks like a URL with a password"),
        ('repository: "{{ env.NONE }}"', "env.NONE is not set, or not named in template_env"),
    ],
)
def test_what_cannot_be_filled_or_becomes_wrong_is_refused_with_its_line(
    configured: Configured, entry: str, message: str
) -> None:
    config = configured(APP + f"images: [{{id: a, build: app, {entry}}}]")
    with pytest.raises(ConfigError) as caught:
        images_of(config, DIRTY)
    assert message in caught.value.message
    assert "glpat-x" not in caught.value.message
    assert "p@example" not in caught.value.message


@pytest.mark.parametrize(
    ("platforms", "message"),
    [
        ("['*']", "imagekit.yaml:4:41: a windows image needs a base of the host's own build"),
        ("['*/amd64']", "a windows image needs a base"),
        ("['darwin']", "imagekit.yaml:4:41: image 'a' selects no target of 'app'"),
        ("['linux', '!linux']", "selects no target"),
    ],
)
def test_an_image_holds_targets_of_systems_that_have_images(
    configured: Configured, platforms: str, message: str
) -> None:
    config = configured(APP + f"images: [{{id: a, build: app, platforms: {platforms}}}]")
    with pytest.raises(ConfigError) as caught:
        targets_of(config, DIRTY)
    assert message in caught.value.message


def test_archives_are_named_by_target(configured: Configured) -> None:
    config = configured(APP + "archives: [{build: app}, {build: app, format: zip, name: 'x_{{ os }}_{{ arch }}'}]")
    names = archive_names(config, targets_of(config, DIRTY), DIRTY)
    assert names == {
        "app_1.4.0+dirty_linux_amd64.tar.gz": "app:linux/amd64",
        "app_1.4.0+dirty_linux_arm_v7.tar.gz": "app:linux/arm/v7",
        "app_1.4.0+dirty_windows_amd64.zip": "app:windows/amd64",
        "x_linux_amd64.zip": "app:linux/amd64",
        "x_linux_arm.zip": "app:linux/arm/v7",
        "x_windows_amd64.zip": "app:windows/amd64",
    }


def test_archives_of_one_name_are_refused(configured: Configured) -> None:
    config = configured(APP + "archives:\n  - {build: app, name: 'x_{{ os }}'}\n")
    with pytest.raises(ConfigError) as caught:
        archive_names(config, targets_of(config, DIRTY), DIRTY)
    assert (
        "imagekit.yaml:5:24: app:linux/arm/v7 and app:linux/amd64 would both be 'x_linux.tar.gz'"
        in caught.value.message
    )
