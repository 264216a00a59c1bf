"""Ship: what passed the gate becomes the content of dist/, written into a staging folder. Touches disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from imagekit.audit.judge import Report
from imagekit.audit.needs import Piece
from imagekit.audit.report import audit_json
from imagekit.cancellation import Cancellation
from imagekit.content import Digest, digest_of, hash_file, write_whole
from imagekit.errors import IntegrityError
from imagekit.image.archives import program_entry, write_archive
from imagekit.image.assemble import Assembled, assemble
from imagekit.image.bases import CONTEXT, LAYOUT, Base, bring, open_layout
from imagekit.image.compiling import source_step
from imagekit.image.dockerfile import bake_file, bake_target, scratch_dockerfile, source_dockerfile
from imagekit.image.kept import LayerCache
from imagekit.image.recipe import Recipe
from imagekit.image.recorded import altered
from imagekit.image.rootfs import write_rootfs_tar
from imagekit.image.shipped import Program, chosen
from imagekit.oci.documents import Descriptor, Index
from imagekit.oci.parcel import NamedImage
from imagekit.oci.store import Layout
from imagekit.pipeline.attesting import attest
from imagekit.pipeline.describing import describe, inventories_of
from imagekit.pipeline.foundation import Foundation, Foundations
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.inspecting import Inspected
from imagekit.pipeline.judging import Asked
from imagekit.pipeline.manifest import Listed, artifacts_json
from imagekit.pipeline.ready import Ready
from imagekit.pipeline.sums import write_sums
from imagekit.platform import Platform
from imagekit.text import json_array
from imagekit.workers import Workers


class Passed(msgspec.Struct, frozen=True):
    """A target that passed the gate."""

    ready: Ready
    inspected: Inspected
    asked: Asked


class ShippedImage(msgspec.Struct, frozen=True):
    """An image in dist/oci, and the repository and tags that it goes by."""

    name: str
    index: Descriptor
    repository: str
    tags: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What `build` prints: `repository@sha256:…`."""
        return f"{self.repository}@{self.index.digest}"

    @property
    def named(self) -> NamedImage:
        """The image with its names in a layout and in docker."""
        tags = self.tags or ("latest",)
        return NamedImage(self.index, self.name, tuple(f"{self.repository}:{tag}" for tag in tags))


class Packed(msgspec.Struct, frozen=True):
    """An image while dist/ is written: its recipe, what it became, and how it goes."""

    recipe: Recipe
    assembled: Assembled
    shipped: ShippedImage


class Shipped(msgspec.Struct, frozen=True):
    """What stands in a finished dist/: its images in the order of the configuration, and the digest of SHA256SUMS."""

    images: tuple[ShippedImage, ...]
    sums: Digest | None = None
    said: tuple[str, ...] = ()
    """A sentence for each kept layer and package that was not what it had been, and for each health check."""


def ship(
    ground: Ground,
    passed: Sequence[Passed],
    report: Report,
    foundations: Foundations,
    folder: Path,
    cancellation: Cancellation,
) -> Shipped:
    """Write everything of dist/ into `folder`; the last file is SHA256SUMS, which lists all others."""
    cache = LayerCache(ground.request.cache / "layers")
    workers = Workers(ground.request.jobs, cancellation)
    listed = [entry for _, entry in workers.each(partial(_binary, folder), passed)]
    layout = Layout.create(folder / "oci", durable=False)
    images = tuple(_images(ground, passed, foundations, layout, cache, workers))
    listed += _archives(ground, passed, folder, cache)
    listed += _docker(ground, passed, images, folder, cache)
    inventories = inventories_of(ground, passed, images, folder)
    listed += describe(ground, passed, inventories, folder)
    audited = audit_json(report)
    write_whole(folder / "audit.json", audited)
    attested = attest(ground, passed, images, inventories, digest_of(audited), layout)
    layout.set_index(Index(manifests=(*(image.shipped.named.entry for image in images), *attested)))
    write_whole(folder / "artifacts.json", artifacts_json(ground, passed, images, attested, listed))
    known = {entry.path: entry.digest for entry in listed}
    sums = write_sums(folder, known)
    return Shipped(
        tuple(image.shipped for image in images), sums, (*cache.rebuilt, *_altered(images), *_probes(images))
    )


def _probes(images: Sequence[Packed]) -> Iterator[str]:
    """Health checks are docker's own: for each the probe that does the same in Kubernetes, which looks at no image."""
    for recipe in dict.fromkeys(image.recipe.id for image in images):
        words = next(image.recipe.healthcheck for image in images if image.recipe.id == recipe)
        if words:
            yield (
                f"{recipe}: only docker obeys `healthcheck`; in Kubernetes: "
                f"livenessProbe: {{exec: {{command: {json_array(words)}}}}}"
            )


def _altered(images: Sequence[Packed]) -> Iterator[str]:
    """What is not as it was installed, of the packages that these images are made from."""
    used = {need.piece for image in images for one in image.assembled.images for need in one.rootfs if need.needed}
    for piece, package in ((Piece.CA, "certifi"), (Piece.TZDATA, "tzdata")):
        if piece in used and (sentence := altered(package)):
            yield sentence


def _binary(folder: Path, one: Passed) -> Listed:
    artifact, target = one.inspected.artifact, one.ready.target
    inside = f"bin/{target.slug}/{target.filename}"
    place = folder / inside
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(artifact.path, place)
    place.chmod(0o555)
    if hash_file(place) != (artifact.digest, artifact.size):
        raise IntegrityError(
            f"{artifact.path} was changed after it was judged", hint="build again; nothing was shipped"
        )
    return Listed("binary", inside, artifact.digest, artifact.size, target.id)


