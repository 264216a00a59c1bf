"""What a Dockerfile has to do to compile a target as imagekit did: words for a shell, quoted here."""

from __future__ import annotations

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
        lines += [f"{shell_word(str(step.platform))})", *_entered(step), f"  {_command(step)} ;;"]
    return [*lines, '*) echo "no target for this platform in this Dockerfile" >&2; exit 1 ;;', "esac"]


def _entered(step: SourceStep) -> list[str]:
    """How the script gets into the module's folder: a published one is checked against the checksum database first."""
    if step.module:
        place = shell_word(_escaped(step.module))
        return [f"  go mod download {shell_word(step.module)} &&", f'  cd "$(go env GOMODCACHE)"/{place} &&']
    return [] if step.directory == "." else [f"  cd ./{shell_word(step.directory)} &&"]


def _escaped(module: str) -> str:
    """`path@version` as the module cache spells it: `!x` for `X` (golang.org/x/mod/module, escaped paths)."""
    return "".join(f"!{c.lower()}" if c.isascii() and c.isupper() else c for c in module)


def _command(step: SourceStep) -> str:
    words = (*(f"{name}={value}" for name, value in step.environment), *step.argv)
    return " ".join(["env", *map(shell_word, words)])
