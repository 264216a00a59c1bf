"""What a Dockerfile has to do to compile a target as imagekit did: words for a shell, quoted here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from imagekit.golang.arch import environment_of
from imagekit.golang.arguments import build_argv
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Target
from imagekit.text import shell_word


class SourceStep(msgspec.Struct, frozen=True, kw_only=True):
    """One target's `go build`: its environment and words; `module` is `path@version` of a published one, else ''."""

    platform: Platform
    cgo: bool
    directory: str
    module: str
    environment: tuple[tuple[str, str], ...]
    argv: tuple[str, ...]


def source_step(target: Target, *, mode: str, buildvcs: bool, module: str = "", package: str = "") -> SourceStep:
    """The step for a target that was compiled with `-mod=<mode>`, stamped with version control or not.

    For a published module, `module` is `path@version` and `package` the main package in it (`./cmd/app`). Raises
    `ConfigError` for flags that Go's list syntax cannot express.
    """
    argv = build_argv(
        Path("go"),
        target,
        package=package or target.main,
        output=Path("/out") / target.filename,
        mode=mode,
        buildvcs=buildvcs,
    )
    environment = {
        "CGO_ENABLED": "0" if target.cgo is Cgo.OFF else "1",
        "GOENV": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        **environment_of(target.platform, target.level),
        **dict(target.env),
        **dict(target.unsafe.env),
    }
    return SourceStep(
        platform=target.platform,
        cgo=target.cgo is not Cgo.OFF,
        directory=target.directory,
        module=module,
        environment=tuple(sorted(environment.items())),
        argv=tuple(argv),
    )


def script_lines(steps: Sequence[SourceStep]) -> list[str]:
    """A POSIX shell script that compiles for the platform the builder asks for, and fails for any other."""
    lines = ['case "$TARGETOS/$TARGETARCH${TARGETVARIANT:+/$TARGETVARIANT}" in']
    for step in steps:
        lines += [f"{_word(str(step.platform))})", *_fetched(step), f"  {_command(step)} ;;"]
    return [*lines, '*) echo "no target for this platform in this Dockerfile" >&2; exit 1 ;;', "esac"]


def _fetched(step: SourceStep) -> list[str]:
    """A published module is fetched, and checked against the checksum database, first."""
    return [f"  go mod download {_word(step.module)} &&"] if step.module else []


def _folder(step: SourceStep) -> list[str]:
    """The flag that says which folder the module is in; linters take a `cd` for a mistake (hadolint DL3003)."""
    if step.module:
        return ["-C", f'"$(go env GOMODCACHE)"/{_word(_escaped(step.module))}']
    return [] if step.directory == "." else ["-C", f"./{_word(step.directory)}"]


def _escaped(module: str) -> str:
    """`path@version` as the module cache spells it: `!x` for `X` (golang.org/x/mod/module, escaped paths)."""
    return "".join(f"!{c.lower()}" if c.isascii() and c.isupper() else c for c in module)


def _command(step: SourceStep) -> str:
    environment = (f"{name}={value}" for name, value in step.environment)
    go, build, *rest = step.argv
    return " ".join(["env", *map(_word, (*environment, go, build)), *_folder(step), *map(_word, rest)])


def _word(text: str) -> str:
    """One POSIX shell word; in single quotes a `$` looks to linters like a mistake (ShellCheck SC2016)."""
    if not set(text) & set("'$`"):
        return shell_word(text)
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'
