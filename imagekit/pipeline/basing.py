"""Bases: what images are built on is fetched by digest, unpacked and judged. Touches disk, and registries where asked.

A base is fetched once, into the cache, and found there by its digest afterwards, without any network.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence

import msgspec

import imagekit
from imagekit.audit.subjects.layers import Content, Place, read_layer
from imagekit.audit.subjects.merging import merged
from imagekit.audit.subjects.program import Wishes
from imagekit.audit.subjects.unpacking import Image, Unpacked
from imagekit.cancellation import Cancellation
from imagekit.content import Digest, hash_file, hex_of, parse_json
from imagekit.errors import IntegrityError
from imagekit.image import lock as locks
from imagekit.image.bases import CONTEXT, LAYOUT, SCRATCH, Base, Standing, image_for, indexes, layers_of, open_layout
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import chosen, shipped_platform
from imagekit.oci.blobs import BlobReader, MissingBlobError, read_verified
from imagekit.oci.documents import DOCUMENT_LIMIT, INDEX, MANIFEST, Descriptor
from imagekit.oci.headers import FOLDER, LINK
from imagekit.oci.layers import Entry
from imagekit.oci.reference import Reference
from imagekit.oci.store import Layout
from imagekit.oci.trees import Runnable
from imagekit.pipeline.foundation import Foundation, Foundations
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.inspecting import FORMAT
from imagekit.pipeline.remembering import recall, remember
from imagekit.platform import Platform
from imagekit.unfinished import temporary_folder
from imagekit.workers import Workers

_JOBS = 4


def unpack(ground: Ground, cancellation: Cancellation) -> Foundations:
    """Fetch and read the bases and variants of every image that is made.

    Raises `ConfigError` for a base that is not locked or lacks a platform, `NetworkError` for one that cannot be had,
    `IntegrityError` for bytes that are not those of the digest.
    """
    reader = _Reader(ground, cancellation)
    found: dict[str, Foundation] = {}
    unpacked: list[Unpacked] = []
    for recipe in ground.images:
        platforms = _platforms(ground, recipe)
        if recipe.base != SCRATCH and platforms:
            found[recipe.id], read = reader.foundation(recipe, platforms)
            unpacked += read
        for variant in recipe.variants.values() if platforms else ():
            unpacked += reader.variant(variant.add, platforms)
    subjects = {subject.path: subject for one in unpacked for subject in one.subjects()}
    return Foundations(found, tuple(subjects.values()), sum(one.other for one in unpacked))


def _platforms(ground: Ground, recipe: Recipe) -> tuple[Platform, ...]:
    """As the index of the image will state them."""
    mine = {target.platform: target for target in ground.targets if target.build == recipe.build}
    wanted = chosen(recipe, tuple(mine)) if mine else ()
    return tuple(shipped_platform(platform, mine[platform].level) for platform in wanted)


class _Reader:
    """Opens bases and variants; what a layer holds is remembered by its digest."""

    def __init__(self, ground: Ground, cancellation: Cancellation) -> None:
        self._ground, self._cancellation = ground, cancellation
        self._locked = locks.read(ground.root)

    def foundation(self, recipe: Recipe, platforms: Sequence[Platform]) -> tuple[Foundation, list[Unpacked]]:
        if recipe.base.startswith(LAYOUT):
            layout, name = open_layout(recipe.base, self._ground.root)
            images = {
                platform: image_for(layout, layout.resolve(name), platform, recipe.base) for platform in platforms
            }
            pinned = CONTEXT
        else:
            reference = self._locked.pinned(recipe.base)
            layout = Layout.create(self._ground.request.cache / "bases", durable=False)
            images = self._fetched(layout, reference, platforms, recipe.base)
            pinned = str(reference)
        read = {platform: self._unpacked(layout, image, recipe.base) for platform, image in images.items()}
        bases = {
            platform: Base(
                name=recipe.base,
                pinned=pinned,
                image=images[platform],
                layers=layers_of(images[platform], recipe.base),
                standing=_standing(read[platform].contents),
            )
            for platform in platforms
        }
        return Foundation(layout, bases), list(read.values())

    def variant(self, add: str, platforms: Sequence[Platform]) -> Iterator[Unpacked]:
        layout, name = open_layout(add, self._ground.root)
        for platform in platforms:
            yield self._unpacked(layout, image_for(layout, layout.resolve(name), platform, add), add)

    def _fetched(
        self, layout: Layout, reference: Reference, platforms: Sequence[Platform], called: str
    ) -> dict[Platform, Runnable]:
        """The images in the cache; the registry is asked only for what is not there."""
        if (kept := _kept(layout, reference.digest, platforms, called)) is not None:
            return kept
        from imagekit.oci.copy import copy
        from imagekit.oci.registry import connected

        with connected(reference, cancellation=self._cancellation) as repository:
            root = repository.fetch()
            images = {platform: image_for(repository, root, platform, called) for platform in platforms}
            for image in images.values():
                copy(repository, layout, image.descriptor, workers=Workers(_JOBS, self._cancellation))
            for index in indexes(repository, root):
                layout.add(io.BytesIO(read_verified(repository, index)), index)
        return images

    def _unpacked(self, store: BlobReader, image: Runnable, called: str) -> Unpacked:
        layers = layers_of(image, called)
        contents = tuple((layer.descriptor, self._content(store, layer.descriptor, layer.diff_id)) for layer in layers)
        return Unpacked(Image("image", called, image), contents)

    def _content(self, store: BlobReader, layer: Descriptor, diff_id: Digest) -> Content:
        self._cancellation.check()
        name = f"{imagekit.__version__}-{FORMAT}-{hex_of(layer.digest)}-{hex_of(diff_id)}"
        place = self._ground.request.cache / "contents" / name
        if (known := recall(place, Content)) is not None:
            return known
        with temporary_folder("imagekit-base-") as folder:
            content = read_layer(store, layer, diff_id, folder, Wishes(every_format=False))
        remember(place, content)
        return content


def _kept(
    layout: Layout, digest: Digest, platforms: Sequence[Platform], called: str
) -> dict[Platform, Runnable] | None:
    """The images of a base that is whole in the cache, noted as used (`pruning`); None where something lacks.

    What a crash has cut off is taken away, so that it is fetched again.
    """
    if not layout.has(digest):
        return None
    try:
        return _noted(layout, digest, platforms, called)
    except (MissingBlobError, FileNotFoundError):
        return None
    except (IntegrityError, msgspec.MsgspecError, UnicodeDecodeError):
        _remove_damaged(layout)
        return None


def _noted(layout: Layout, digest: Digest, platforms: Sequence[Platform], called: str) -> dict[Platform, Runnable]:
    """Raises `IntegrityError` for a layer of another size than its manifest says, and as reading does."""
    root = _described(layout, digest)
    images = {platform: image_for(layout, root, platform, called) for platform in platforms}
    children = {child for image in images.values() for child in image.manifest.children}
    for each in {digest, *(one.descriptor.digest for one in images.values()), *(child.digest for child in children)}:
        os.utime(layout.blob_path(each))
    if cut := next((child for child in children if layout.size_of(child.digest) != child.size), None):
        raise IntegrityError(f"blob {cut.digest} in {layout} is not the {cut.size} bytes promised")
    return images


def _remove_damaged(layout: Layout) -> None:
    """Take away every blob that does not hold the bytes of its name."""
    for path in (layout.path / "blobs/sha256").iterdir():
        if hex_of(hash_file(path)[0]) != path.name:
            path.unlink()


class _Typed(msgspec.Struct, rename="camel"):
    media_type: str = ""
    manifests: list[msgspec.Raw] | None = None


def _described(layout: Layout, digest: Digest) -> Descriptor:
    """A manifest or index of which only the digest is known."""
    raw = read_verified(layout, Descriptor("", digest, min(layout.size_of(digest), DOCUMENT_LIMIT)))
    said = parse_json(raw, _Typed)
    return Descriptor(said.media_type or (MANIFEST if said.manifests is None else INDEX), digest, len(raw))


def _standing(contents: Sequence[Content]) -> Standing:
    places = {path.lstrip("/"): place for path, place in merged(contents).items() if path != "/"}
    return Standing({path: _entry(path, place) for path, place in places.items()})


def _entry(path: str, place: Place) -> Entry:
    if place.kind == FOLDER:
        return Entry(path, "dir", place.mode, *place.owner)
    return Entry(path, "link", target=place.target) if place.kind == LINK else Entry(path)
