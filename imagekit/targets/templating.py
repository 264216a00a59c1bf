"""Templates in scalars: `{{ version }}` and the like, filled by a small, bounded piece of jinja2 (`sandbox`)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import msgspec

from imagekit.errors import ConfigError
from imagekit.loading.credentials import credential_in
from imagekit.targets.target import Target

if TYPE_CHECKING:
    from imagekit.source.git import GitState

LONGEST_TEMPLATE = 8 << 10
LONGEST_VALUE = 8 << 10
"""Characters of one value that a template sees."""
UNVERSIONED = "0.0.0-unversioned"
"""The version where there is no repository to tell one."""

_MARKS = re.compile(r"\{[{%#]")
_VERSION_TAG = re.compile(r"(?:\S*/)?v?([0-9]+\.[^/\s]*)")


class TemplateContext(msgspec.Struct, frozen=True, kw_only=True):
    """What every template of a run sees; an empty text is a name without a value, and using it is an error."""

    version: str = UNVERSIONED
    commit: str = ""
    short_commit: str = ""
    tag: str = ""
    branch: str = ""
    dirty: bool = False
    commit_time: str = ""
    """RFC 3339, UTC, in seconds."""
    env: dict[str, str] = {}


class Cell(msgspec.Struct, frozen=True):
    """What a template sees of the one thing it is filled for: `id` is that of the build, image or archive."""

    id: str = ""
    os: str = ""
    arch: str = ""
    variant: str = ""
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: Target) -> Self:
        """The cell of a target."""
        platform = target.platform
        return cls(target.build, platform.os, platform.architecture, platform.variant, target.tags)

    def values(self) -> dict[str, Any]:
        """The names that have a value: what stands for several platforms has an id only."""
        names = ("id", "os", "arch", "variant", "tags") if self.os else ("id",)
        return {name: getattr(self, name) for name in names}


def context_of(git: GitState | None, allowed: Iterable[str], environment: Mapping[str, str]) -> TemplateContext:
    """The context of a run: the repository's state, and those of the `allowed` variables that are set.

    Raises `ConfigError` for a variable that holds a credential: provenance has them all.
    """
    seen = {name: environment[name] for name in allowed if name in environment}
    for name, value in seen.items():
        if kind := credential_in(value):
            raise ConfigError(
                f"{name} of template_env looks like {kind}, which would be readable in the provenance",
                hint=f"take {name} out of template_env",
            )
    if git is None or not git.commit:
        return TemplateContext(env=seen)
    return TemplateContext(
        version=version_of(git),
        commit=git.commit,
        short_commit=git.short,
        tag=git.tag or "",
        branch=git.branch or "",
        dirty=git.dirty,
        commit_time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(git.commit_time)),
        env=seen,
    )


def version_of(git: GitState) -> str:
    """The tag on the commit without `v` and folder, else `0.0.0-<commit time>-<short commit>`; `+dirty` behind it.

    The second form sorts by time below every release, as Go's pseudo-versions do. Time: UTC, yyyymmddhhmmss.
    """
    tag = git.tag or ""
    spelled = _VERSION_TAG.fullmatch(tag)
    version = spelled[1] if spelled else tag.rpartition("/")[2]
    if not version:
        version = f"0.0.0-{time.strftime('%Y%m%d%H%M%S', time.gmtime(git.commit_time))}-{git.short}"
    if not git.dirty:
        return version
    return version + (".dirty" if "+" in version else "+dirty")


def fill(text: str, context: TemplateContext, cell: Cell | None = None) -> str:
    """`text` with its templates filled.

    Raises `ConfigError` for a statement, an expression that is not allowed, a name without a value, a template over
    8 KiB, a result over 64 KiB or a result that looks like a credential.
    """
    if _MARKS.search(text):
        text = _filled(text, context, cell)
    if kind := credential_in(text):
        raise ConfigError(
            f"the value looks like {kind}, which would be readable in what is shipped",
            hint="remove it, and revoke it if it was ever published",
        )
    return text


def filler(context: TemplateContext, cell: Cell | None = None) -> Callable[[str], str]:
    """`fill` for one context and cell."""
    return lambda text: fill(text, context, cell)


def _filled(text: str, context: TemplateContext, cell: Cell | None) -> str:
    if len(text) > LONGEST_TEMPLATE:
        raise ConfigError(f"the template is longer than {LONGEST_TEMPLATE >> 10} KiB", hint="shorten it")
    if "{%" in text or "{#" in text:
        raise ConfigError("statements and comments ({% and {#) have no place in a template", hint="use {{ … }} only")
    from imagekit.targets.sandbox import Variables, rendered

    values: dict[str, Any] = {
        "env": Variables({name: _one_value(name, value) for name, value in context.env.items()}),
        "dirty": context.dirty,
    }
    for name in ("version", "commit", "short_commit", "tag", "branch", "commit_time"):
        if value := getattr(context, name):
            values[name] = _one_value(name, value)
    if cell is not None:
        values |= cell.values()
    return rendered(text, values)


def _one_value(name: str, value: str) -> str:
    if len(value) > LONGEST_VALUE:
        raise ConfigError(f"{name} is longer than {LONGEST_VALUE >> 10} KiB", hint="keep long text out of templates")
    return value
