"""What an image is built on: the layers of another image, and what stands in them. Values, and reads of blob stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from imagekit.audit.needs import Need, Piece
from imagekit.content import Digest
from imagekit.errors import ConfigError, UnreadableError
from imagekit.image.recipe import Recipe, setting_of
from imagekit.image.rootfs import CERTIFICATES, ZONES
from imagekit.oci.blobs import BlobReader, BlobStore, read_verified
from imagekit.oci.documents import (
    DOCKER_LAYER,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_ZSTD,
    Descriptor,
    History,
    RuntimeConfig,
    decode_config,
    decode_index,
    decode_manifest,
)
from imagekit.oci.layers import Entry, Layer
from imagekit.oci.places import Place
from imagekit.oci.platforms import offered
from imagekit.oci.store import Layout
from imagekit.oci.trees import Runnable
from imagekit.platform import Platform, closest

SCRATCH, LAYOUT = "scratch", "oci:"
CONTEXT = "imagekit-base"
"""What Dockerfiles call a base that is a local layout; docker-bake.hcl says where it is."""
_PLAIN = {LAYER_TAR: LAYER_TAR, LAYER_GZIP: LAYER_GZIP, LAYER_ZSTD: LAYER_ZSTD, DOCKER_LAYER: LAYER_GZIP}
"""Layer media types that can be shipped, and what an OCI manifest calls the same bytes."""
_AT = {Piece.CA: CERTIFICATES, Piece.TZDATA: ZONES, Piece.USERS: "etc/passwd", Piece.NSSWITCH: "etc/nsswitch.conf"}
"""Where a piece is, if a base has it."""


class Standing(msgspec.Struct, frozen=True):
    """What stands in the merged layers of a base, by path without a leading slash: folders with mode and owner, links
    with their target, everything else as a file.
    """

    entries: dict[str, Entry]


class Base(msgspec.Struct, frozen=True):
    """One platform of a base; `name` is what the recipe calls it, `pinned` a name that cannot come to mean another."""

    name: str
    pinned: str
    image: Runnable
    layers: tuple[Layer, ...]
    standing: Standing

    @property
    def digest(self) -> Digest:
        """Of the manifest whose layers lie below ours (OCI annotation `base.digest`)."""
        return self.image.descriptor.digest

    @property
    def reference(self) -> str:
        """Where a registry has it; '' for a local layout."""
        return "" if self.pinned == CONTEXT else self.pinned

    @property
    def history(self) -> tuple[History, ...]:
        """As the base tells it; a line a layer where it tells none."""
        told = self.image.config.history or ()
        if sum(not line.empty_layer for line in told) == len(self.layers):
            return tuple(told)
        return tuple(History(created_by="base", comment=self.pinned) for _ in self.layers)


def open_layout(text: str, root: Path) -> tuple[Layout, str]:
    """The layout of `oci:FOLDER[:NAME][@DIGEST]`, relative to `root`, and what the image is called in it (`Place`)."""
    place = Place.parse(text.removeprefix(LAYOUT), root)
    return Layout(place.path), place.digest or place.name


def image_for(store: BlobReader, found: Descriptor, platform: Platform, called: str) -> Runnable:
    """The image for `platform` under a manifest or index, the closest to its CPU level.

    Raises `ConfigError` that lists what there is, `UnreadableError` for one whose configuration says another platform.
    """
    images = offered(store, found, [platform])
    place = closest(list(images.values()), platform)
    if place is None:
        have = ", ".join(sorted(map(str, images.values()))) or "no image at all"
        raise ConfigError(
            f"{called} holds no image for {platform}; it offers {have}",
            hint="leave the platform out of this image, or take another",
        )
    entry = list(images)[place]
    manifest = decode_manifest(read_verified(store, entry), entry.media_type)
    config = decode_config(read_verified(store, manifest.config))
    if closest([config.platform], platform) is None:
        raise UnreadableError(f"{called} says {images[entry]} of {entry.digest}, which is for {config.platform}")
    return Runnable(entry, manifest, config)


def indexes(store: BlobReader, found: Descriptor) -> Iterator[Descriptor]:
    """`found` and every index below it, children first: what leads to the manifests; nothing for a manifest."""
    if found.is_index:
        for entry in decode_index(read_verified(store, found), found.media_type).manifests:
            yield from indexes(store, entry)
        yield found


def layers_of(image: Runnable, called: str) -> tuple[Layer, ...]:
    """The layers as an OCI manifest names them; raises `UnreadableError` for some that cannot be shipped."""
    layers, diff_ids = image.manifest.layers, image.config.rootfs.diff_ids
    if len(layers) != len(diff_ids):
        raise UnreadableError(f"{called}: {len(layers)} layers, but {len(diff_ids)} diff ids")
    return tuple(Layer(_plain(layer, called), diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True))


def _plain(layer: Descriptor, called: str) -> Descriptor:
    media_type = _PLAIN.get(layer.media_type)
    if media_type is None:
        raise UnreadableError(f"{called}: cannot ship a layer of type {layer.media_type!r}", hint="repack it as gzip")
    return Descriptor(media_type, layer.digest, layer.size)


def bring(layers: Iterable[Layer], source: BlobReader, store: BlobStore) -> None:
    """Copy layers into `store`, each checked against its digest on the way."""
    for layer in layers:
        if not store.has(layer.descriptor.digest):
            with source.open(layer.descriptor.digest) as stream:
                store.add(stream, layer.descriptor)


def without_provided(recipe: Recipe, decided: Sequence[Need], base: Base | None) -> tuple[Need, ...]:
    """The pieces that are still to be added: an `auto` one that the base has is not put over it."""
    return tuple(_unless_there(recipe, need, base) for need in decided)


def _unless_there(recipe: Recipe, need: Need, base: Base | None) -> Need:
    there = base is not None and (_AT.get(need.piece, "tmp") in base.standing.entries)
    if base is None or not there or not need.needed or setting_of(recipe, need.piece) != "auto":
        return need
    return Need(need.piece, False, f"{base.name} has /{_AT.get(need.piece, 'tmp')}")


def inherited(base: RuntimeConfig | None, own: RuntimeConfig) -> RuntimeConfig:
    """How a container starts: as ours says, and as the base says where a Dockerfile would inherit it too.

    That is environment, labels, ports, volumes, stop signal and health check (docs.docker.com, FROM); never CMD.
    """
    if base is None:
        return own
    return msgspec.structs.replace(
        own,
        env=_together(base.env, own.env),
        labels={**(base.labels or {}), **(own.labels or {})} or None,
        exposed_ports=base.exposed_ports,
        volumes=base.volumes,
        stop_signal=base.stop_signal,
        healthcheck=own.healthcheck or base.healthcheck,
    )


def _together(base: Sequence[str] | None, own: Sequence[str] | None) -> tuple[str, ...] | None:
    merged: Mapping[str, str] = {pair.partition("=")[0]: pair for pair in (*(base or ()), *(own or ()))}
    return tuple(merged.values()) or None
