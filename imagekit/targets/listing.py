"""Targets for people and for CI: the matrix as JSON, CI job matrices, and one target's settings with their origins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from imagekit.errors import UsageError
from imagekit.loading import nearest
from imagekit.platform import Selector, selected
from imagekit.targets.target import Target

MOST_GITHUB_JOBS = 256
"""Jobs that one GitHub matrix may make."""
MOST_GITLAB_JOBS = 200
"""Jobs that one GitLab `parallel: matrix` may make."""


class Row(msgspec.Struct, frozen=True):
    """One setting of a target; `origin` is `imagekit.yaml:9`, or `default`."""

    setting: str
    value: str
    origin: str


def explain(target: Target) -> tuple[Row, ...]:
    """Every setting that decides the target's bytes, in the order of imagekit.yaml's keys."""
    return tuple(Row(setting, value, target.origin(origin)) for setting, value, origin in _settings(target))


def _settings(target: Target) -> Iterator[tuple[str, str, str]]:
    """Name, value, and the name under which the origin was noted."""
    yield "platform", str(target.platform), "platforms"
    yield "level", target.level or "none", "level"
    if target.prebuilt:
        yield "prebuilt", target.prebuilt, "prebuilt"
        return
    yield "main", target.main, "main"
    yield "dir", target.directory, "dir"
    yield from (("tags", tag, f"tags/{tag}") for tag in target.tags)
    yield from (("flags", flag, f"flags/{flag}") for flag in target.flags)
    yield from (("gcflags", flag, f"gcflags/{flag}") for flag in target.gcflags)
    yield "ldflags.strip", str(target.ldflags.strip).lower(), "ldflags/strip"
    yield from ((f"ldflags.set.{one.name}", one.value, f"ldflags/set/{one.name}") for one in target.ldflags.values)
    yield from (("ldflags.flags", flag, f"ldflags/flags/{flag}") for flag in target.ldflags.flags)
    yield from ((f"env.{name}", value, f"env/{name}") for name, value in target.env)
    yield "cgo", target.cgo.value, "cgo"
    yield from (("unsafe.flags", flag, f"unsafe/flags/{flag}") for flag in target.unsafe.flags)
    yield from ((f"unsafe.env.{name}", value, f"unsafe/env/{name}") for name, value in target.unsafe.env)


def matrix(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """All targets as plain values, for JSON; origins are left to `explain`."""
    return [_plain(target) for target in targets]


def _plain(target: Target) -> dict[str, Any]:
    return {
        "id": target.id,
        "build": target.build,
        "platform": str(target.platform),
        "level": target.level,
        "main": target.main,
        "prebuilt": target.prebuilt,
        "dir": target.directory,
        "tags": list(target.tags),
        "flags": list(target.flags),
        "gcflags": list(target.gcflags),
        "ldflags": {
            "strip": target.ldflags.strip,
            "set": {one.name: one.value for one in target.ldflags.values},
            "flags": list(target.ldflags.flags),
        },
        "env": dict(target.env),
        "cgo": target.cgo.value,
        "unsafe": {"flags": list(target.unsafe.flags), "env": dict(target.unsafe.env)},
    }


def github(targets: Sequence[Target]) -> dict[str, Any]:
    """The value of a GitHub Actions `strategy.matrix`: one job a target.

    A job builds `imagekit build --target "${{ matrix.target }}" --partial "partial/${{ matrix.name }}"`.
    Raises `UsageError` over 256 jobs, which GitHub refuses.
    """
    _require_jobs(targets, MOST_GITHUB_JOBS, "GitHub")
    return {"include": [_job(target) for target in targets]}


def _job(target: Target) -> dict[str, str]:
    platform = target.platform
    return {
        "target": target.id,
        "name": f"{target.build}_{target.slug}",
        "build": target.build,
        "os": platform.os,
        "arch": platform.architecture,
        "variant": platform.variant,
    }


def gitlab(targets: Sequence[Target]) -> dict[str, Any]:
    """What stands under a GitLab job: `parallel: matrix:` with IMAGEKIT_TARGET and IMAGEKIT_NAME, one entry a target.

    JSON is YAML, so the output can be included in a generated pipeline as it is. Raises `UsageError` over 200 jobs.
    """
    _require_jobs(targets, MOST_GITLAB_JOBS, "GitLab")
    entries = [{"IMAGEKIT_TARGET": job["target"], "IMAGEKIT_NAME": job["name"]} for job in map(_job, targets)]
    return {"parallel": {"matrix": entries}}


def _require_jobs(targets: Sequence[Target], most: int, system: str) -> None:
    if len(targets) > most:
        raise UsageError(
            f"{len(targets)} targets are more jobs than a {system} matrix may have ({most})",
            hint="choose fewer with --target",
        )


def chosen(targets: Sequence[Target], selectors: Sequence[str]) -> tuple[Target, ...]:
    """The targets that `--target` selects, in the order of the matrix.

    Raises `UsageError` if a selector matches nothing or nothing is left; `ConfigError` if one cannot be read.
    """
    parsed = tuple(Selector.parse(text) for text in selectors)
    for selector in parsed:
        if not any(selector.matches(target.build, target.platform) for target in targets):
            raise UsageError(f"--target {selector.text}: matches no target", hint=_known(selector.text, targets))
    left = tuple(target for target in targets if selected(parsed, target.build, target.platform))
    if targets and not left:
        raise UsageError("--target leaves nothing to build", hint="exclude less")
    return left


def find(targets: Sequence[Target], name: str) -> Target:
    """The one target that `name` (an id, or a selector that matches one) means; raise `UsageError` otherwise."""
    exact = [target for target in targets if name in (target.id, str(target.platform))]
    found = exact if len(exact) == 1 else chosen(targets, (name,))
    if len(found) > 1:
        several = ", ".join(target.id for target in found[:5])
        raise UsageError(f"{name!r} means {len(found)} targets: {several}", hint="write the id of one of them")
    return found[0]


def _known(text: str, targets: Sequence[Target]) -> str:
    return nearest(text, [target.id for target in targets[:20]])
