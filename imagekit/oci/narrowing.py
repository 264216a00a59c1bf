"""Images for some of their platforms only, with what refers to just these. Reads stores; writes nothing."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from imagekit.oci.blobs import BlobReader, put, read_verified
from imagekit.oci.choosing import Stores
from imagekit.oci.documents import INDEX, Descriptor, Index, PlatformObject, decode_index, encode
from imagekit.oci.parcel import Parcel
from imagekit.oci.platforms import offered, select
from imagekit.oci.referring import reaching, subject_of
from imagekit.oci.store import Memory
from imagekit.platform import Platform


def only_platforms(parcel: Parcel, platforms: Collection[Platform]) -> Parcel:
    """The same images for these platforms; the parcel itself for none.

    For one platform it is that image without its index, whose digest would promise the others too; for several a new
    index of these, unless the old one has no others. What refers to something that is left out is left out too. Raises
    `UnreadableError` that lists what there is.
    """
    if not platforms:
        return parcel
    made = Memory()
    images = tuple(
        msgspec.structs.replace(image, descriptor=_narrowed(parcel.store, image.descriptor, platforms, made))
        for image in parcel.images
    )
    subjects = [(entry, subject_of(parcel.store, entry)) for entry in parcel.referrers]
    store = Stores([made, parcel.store])
    return Parcel(store, images, tuple(reaching(store, subjects, [image.descriptor for image in images])))


def _narrowed(store: BlobReader, root: Descriptor, platforms: Collection[Platform], made: Memory) -> Descriptor:
    chosen = select(store, root, platforms)
    if len(chosen) == 1:
        return chosen[0]
    found = offered(store, root)
    if len(chosen) == len(found):
        return root
    index = decode_index(read_verified(store, root), root.media_type)
    entries = tuple(
        entry if entry.platform else msgspec.structs.replace(entry, platform=PlatformObject.of(found[entry]))
        for entry in chosen
    )
    return put(made, encode(Index(manifests=entries, annotations=index.annotations)), INDEX)
