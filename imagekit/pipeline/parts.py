"""Parts: targets compiled apart (`--partial`), joined by `merge` into what one run would have made. Touches disk."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import msgspec

import imagekit
from imagekit.binary.facts import GoModule
from imagekit.content import Digest, digest_of, hash_file, parse_json, readable_json, write_whole
from imagekit.errors import IntegrityError, UnreadableError, UsageError
from imagekit.golang.artifact import Artifact
from imagekit.pipeline.foundation import lay
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.inspecting import inspect
from imagekit.pipeline.judging import Asked
from imagekit.pipeline.ready import Ready
from imagekit.pipeline.shipping import Passed
from imagekit.pipeline.sums import write_sums
from imagekit.pipeline.xvalues import check_again
from imagekit.source.weakness import Weakness
from imagekit.staging import staged
from imagekit.targets.target import Target
from imagekit.targets.templating import TemplateContext

if TYPE_CHECKING:
    from imagekit.cancellation import Cancellation
    from imagekit.pipeline.job import Outcome
    from imagekit.pipeline.progress import Event

FILE = "part.json"
SCHEMA = "urn:imagekit:part:v1"
_LARGEST = 64 << 20
T = TypeVar("T")


class PartTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One built target of a part: all that the second half of a build has to know of the first."""

    target: Target
    path: str
    digest: Digest
    size: int
    toolchain: str
    package: str
    import_path: str
    mode: str
    buildvcs: bool
    module: GoModule | None
    published: bool
    prebuilt: bool
    asked: Asked


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """part.json."""

    schema: str
    version: str
    """imagekit's own."""
    config: Digest
    """Of everything that was configured; parts of one whole agree."""
    context: TemplateContext
    created: int
    targets: tuple[PartTarget, ...]
    weaknesses: tuple[Weakness, ...]


def write_part(output: Path, ground: Ground, passed: Sequence[Passed], weaknesses: Sequence[Weakness]) -> None:
    """Write `output` whole: `bin/…`, part.json, SHA256SUMS."""
    with staged(output) as folder:
        targets = tuple(_placed(folder, one) for one in passed)
        part = Part(
            schema=SCHEMA,
            version=imagekit.__version__,
            config=config_digest(ground),
            context=ground.context,
            created=ground.created,
            targets=targets,
            weaknesses=tuple(sorted(weaknesses)),
        )
        write_whole(folder / FILE, readable_json(part))
        write_sums(folder, {one.path: one.digest for one in targets})


def _placed(folder: Path, one: Passed) -> PartTarget:
    ready, artifact = one.ready, one.inspected.artifact
    inside = f"bin/{ready.target.build}/{ready.target.slug}/{ready.target.filename}"
    place = folder / inside
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(artifact.path, place)
    place.chmod(0o755)
    return PartTarget(
        target=ready.target,
        path=inside,
        digest=artifact.digest,
        size=artifact.size,
        toolchain=ready.toolchain,
        package=ready.package,
        import_path=ready.import_path,
        mode=ready.mode,
        buildvcs=ready.buildvcs,
        module=ready.module,
        published=ready.published,
        prebuilt=ready.prebuilt is not None,
        asked=one.asked,
    )


def config_digest(ground: Ground) -> Digest:
    """Of all that the configuration says, where it is written aside."""
    plain = msgspec.structs.replace(ground.config, marks=None, root=Path())
    return digest_of(msgspec.json.encode(plain, enc_hook=str, order="sorted"))


def merge(ground: Ground, folders: Sequence[Path], cancellation: Cancellation) -> Generator[Event, None, Outcome]:
    """Judge all parts together and write what one run would have written.

    Raises `UnreadableError` for a folder that is no part, `UsageError` for parts of different wholes, a target that no
    part or more than one has, `IntegrityError` for a file that is not what its part says.
    """
    from imagekit.pipeline.job import conclude

    parts = [(folder, read_part(folder)) for folder in folders]
    ground = _agreed(ground, parts)
    found = {one.target.id: _passed(ground, folder, one) for folder, part in parts for one in part.targets}
    _require_all(ground, [part for _, part in parts])
    weaknesses = sorted({weakness for _, part in parts for weakness in part.weaknesses})
    ordered = [found[target.id] for target in ground.targets]
    return (yield from conclude(ground, ordered, weaknesses, (), lay(ground, cancellation), cancellation))


