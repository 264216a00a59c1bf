"""Programs and a recipe become an image: layers, configurations, manifests and one index, written to a blob store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from imagekit.audit.needs import Need
from imagekit.content import prepared
from imagekit.errors import ConfigError
from imagekit.image.bases import SCRATCH, Base, inherited, without_provided
from imagekit.image.kept import LayerCache
from imagekit.image.layering import Stratum, merged, program_stratum, strata
from imagekit.image.needs import decide
from imagekit.image.recipe import Recipe, require_possible
from imagekit.image.rootfs import MTIME
from imagekit.image.shipped import Program, distinct
from imagekit.image.variants import added_layers
from imagekit.image.words import Origin, annotations_of, based_on, labels_of, timestamp
from imagekit.oci.blobs import BlobStore, put
from imagekit.oci.documents import (
    CONFIG,
    INDEX,
    MANIFEST,
    Descriptor,
    Healthcheck,
    History,
    ImageConfig,
    Index,
    Manifest,
    PlatformObject,
    RootFS,
    RuntimeConfig,
    encode,
)
from imagekit.oci.layers import Compression, Entry, Layer
from imagekit.platform import Platform
from imagekit.workers import Workers


class PlatformImage(msgspec.Struct, frozen=True):
    """The image of one platform; `config` is what engines call the image id, `rootfs` says why each piece is there."""

    platform: Platform
    program: Program
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    rootfs: tuple[Need, ...]
    base: Base | None = None


class Assembled(msgspec.Struct, frozen=True):
    """An image in a store. `name` is the recipe's id, with `-debug` for the variant of that name."""

    name: str
    index: Descriptor
    images: tuple[PlatformImage, ...]
    labels: dict[str, str]
    tree: tuple[Entry, ...]
    """Constant pieces and extra files of all platforms in one: the content of dist/rootfs/<name>.tar."""
    base: str = SCRATCH
    """What a Dockerfile builds on."""


class _Common(msgspec.Struct, frozen=True):
    """What the platforms of one image share."""

    recipe: Recipe
    name: str
    variant: str
    created: int
    labels: dict[str, str]
    annotations: dict[str, str]
    root: Path
    compression: Compression
    bases: Mapping[Platform, Base]


def compression_of(recipe: Recipe) -> Compression:
    """The recipe's compression, checked; its `identity` belongs into the provenance."""
    require_possible(recipe)
    return msgspec.convert(recipe.compression, prepared(Compression), from_attributes=True)


def assemble(
    store: BlobStore,
    recipe: Recipe,
    programs: Sequence[Program],
    *,
    created: int,
    origin: Origin,
    root: Path,
    cache: LayerCache,
    workers: Workers,
    variant: str = "",
    bases: Mapping[Platform, Base] = MappingProxyType({}),
) -> Assembled:
    """Write the image of `programs`, one platform each in their order, and its index into `store`.

    Platforms are packed side by side under `workers`; their number decides no byte. `bases` has one for each stated
    platform of a recipe that is not built on scratch; `store` holds their layers.

    `created` is in seconds since 1970; paths in the recipe, whose templates are filled, are relative to `root`.
    Nothing else decides the bytes. Raises `ConfigError` for what cannot be packed as asked, two programs of one
    platform among it, and `IntegrityError` for a program that is not the file that was built.
    """
    compression = compression_of(recipe)
    name = f"{recipe.id}-{variant}" if variant else recipe.id
    common = _Common(
        recipe=recipe,
        name=name,
        variant=variant,
        created=created,
        labels=labels_of(recipe, name, origin, created),
        bases=bases,
        annotations=annotations_of(recipe, name, origin, created),
        root=root,
        compression=compression,
    )
    wanted = distinct(recipe, programs)
    packed = dict(workers.each(lambda one: _platform(store, common, *one, cache), wanted))
    made = [packed[one] for one in wanted]
    index = Index(
        manifests=tuple(image.manifest for image, _ in made),
        annotations=common.annotations,
    )
    return Assembled(
        name,
        put(store, encode(index), INDEX),
        tuple(image for image, _ in made),
        common.labels,
        merged(below for _, below in made),
        next((base.pinned for base in bases.values()), SCRATCH),
    )


def _platform(
    store: BlobStore, common: _Common, platform: Platform, program: Program, cache: LayerCache
) -> tuple[PlatformImage, tuple[Stratum, ...]]:
    """The image of one platform, and the strata below its program."""
    base = common.bases.get(platform)
    decided = without_provided(common.recipe, decide(common.recipe, program.needs), base)
    standing = base.standing.entries if base else {}
    below = strata(common.recipe, decided, common.root, standing)
    layers = [
        (cache.layer(store, stratum.entries, mtime=MTIME, compression=common.compression), _history(common, stratum))
        for stratum in (*below, program_stratum(common.recipe, program, below, standing))
    ]
    layers += _variant(store, common, platform)
    config = put(store, encode(_config(common, platform, base, layers)), CONFIG)
    manifest = Manifest(
        config=config,
        layers=tuple(layer.descriptor for layer in _all(base, layers)),
        annotations=common.annotations | (based_on(base.reference, base.digest) if base else {}),
    )
    stated = put(store, encode(manifest), MANIFEST, platform=PlatformObject.of(platform))
    return PlatformImage(platform, program, stated, config, manifest.layers, decided, base), below


def _all(base: Base | None, layers: Sequence[tuple[Layer, History]]) -> tuple[Layer, ...]:
    """The base's layers, then ours."""
    return (*(base.layers if base else ()), *(layer for layer, _ in layers))


def _variant(store: BlobStore, common: _Common, platform: Platform) -> list[tuple[Layer, History]]:
    if not common.variant:
        return []
    if common.variant not in common.recipe.variants:
        raise ConfigError(f"images/{common.recipe.id} has no variant {common.variant!r}")
    add = common.recipe.variants[common.variant].add
    history = History(created=timestamp(common.created), created_by=f"imagekit: {common.variant}", comment=add)
    return [(layer, history) for layer in added_layers(add, common.root, platform, store)]


def _history(common: _Common, stratum: Stratum) -> History:
    return History(
        created=timestamp(common.created),
        created_by=f"imagekit: {stratum.name}",
        comment=stratum.why,
    )


def _config(
    common: _Common, platform: Platform, base: Base | None, layers: Sequence[tuple[Layer, History]]
) -> ImageConfig:
    return ImageConfig(
        created=timestamp(common.created),
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        config=inherited(base.image.config.config if base else None, _runtime(common)),
        rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in _all(base, layers))),
        history=(*(base.history if base else ()), *(history for _, history in layers)),
    )


def _runtime(common: _Common) -> RuntimeConfig:
    recipe = common.recipe
    return RuntimeConfig(
        user=recipe.user,
        env=tuple(f"{name}={value}" for name, value in recipe.env.items()) or None,
        entrypoint=recipe.command,
        working_dir=recipe.workdir,
        labels=common.labels or None,
        healthcheck=Healthcheck(test=("CMD", *recipe.healthcheck)) if recipe.healthcheck else None,
    )
