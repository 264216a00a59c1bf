"""Targets as rows, JSON and CI matrices, and how they are chosen."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from imagekit.content import canonical_json
from imagekit.errors import UsageError
from imagekit.targets import listing
from imagekit.targets.target import Target

TEXT = """builds:
  - id: app
    main: ./cmd/app
    platforms: [linux/amd64, linux/arm/v6, windows/amd64]
    tags: [netgo]
    flags: [-buildmode=exe]
    gcflags: [-N]
    ldflags: {set: {main.version: "{{ version }}"}, flags: [-buildid=]}
    env: {GODEBUG: a=1}
    unsafe: {flags: [-x], env: {A: b}}
"""


@pytest.fixture
def targets(expanded: Callable[[str], tuple[Target, ...]]) -> tuple[Target, ...]:
    return expanded(TEXT)


def test_each_setting_is_a_row_with_its_origin(targets: tuple[Target, ...]) -> None:
    assert [(row.setting, row.value, row.origin) for row in listing.explain(targets[0])] == [
        ("platform", "linux/amd64", "imagekit.yaml:4"),
        ("level", "v1", "default"),
        ("main", "./cmd/app", "imagekit.yaml:3"),
        ("dir", ".", "default"),
        ("tags", "netgo", "imagekit.yaml:5"),
        ("flags", "-buildmode=exe", "imagekit.yaml:6"),
        ("gcflags", "-N", "imagekit.yaml:7"),
        ("ldflags.strip", "false", "default"),
        ("ldflags.set.main.version", "1.2.3", "imagekit.yaml:8"),
        ("ldflags.flags", "-buildid=", "imagekit.yaml:8"),
        ("env.GODEBUG", "a=1", "imagekit.yaml:9"),
        ("cgo", "off", "default"),
        ("unsafe.flags", "-x", "imagekit.yaml:10"),
        ("unsafe.env.A", "b", "imagekit.yaml:10"),
    ]


def test_a_prebuilt_file_has_no_build_settings(expanded: Callable[[str], tuple[Target, ...]]) -> None:
    (target,) = expanded("builds: [{id: app, prebuilt: out/app, platforms: [linux/amd64]}]")
    assert [row.setting for row in listing.explain(target)] == ["platform", "level", "prebuilt"]


def test_the_matrix_as_json_says_all_that_decides_the_bytes(targets: tuple[Target, ...]) -> None:
    first = msgspec.json.decode(canonical_json(listing.matrix(targets)))[0]
    assert first == {
        "id": "app:linux/amd64",
        "build": "app",
        "platform": "linux/amd64",
        "level": "v1",
        "main": "./cmd/app",
        "prebuilt": "",
        "dir": ".",
        "tags": ["netgo"],
        "flags": ["-buildmode=exe"],
        "gcflags": ["-N"],
        "ldflags": {"strip": False, "set": {"main.version": "1.2.3"}, "flags": ["-buildid="]},
        "env": {"GODEBUG": "a=1"},
        "cgo": "off",
        "unsafe": {"flags": ["-x"], "env": {"A": "b"}},
    }


def test_github_gets_one_job_a_target(targets: tuple[Target, ...]) -> None:
    assert listing.github(targets)["include"][1] == {
        "target": "app:linux/arm/v6",
        "name": "app_linux_arm_v6",
        "build": "app",
        "os": "linux",
        "arch": "arm",
        "variant": "v6",
    }


def test_gitlab_gets_one_job_a_target(targets: tuple[Target, ...]) -> None:
    assert listing.gitlab(targets) == {
        "parallel": {
            "matrix": [
                {"IMAGEKIT_TARGET": "app:linux/amd64", "IMAGEKIT_NAME": "app_linux_amd64"},
                {"IMAGEKIT_TARGET": "app:linux/arm/v6", "IMAGEKIT_NAME": "app_linux_arm_v6"},
                {"IMAGEKIT_TARGET": "app:windows/amd64", "IMAGEKIT_NAME": "app_windows_amd64"},
            ]
        }
    }


@pytest.mark.parametrize(("form", "most"), [(listing.github, 256), (listing.gitlab, 200)])
def test_more_jobs_than_a_system_takes_are_refused(
    targets: tuple[Target, ...], form: Callable[..., object], most: int
) -> None:
    form(targets[:1] * most)
    with pytest.raises(UsageError, match=f"{most + 1} targets are more jobs"):
        form(targets[:1] * (most + 1))


@pytest.mark.parametrize(
    ("selectors", "slugs"),
    [
        ([], ["linux_amd64", "linux_arm_v6", "windows_amd64"]),
        (["linux/*"], ["linux_amd64", "linux_arm_v6"]),
        (["windows", "linux/arm"], ["linux_arm_v6", "windows_amd64"]),
        (["!linux"], ["windows_amd64"]),
        (["linux", "!*/arm"], ["linux_amd64"]),
        (["app:*/amd64"], ["linux_amd64", "windows_amd64"]),
    ],
)
def test_targets_are_chosen_in_the_order_of_the_matrix(
    targets: tuple[Target, ...], selectors: list[str], slugs: list[str]
) -> None:
    assert [target.slug for target in listing.chosen(targets, selectors)] == slugs


@pytest.mark.parametrize(
    ("selectors", "told"),
    [
        (["linux/amd46"], "--target linux/amd46: matches no target"),
        (["linux", "darwin"], "--target darwin: matches no target"),
        (["!linux", "!windows"], "--target leaves nothing to build"),
        (["a//b"], "is not a selector"),
    ],
)
def test_a_selector_that_chooses_nothing_is_a_usage_error(
    targets: tuple[Target, ...], selectors: list[str], told: str
) -> None:
    with pytest.raises(UsageError) as caught:
        listing.chosen(targets, selectors)
    assert told in caught.value.message


def test_one_target_is_found_by_id_or_by_what_selects_only_it(targets: tuple[Target, ...]) -> None:
    assert listing.find(targets, "app:linux/arm/v6") is targets[1]
    assert listing.find(targets, "linux/amd64") is targets[0]
    assert listing.find(targets, "windows") is targets[2]
    with pytest.raises(UsageError, match="'linux' means 2 targets: app:linux/amd64, app:linux/arm/v6"):
        listing.find(targets, "linux")
    with pytest.raises(UsageError, match="matches no target"):
        listing.find(targets, "plan9")