def read_part(folder: Path) -> Part:
    """The part in a folder; raises `UnreadableError` for anything else."""
    try:
        with (folder / FILE).open("rb") as stream:
            part = parse_json(stream.read(_LARGEST), Part)
    except OSError as error:
        raise UnreadableError(
            f"{folder} is not a part: {error.strerror}", hint="make one with `imagekit build --partial DIR`"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"{folder / FILE}: {error}", hint="make it again with `imagekit build --partial DIR`"
        ) from error
    if part.schema != SCHEMA or part.version != imagekit.__version__:
        raise UsageError(
            f"{folder} was made by imagekit {part.version}, this is {imagekit.__version__}",
            hint="use one version in all jobs",
        )
    return part


def _agreed(ground: Ground, parts: Sequence[tuple[Path, Part]]) -> Ground:
    """The ground with the time that all parts were made for; raises `UsageError` where something differs."""
    created = parts[0][1].created
    for folder, part in parts:
        _same(folder, "configuration", part.config, config_digest(ground))
        _same(folder, "source", part.context, ground.context)
        _same(folder, "time (SOURCE_DATE_EPOCH)", part.created, created)
    return msgspec.structs.replace(ground, created=created)


def _same(folder: Path, what: str, here: T, there: T) -> None:
    if here != there:
        raise UsageError(
            f"{folder} was made from another {what} than this: {here} and {there}",
            hint="build all parts, and merge them, in checkouts of one commit with the same options",
        )


def _passed(ground: Ground, folder: Path, one: PartTarget) -> Passed:
    inside = PurePosixPath(one.path)
    if inside.is_absolute() or ".." in inside.parts:
        raise UnreadableError(f"{folder / FILE}: {one.path!r} leads out of the part")
    path = folder / inside
    digest, size = hash_file(path)
    if (digest, size) != (one.digest, one.size):
        raise IntegrityError(f"{path} is {digest}, {FILE} says {one.digest}", hint="carry the part over again, whole")
    artifact = Artifact(one.target, path, digest, size)
    ready = Ready(
        target=one.target,
        toolchain=one.toolchain,
        package=one.package,
        import_path=one.import_path,
        mode=one.mode,
        buildvcs=one.buildvcs,
        module=one.module,
        published=one.published,
        prebuilt=path if one.prebuilt else None,
    )
    again = msgspec.structs.replace(one.asked, x_values=check_again(artifact, one.asked.x_values))
    return Passed(ready, inspect(artifact, ground.request.cache), again)


def _require_all(ground: Ground, parts: Sequence[Part]) -> None:
    """Each selected target is in exactly one part, built with the settings that are configured here."""
    built = {one.target.id: one.target for part in parts for one in part.targets}
    several = [one.target.id for part in parts for one in part.targets]
    wanted = {target.id: target for target in ground.targets}
    if twice := sorted({name for name in several if several.count(name) > 1}):
        raise UsageError(f"more than one part has {', '.join(twice)}", hint="merge each part once")
    if missing := sorted(wanted.keys() - built.keys()):
        raise UsageError(f"no part has {', '.join(missing)}", hint="build it with --partial, or select with --target")
    if foreign := sorted(built.keys() - wanted.keys()):
        raise UsageError(f"{', '.join(foreign)} is not selected here", hint="give merge the --target of the builds")
    for name, target in wanted.items():
        if _without_origins(built[name]) != _without_origins(target):
            raise UsageError(f"{name} was built with other settings than are configured here", hint="build it again")


def _without_origins(target: Target) -> Target:
    return msgspec.structs.replace(target, origins=())