def _images(
    ground: Ground,
    passed: Sequence[Passed],
    foundations: Foundations,
    layout: Layout,
    cache: LayerCache,
    workers: Workers,
) -> Iterator[Packed]:
    for recipe in ground.images:
        programs, origin = _programs(recipe, passed)
        if not programs:
            continue
        bases = _based(foundations.of(recipe), layout)
        for variant in ("", *recipe.variants):
            assembled = assemble(
                layout,
                recipe,
                programs,
                created=ground.created,
                origin=ground.origin(origin.ready if origin else None),
                root=ground.root,
                cache=cache,
                workers=workers,
                variant=variant,
                bases=bases,
            )
            tags = tuple(f"{tag}-{variant}" if variant else tag for tag in recipe.tags)
            yield Packed(recipe, assembled, ShippedImage(assembled.name, assembled.index, recipe.kept_at, tags))


def _based(foundation: Foundation | None, layout: Layout) -> Mapping[Platform, Base]:
    """The bases of an image, their layers in `layout`."""
    if foundation is None:
        return {}
    for base in foundation.bases.values():
        bring(base.layers, foundation.store, layout)
    return foundation.bases


def _programs(recipe: Recipe, passed: Sequence[Passed]) -> tuple[list[Program], Passed | None]:
    """The programs of a recipe, in the order of their targets."""
    mine = [one for one in passed if one.ready.target.build == recipe.build]
    wanted = chosen(recipe, [one.ready.target.platform for one in mine]) if mine else ()
    programs = [_program(one) for one in mine if one.ready.target.platform in wanted]
    return programs, mine[0] if mine else None


def _program(one: Passed) -> Program:
    facts, target = one.inspected.facts, one.ready.target
    return Program(
        platform=facts.platform or target.platform,
        level=target.level,
        path=one.inspected.artifact.path,
        digest=one.inspected.artifact.digest,
        size=one.inspected.artifact.size,
        name=target.build,
        requested=target.platform,
        needs=one.inspected.needs,
    )


def _archives(ground: Ground, passed: Sequence[Passed], folder: Path, cache: LayerCache) -> Iterator[Listed]:
    place = folder / "archives"
    for spec in ground.archives:
        for one in passed:
            artifact, target = one.inspected.artifact, one.ready.target
            if target.build != spec.build:
                continue
            place.mkdir(exist_ok=True)
            made = write_archive(
                place,
                spec,
                ground.fill_for(target, spec.name),
                program_entry(target.filename, artifact.path, artifact.digest),
                system=target.platform.os,
                root=ground.root,
                created=ground.created,
                cache=cache,
            )
            yield Listed("archive", f"archives/{made.path.name}", made.digest, made.size, target.id)


def _docker(
    ground: Ground, passed: Sequence[Passed], every: Sequence[Packed], folder: Path, cache: LayerCache
) -> Iterator[Listed]:
    """What docker builds the images from; not their variants, whose added layers no Dockerfile can name."""
    images = [image for image in every if image.assembled.name == image.recipe.id]
    for image in images:
        name = image.assembled.name
        if image.assembled.tree:
            (folder / "rootfs").mkdir(exist_ok=True)
            digest, size = write_rootfs_tar(folder / f"rootfs/{name}.tar", image.assembled.tree, cache)
            yield Listed("rootfs", f"rootfs/{name}.tar", digest, size)
        write_whole(folder / f"Dockerfile.{name}", scratch_dockerfile(image.recipe, image.assembled, cache).encode())
        yield _text(folder, "dockerfile", f"Dockerfile.{name}")
        if source := _from_source(ground, passed, image, cache):
            write_whole(folder / f"Dockerfile.{name}.source", source.encode())
            yield _text(folder, "dockerfile", f"Dockerfile.{name}.source")
    if images:
        targets = [bake_target(image.recipe, image.assembled, _contexts(ground, image.recipe)) for image in images]
        bake = bake_file(targets, cache)
        write_whole(folder / "docker-bake.hcl", bake.encode())
        yield _text(folder, "bake", "docker-bake.hcl")


def _contexts(ground: Ground, recipe: Recipe) -> dict[str, str]:
    """Where BuildKit finds a base that is a local layout, seen from dist/."""
    if not recipe.base.startswith(LAYOUT):
        return {}
    layout, name = open_layout(recipe.base, ground.root)
    place = Path(os.path.relpath(layout.path.absolute(), ground.output.absolute())).as_posix()
    return {CONTEXT: f"oci-layout://{place}@{layout.resolve(name).digest}"}


def _text(folder: Path, kind: str, inside: str) -> Listed:
    return Listed(kind, inside, *hash_file(folder / inside))


def _from_source(ground: Ground, passed: Sequence[Passed], image: Packed, cache: LayerCache) -> str:
    """The multi-stage Dockerfile; '' for prebuilt programs, whose source is not ours."""
    mine = [one.ready for one in passed if one.ready.target.build == image.recipe.build]
    shipped = {one.program.requested for one in image.assembled.images}
    compiled = [ready for ready in mine if ready.prebuilt is None and ready.target.platform in shipped]
    if not compiled:
        return ""
    steps = [
        source_step(
            ready.target,
            mode=ready.mode,
            buildvcs=ready.buildvcs,
            module=f"{ready.module.path}@{ready.module.version}" if ready.published and ready.module else "",
            package=ready.package,
        )
        for ready in compiled
    ]
    return source_dockerfile(
        image.recipe,
        image.assembled,
        steps,
        go_version=compiled[0].toolchain,
        output=ground.output_inside,
        cache=cache,
    )
