"""Attest: an image's provenance, kept beside it in dist/oci. Touches the layout that is being written.

It is not signed, so it proves nothing to a stranger; it says everything that `imagekit rebuild` must know. The same
source gives the same bytes: nothing of this machine, no path, time or number of jobs is in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import imagekit
from imagekit.content import Digest, hex_of
from imagekit.image.assemble import compression_of
from imagekit.oci.documents import Descriptor
from imagekit.oci.store import Layout
from imagekit.sbom.purl import pypi_purl
from imagekit.targets.listing import matrix
from imagekit.trust.provenance import (
    BUILD_TYPE,
    LOCAL_BUILDER,
    PREDICATE,
    BuildDefinition,
    Builder,
    ConfigFile,
    Parameters,
    Provenance,
    RunDetails,
    Settings,
    Source,
    encode_provenance,
)
from imagekit.trust.statement import Resource, attach

if TYPE_CHECKING:
    from imagekit.pipeline.ground import Ground
    from imagekit.pipeline.shipping import Packed, Passed
    from imagekit.sbom.inventory import Inventory


def attest(
    ground: Ground,
    passed: Sequence[Passed],
    images: Sequence[Packed],
    inventories: Mapping[str, Inventory],
    report: Digest,
    layout: Layout,
) -> tuple[Descriptor, ...]:
    """The manifest of each image's provenance, in the order of the images; `report` is the digest of audit.json."""
    engine = engine_of(ground)
    builder = Builder(LOCAL_BUILDER, {"imagekit": imagekit.__version__}, (engine,) if engine else ())
    details = RunDetails(builder, byproducts=(Resource("audit.json", digest=_sha256(report)),))
    made = []
    for image in images:
        mine = _inside(passed, image)
        definition = BuildDefinition(
            build_type=BUILD_TYPE,
            external_parameters=_parameters(ground, mine, image),
            internal_parameters=_settings(mine, image),
            resolved_dependencies=tuple(_dependencies(ground, [inventories[one.ready.target.id] for one in mine])),
        )
        statement = encode_provenance(_subjects(image), Provenance(definition, details))
        made.append(attach(layout, image.assembled.index, statement, PREDICATE))
    return tuple(made)


def engine_of(ground: Ground) -> Resource | None:
    """The engine plug-in that takes part in this run: who distributes it, in which version."""
    if not ground.request.engine:
        return None
    from imagekit.oci.engine import plugin_origin

    found = plugin_origin(ground.request.engine)
    return Resource(name=f"engine {found.name}", uri=pypi_purl(found.distribution, found.version))


def source_of(ground: Ground) -> Source | None:
    """The commit that was built; None where there is none."""
    git = ground.git
    if git is None or not git.commit:
        return None
    return Source(
        digest={"gitCommit": git.commit},
        uri=f"git+{git.remote}" if "://" in git.remote else git.remote,
        branch=git.branch,
        short=git.short,
        tags=git.tags,
        dirty=git.dirty,
    )


def config_of(ground: Ground) -> ConfigFile | None:
    """The configuration that was read; None where there is none."""
    marks = ground.config.marks
    return ConfigFile(PurePosixPath(marks.name).name, marks.text) if marks is not None and marks.text else None


def _inside(passed: Sequence[Passed], image: Packed) -> list[Passed]:
    """The targets whose programs are in an image."""
    requested = {one.program.requested for one in image.assembled.images}
    mine = (one for one in passed if one.ready.target.build == image.recipe.build)
    return [one for one in mine if one.ready.target.platform in requested]


def _subjects(image: Packed) -> tuple[Resource, ...]:
    """The index, then what each platform gets."""
    name, made = image.shipped.repository, image.assembled
    platforms = (Resource(f"{name}#{one.platform}", digest=_sha256(one.manifest.digest)) for one in made.images)
    return (Resource(name, digest=_sha256(made.index.digest)), *platforms)


def _parameters(ground: Ground, mine: Sequence[Passed], image: Packed) -> Parameters:
    git, root = ground.git, ground.root.resolve()
    return Parameters(
        image=image.assembled.name,
        folder=root.relative_to(git.root.resolve()).as_posix() if git is not None else ".",
        source=source_of(ground),
        config=config_of(ground),
        bases={one.base.name: one.base.pinned for one in image.assembled.images if one.base is not None},
        packages=ground.request.packages,
        targets=tuple(one.ready.target.id for one in mine),
        tags=ground.request.tags,
        environment=ground.context.env,
        created=ground.created,
    )


def _settings(mine: Sequence[Passed], image: Packed) -> Settings:
    targets = matrix([one.ready.target for one in mine])
    return Settings(
        compression=compression_of(image.recipe).identity,
        targets=tuple(
            plain | {"mod": one.ready.mode, "toolchain": one.ready.toolchain, "vcs": one.ready.buildvcs}
            for one, plain in zip(mine, targets, strict=True)
        ),
    )


def _dependencies(ground: Ground, inventories: Sequence[Inventory]) -> Iterator[Resource]:
    """The commit, then everything that is in the programs and the layers around them, each once, by address."""
    source = source_of(ground)
    if source is not None:
        yield Resource(uri=f"{source.uri}@{source.commit}" if source.uri else "", digest=source.digest)
    inside = (component for inventory in inventories for component in inventory.components if component.purl)
    found = {component.purl: component for component in inside}
    for purl in sorted(found):
        yield Resource(found[purl].name, purl, _dir_hash(found[purl].h1))


def _dir_hash(h1: str) -> dict[str, str]:
    """Go's `h1:` as in-toto's dirHash1, which is hex (digest_set.md); {} for no hash."""
    return {"dirHash1": base64.b64decode(h1.removeprefix("h1:")).hex()} if h1.startswith("h1:") else {}


def _sha256(digest: Digest) -> dict[str, str]:
    return {"sha256": hex_of(digest)}
