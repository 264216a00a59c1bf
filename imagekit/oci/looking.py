"""What an image says of itself, whether it keeps its promises, and where each of its files comes from. Reads stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from imagekit.content import Digest
from imagekit.errors import ImagekitError
from imagekit.oci.blobs import BlobReader, lives_elsewhere, open_verified, read_verified
from imagekit.oci.documents import Descriptor, History, Index, Manifest, decode_config, decode_document
from imagekit.oci.headers import FILE, FOLDER, HARD_LINK, LINK, heads
from imagekit.oci.inflate import Inflated
from imagekit.oci.opening import Parcel
from imagekit.oci.referrers import tag_of, tagged_subject
from imagekit.oci.trees import Runnable, runnables, walk
from imagekit.workers import Cancellation

_KINDS = {
    FILE: "file",
    FOLDER: "folder",
    LINK: "link",
    HARD_LINK: "hard link",
    b"3": "device",
    b"4": "device",
    b"6": "pipe",
}
_PIECE = 1 << 20


class Origin(msgspec.Struct, frozen=True):
    """One entry of one layer: what it is, and what the image's history says of that layer."""

    path: str
    kind: str
    mode: str
    owner: str
    size: int
    layer: Digest
    created_by: str
    why: str


def inspect(parcel: Parcel) -> list[dict[str, Any]]:
    """Every image with its manifests, configurations and referrers, as plain values; no layer is read."""
    return [
        {
            "name": image.ref_name,
            "digest": image.descriptor.digest,
            "media_type": image.descriptor.media_type,
            "annotations": _annotations(parcel.store, image.descriptor),
            "platforms": [_platform(one) for one in layered(parcel.store, image.descriptor)],
            "referrers": [_referrer(parcel.store, one) for one in parcel.referrers],
        }
        for image in parcel.images
    ]


def layered(store: BlobReader, root: Descriptor) -> Iterator[Runnable]:
    """The images under `root` that have a file system, in order."""
    return (one for one in runnables(store, root) if one.manifest.is_layered)


def _annotations(store: BlobReader, root: Descriptor) -> dict[str, str]:
    return dict(sorted(decode_document(read_verified(store, root), root.media_type).annotations.items()))


def _platform(one: Runnable) -> dict[str, Any]:
    runtime = one.config.config
    return {
        "platform": str(one.config.platform),
        "manifest": one.descriptor.digest,
        "config": one.manifest.config.digest,
        "created": one.config.created,
        "layers": [
            {"digest": layer.digest, "size": layer.size, "media_type": layer.media_type, "diff_id": diff_id, "why": why}
            for layer, diff_id, (_, why) in zip(
                one.manifest.layers, one.config.rootfs.diff_ids, _told(one), strict=False
            )
        ],
        "user": runtime.user if runtime else "",
        "entrypoint": list((runtime.entrypoint if runtime else None) or ()),
        "cmd": list((runtime.cmd if runtime else None) or ()),
        "env": list((runtime.env if runtime else None) or ()),
        "labels": dict(sorted(((runtime.labels if runtime else None) or {}).items())),
        "size": sum(layer.size for layer in one.manifest.layers),
    }


def _referrer(store: BlobReader, descriptor: Descriptor) -> dict[str, Any]:
    document = decode_document(read_verified(store, descriptor), descriptor.media_type)
    kind = document.artifact_type or (document.config.media_type if isinstance(document, Manifest) else "")
    subject = document.subject.digest if document.subject else tagged_subject(descriptor)
    return {
        "digest": descriptor.digest,
        "artifact_type": kind,
        "subject": subject,
        "size": descriptor.size,
        "tag": tag_of(descriptor),
    }


def _told(one: Runnable) -> list[tuple[str, str]]:
    """For each layer what its line of the history says: how it was made, and why."""
    lines = [line for line in one.config.history or () if not line.empty_layer]
    missing = len(one.manifest.layers) - len(lines)
    return [(line.created_by, line.comment) for line in (*lines, *[History()] * max(missing, 0))]


def validate(parcel: Parcel, cancellation: Cancellation) -> Iterator[str]:
    """A sentence for everything that is not as promised: each blob's bytes, each layer's diff id, their number.

    Reads everything once, but for layers that live elsewhere. An image that keeps its promises gives nothing.
    """
    checked: set[Digest] = set()
    for root in (*(image.descriptor for image in parcel.images), *parcel.referrers):
        try:
            tree = walk(parcel.store, [root])
        except ImagekitError as error:
            yield error.message
            continue
        for blob in tree.blobs.values():
            cancellation.check()
            if blob.digest not in checked and not lives_elsewhere(parcel.store, blob):
                checked.add(blob.digest)
                yield from _broken_blob(parcel.store, blob)
        for node in tree.documents.values():
            if isinstance(node.document, Index):
                yield from _broken_index(parcel.store, node.document)
            elif node.document.is_layered:
                yield from _broken_image(parcel.store, node.descriptor, node.document)


def _broken_blob(store: BlobReader, blob: Descriptor) -> Iterator[str]:
    try:
        with open_verified(store, blob.bare()) as stream:
            while stream.read(_PIECE):
                pass
    except ImagekitError as error:
        yield error.message


def _broken_index(store: BlobReader, index: Index) -> Iterator[str]:
    """Entries whose platform is not that of the image they name."""
    for entry in index.manifests:
        if entry.platform is None or not entry.is_manifest:
            continue
        try:
            found = [one.config.platform for one in runnables(store, entry)]
        except ImagekitError as error:
            yield error.message
            continue
        stated = entry.platform.plain
        if found and (found[0].os, found[0].architecture) != (stated.os, stated.architecture):
            yield f"the index says {stated} of {entry.digest}, whose configuration says {found[0]}"


def _broken_image(store: BlobReader, descriptor: Descriptor, manifest: Manifest) -> Iterator[str]:
    try:
        diff_ids = decode_config(read_verified(store, manifest.config)).rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            counted = f"{len(manifest.layers)} layers, and its configuration {len(diff_ids)} diff ids"
            yield f"{descriptor.digest} has {counted}"
            return
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            if lives_elsewhere(store, layer):
                continue
            with Inflated(store, layer) as tar:
                if (found := tar.finish()) != diff_id:
                    yield f"layer {layer.digest} unpacks to {found}, and {descriptor.digest} promises {diff_id}"
    except ImagekitError as error:
        yield error.message


def explain(store: BlobReader, one: Runnable) -> Iterator[Origin]:
    """Every entry of every layer that is here, lowest layer first, in the order of its tar.

    Raises `IntegrityError` or `FormatError` for a layer that is not what it should be.
    """
    for layer, (made, why) in zip(one.manifest.layers, _told(one), strict=False):
        if lives_elsewhere(store, layer):
            continue
        with Inflated(store, layer) as source:
            for head in heads(source, tuple(_KINDS)):
                yield Origin(
                    path="/" + head.name.strip("/").removeprefix("./"),
                    kind=_KINDS[head.kind],
                    mode=f"{head.mode & 0o7777:04o}",
                    owner=f"{head.uid}:{head.gid}",
                    size=head.size,
                    layer=layer.digest,
                    created_by=made,
                    why=why,
                )
