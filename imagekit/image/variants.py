"""`variants: {debug: {add: "oci:debug-layer"}}`: layers of an image in a local OCI layout, to lie on top of ours.

Reads disk: the layout. Every blob is checked against its digest while it is copied.
"""

from __future__ import annotations

from pathlib import Path

from imagekit.errors import ConfigError, UnreadableError
from imagekit.oci.blobs import BlobStore, read_verified
from imagekit.oci.documents import (
    DOCKER_LAYER,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_ZSTD,
    Descriptor,
    ImageConfig,
    Manifest,
    decode_config,
    decode_index,
    decode_manifest,
)
from imagekit.oci.layers import Layer
from imagekit.oci.store import Layout
from imagekit.platform import Platform

_PLAIN = {LAYER_TAR: LAYER_TAR, LAYER_GZIP: LAYER_GZIP, LAYER_ZSTD: LAYER_ZSTD, DOCKER_LAYER: LAYER_GZIP}
"""Layer media types that can be added, and what an OCI manifest calls the same bytes."""


def added_layers(add: str, root: Path, platform: Platform, store: BlobStore) -> tuple[Layer, ...]:
    """The layers that `add` (`oci:FOLDER[:NAME]`, relative to `root`) has for `platform`, copied into `store`.

    Raises `ConfigError` if it has none, `UnreadableError` for a layout or image that breaks its format,
    `IntegrityError` for bytes that are not what the layout's documents promise.
    """
    layout, name = _open(add, root)
    manifest, config = _image_for(layout, layout.resolve(name), platform, add)
    if len(manifest.layers) != len(config.rootfs.diff_ids):
        raise UnreadableError(f"{add}: {len(manifest.layers)} layers, but {len(config.rootfs.diff_ids)} diff ids")
    return tuple(
        Layer(_copied(layout, layer, add, store), diff_id)
        for layer, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    )


def _open(add: str, root: Path) -> tuple[Layout, str]:
    """The layout, and the name in it; a folder whose own name has a colon is tried first."""
    text = add.removeprefix("oci:")
    if (root / text).is_dir():
        return Layout(root / text), ""
    folder, _, name = text.rpartition(":")
    return Layout(root / (folder or text)), name if folder else ""


def _image_for(layout: Layout, found: Descriptor, platform: Platform, add: str) -> tuple[Manifest, ImageConfig]:
    manifests: tuple[Descriptor, ...] = (found,)
    if found.is_index:
        manifests = decode_index(read_verified(layout, found), found.media_type).manifests
    for entry in manifests:
        if not entry.is_manifest:
            continue
        manifest = decode_manifest(read_verified(layout, entry), entry.media_type)
        if manifest.artifact_type:
            continue
        config = decode_config(read_verified(layout, manifest.config))
        if _runs_on(config.platform, platform):
            return manifest, config
    raise ConfigError(f"{add} holds no image for {platform}", hint="add one, or leave the platform out of this image")


def _runs_on(candidate: Platform, wanted: Platform) -> bool:
    same = (candidate.os, candidate.architecture) == (wanted.os, wanted.architecture)
    return same and candidate.variant in ("", wanted.variant)


def _copied(layout: Layout, layer: Descriptor, add: str, store: BlobStore) -> Descriptor:
    media_type = _PLAIN.get(layer.media_type)
    if media_type is None:
        raise UnreadableError(f"{add}: cannot add a layer of type {layer.media_type!r}", hint="repack it as gzip")
    promised = Descriptor(media_type, layer.digest, layer.size)
    with layout.open(layer.digest) as stream:
        store.add(stream, promised)
    return promised
