"""What a copy carries: images of one store with their names, and what refers to them. Values only."""

from __future__ import annotations

import msgspec

from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import CONTAINERD_NAME, REF_NAME, Descriptor
from imagekit.workers import Ahead


class NamedImage(msgspec.Struct, frozen=True):
    """An image or index with its name in the layout (`app`) and in docker (`registry.example/app:1.0`); '' for none."""

    descriptor: Descriptor
    ref_name: str
    docker_tags: tuple[str, ...] = ()

    @property
    def entry(self) -> Descriptor:
        """The entry of `index.json` that names it: reference name and containerd's name, as far as it has them."""
        names = {REF_NAME: self.ref_name, CONTAINERD_NAME: next(iter(self.docker_tags), "")}
        bare = without_names(self.descriptor)
        return msgspec.structs.replace(
            bare, annotations={**bare.annotations, **{key: name for key, name in names.items() if name}}
        )


def without_names(descriptor: Descriptor) -> Descriptor:
    """An entry of `index.json` that names nothing; it holds and links to no bytes either."""
    kept = {key: value for key, value in descriptor.annotations.items() if key not in (REF_NAME, CONTAINERD_NAME)}
    return msgspec.structs.replace(descriptor, annotations=kept, data="", urls=())


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
