"""`variants: {debug: {add: "oci:debug-layer"}}`: layers of an image in a local OCI layout, to lie on top of ours.

Reads disk: the layout. Every blob is checked against its digest while it is copied.
"""

from __future__ import annotations

from pathlib import Path

from imagekit.content import Digest
from imagekit.image.bases import bring, image_for, layers_of, open_layout
from imagekit.oci.blobs import BlobStore
from imagekit.oci.layers import Layer
from imagekit.platform import Platform


def added_layers(add: str, root: Path, platform: Platform, store: BlobStore) -> tuple[Layer, ...]:
    """The layers that `add` (`oci:FOLDER[:NAME]`, relative to `root`) has for `platform`, copied into `store`.

    Raises `ConfigError` if it has none, `UnreadableError` for a layout or image that breaks its format,
    `IntegrityError` for bytes that are not what the layout's documents promise.
    """
    layout, name = open_layout(add, root)
    layers = layers_of(image_for(layout, layout.resolve(name), platform, add), add)
    bring(layers, layout, store)
    return layers


def added_digest(add: str, root: Path) -> Digest:
    """The digest of the image or index that `add` names now: all that decides what is added."""
    layout, name = open_layout(add, root)
    return layout.resolve(name).digest
