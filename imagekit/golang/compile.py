"""Compile a target, hermetically, into a kept output whose bytes are checked before Go may reuse them.

Touches disk and starts `go build`. Nothing here reaches for a network: what is missing in the module cache is an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ConfigError, ToolError
from imagekit.golang import arch, vcs
from imagekit.golang.arguments import Main, build_argv, mod_mode
from imagekit.golang.artifact import Artifact
from imagekit.golang.budget import pace
from imagekit.golang.environments import compile_environment
from imagekit.golang.failures import failure
from imagekit.golang.kept import Kept, Record, folder_of, held, is_kept, is_same_file, opened, place
from imagekit.golang.settings import GoSettings
from imagekit.processes import run
from imagekit.targets.target import Target
from imagekit.text import line
from imagekit.workers import cpus, memory

_OWN = Main()
"""As the target says it."""


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """One `go build`, but for its output."""

    target: Target
    package: str
    directory: Path
    environment: dict[str, str]
    argv: list[str]
    folder: Path


def compile_target(
    settings: GoSettings,
    target: Target,
    main: Main = _OWN,
    *,
    cache_dir: Path,
    jobs: int = 0,
    cancellation: Cancellation | None = None,
    destination: Path | None = None,
) -> Artifact:
    """The program that a target becomes; `Artifact.relinked` says why a kept output was not trusted, if one was not.

    `settings` were read in the module's folder, or are those for an extracted module, `settings.published(folder)`
    (then `main` says readonly and no stamp). `jobs` is how many CPUs this one build may use, 0 for all. With
    `destination` the artifact is a copy there, made before another process can replace the kept output; without it,
    the kept output.

    Raises `CompileFailure` with the compiler's own words, `ToolError` where version control cannot be read,
    `ConfigError` for a platform, level or flag that Go cannot take.
    """
    return _carry_out(_order(settings, target, main, cache_dir, jobs), destination, cancellation)


def unstripped_twin(
    settings: GoSettings,
    target: Target,
    main: Main = _OWN,
    *,
    cache_dir: Path,
    jobs: int = 0,
    cancellation: Cancellation | None = None,
) -> Artifact:
    """The same program linked without `-s -w`, kept beside it: its symbol table has the addresses of the stripped one.

    Arguments and errors are those of `compile_target`. It is a second link; nothing is compiled again.
    """
    return _carry_out(_order(settings, target, main, cache_dir, jobs, strip=False), None, cancellation)


def has_kept_output(settings: GoSettings, target: Target, main: Main = _OWN, *, cache_dir: Path) -> bool:
    """Whether this target was linked before, so that a build will link at most (see `budget.plan`)."""
    chosen = main.package or target.main
    return is_kept(folder_of(cache_dir, settings.directory, chosen, target), target.filename)


def _order(
    settings: GoSettings, target: Target, main: Main, cache_dir: Path, jobs: int, *, strip: bool | None = None
) -> _Order:
    chosen = main.package or target.main
    if not chosen or chosen.startswith("-") or "@" in chosen:
        raise ConfigError(
            f"{target.id}: {chosen!r} is not a package of the module ({target.origin('main')})",
            hint="write `main: ./cmd/app`",
        )
    arch.check(target.platform, settings.toolchain.goroot, where=f"{target.id} ({target.origin('platforms')})")
    folder = folder_of(cache_dir.absolute(), settings.directory, chosen, target, "" if strip is None else "unstripped")
    stamped = vcs.is_stamped(settings.directory) if main.buildvcs is None else main.buildvcs
    return _Order(
        target=target,
        package=chosen,
        directory=settings.directory,
        environment=compile_environment(settings, target, cache_dir=cache_dir.absolute())
        | pace(jobs, memory() // (2 * cpus()), settings.ambient),
        argv=[
            *settings.isolation,
            *build_argv(
                settings.toolchain.go,
                target,
                package=chosen,
                output=folder / target.filename,
                mode=main.mode or mod_mode(settings),
                buildvcs=stamped,
                jobs=jobs,
                strip=strip,
            ),
        ],
        folder=folder,
    )


def _carry_out(order: _Order, destination: Path | None, cancellation: Cancellation | None) -> Artifact:
    with held(order.folder, order.target.filename, cancellation) as kept, opened(kept.path) as stream:
        relinked = _distrusted(kept, stream)
        if relinked:
            kept.discard()
        _build(order, kept, cancellation)
        record = _settled(kept, stream if not relinked else None)
        if destination is not None:
            place(kept.path, destination)
    return Artifact(order.target, destination or kept.path, record.digest, record.size, relinked)


def _distrusted(kept: Kept, stream: BinaryIO | None) -> str:
    """Why what stands at the kept path must go, '' if it may stay or nothing is there."""
    if stream is not None:
        return kept.distrusted(stream)
    return "it is not a regular file" if os.path.lexists(kept.path) else ""


def _settled(kept: Kept, stream: BinaryIO | None) -> Record:
    """The record of the file that now stands there: the old one if Go left the checked file, else a new one."""
    record = kept.recorded() if stream is not None and is_same_file(stream, kept.path) else None
    return record or kept.record()


def _build(order: _Order, kept: Kept, cancellation: Cancellation | None) -> None:
    environment = {**order.environment, "GOTMPDIR": str(kept.temporary)}
    done = run(order.argv, env=environment, cwd=order.directory, cancellation=cancellation)
    if done.returncode:
        raise _refused(order, done.stderr, cancellation)
    if not kept.path.is_file() or _is_archive(kept.path):
        kept.discard()
        raise ToolError(
            f"{order.target.id}: {line(order.package)} is not a main package: Go compiled it and linked no program",
            hint="`main` names the folder of a `package main`",
        )


def _is_archive(path: Path) -> bool:
    """Whether Go wrote a package instead of a program (ar, cmd/internal/archive)."""
    with path.open("rb") as stream:
        return stream.read(8) == b"!<arch>\n"


def _refused(order: _Order, stderr: bytes, cancellation: Cancellation | None) -> ToolError:
    text = stderr.decode(errors="replace")
    if vcs.FAILED in text:
        return vcs.explain(order.directory, order.environment, cancellation)
    return failure(order.target.id, stderr, _way_out(text, order.environment))


def _way_out(text: str, environment: Mapping[str, str]) -> str:
    """The next command for failures whose cause is not in the code."""
    if "inconsistent vendoring" in text:
        return "go.mod and vendor/modules.txt differ: run `go mod vendor`"
    if "missing go.sum entry" in text or "updates to go.mod needed" in text:
        return "run `go mod tidy`, and commit go.mod and go.sum"
    if "GOPROXY=off" in text or "module lookup disabled" in text:
        return f"the module is not in {environment.get('GOMODCACHE', 'the module cache')}: run `go mod download`"
    if "GOTOOLCHAIN=local" in text:
        return "install the Go release that go.mod asks for, or allow GOTOOLCHAIN=auto"
    if "C compiler" in text or "cgo: " in text:
        return "`cgo: static` brings its own C compiler; `cgo: off` needs none"
    return ""
