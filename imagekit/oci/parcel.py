"""What a copy carries: images of one store with their names, and what refers to them. Values only."""

from __future__ import annotations

import msgspec

from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import Descriptor
from imagekit.workers import Ahead


class NamedImage(msgspec.Struct, frozen=True):
    """An image or index with its name in the layout (`app`) and in docker (`registry.example/app:1.0`); '' for none."""

    descriptor: Descriptor
    ref_name: str
    docker_tags: tuple[str, ...] = ()


class Parcel(msgspec.Struct, frozen=True):
    """Images of one store with their names; `told` is what refers to them, or what is finding that out."""

    store: BlobReader
    images: tuple[NamedImage, ...]
    told: tuple[Descriptor, ...] | Ahead[tuple[Descriptor, ...]] = ()

    @property
    def referrers(self) -> tuple[Descriptor, ...]:
        """Every manifest that refers to one of the images, or to these; raises what finding them raises.

        It has its subject in itself, or one of cosign's tags noted on it (`referrers.TAG`).
        """
        return self.told if isinstance(self.told, tuple) else self.told.result()
