"""Whether an image keeps its promises, and where each of its files comes from. Reads stores."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import Digest
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.blobs import BlobReader, MissingBlobError, lives_elsewhere, open_verified, read_verified
from imagekit.oci.documents import Descriptor, History, Index, Manifest, decode_config, decode_document
from imagekit.oci.headers import FILE, FOLDER, HARD_LINK, LINK, heads
from imagekit.oci.inflate import Inflated
from imagekit.oci.parcel import Parcel
from imagekit.oci.reports import Check
from imagekit.oci.trees import Runnable, runnables

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
_MOST = 100_000
_BROKEN = (UnreadableError, IntegrityError)
"""What is missing, or not what was promised; a registry that does not answer is neither."""


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


def layered(store: BlobReader, root: Descriptor) -> Iterator[Runnable]:
    """The images under `root` that have a file system, in order."""
    return (one for one in runnables(store, root) if one.manifest.is_layered)


def told(one: Runnable) -> list[tuple[str, str]]:
    """For each layer what its line of the history says: how it was made, and why."""
    lines = [line for line in one.config.history or () if not line.empty_layer]
    missing = len(one.manifest.layers) - len(lines)
    return [(line.created_by, line.comment) for line in (*lines, *[History()] * max(missing, 0))]


def examine(parcel: Parcel, cancellation: Cancellation) -> Iterator[Check]:
    """Every manifest, index and blob, from the top: its bytes, each layer's diff id, their number, each platform.

    Reads everything once, but for layers that live elsewhere; what is missing or damaged does not hide the rest. Raises
    `NetworkError` where a registry does not answer, `UnreadableError` for too many documents to be one image.
    """
    store, layers = parcel.store, dict[Digest, _Unpacked]()
    sizes: dict[Digest, int] = {}
    waiting = deque([*(image.descriptor for image in parcel.images), *parcel.referrers])
    while waiting:
        cancellation.check()
        entry = waiting.popleft()
        if entry.digest in sizes:
            if (size := sizes[entry.digest]) != entry.size:
                yield _check(entry, f"{entry.digest} is promised with {size} and with {entry.size} bytes")
            continue
        sizes[entry.digest] = entry.size
        if len(sizes) > _MOST:
            raise UnreadableError(f"more than {_MOST} blobs, which is no image")
        if not entry.is_document:
            yield _blob(store, entry, layers)
            continue
        try:
            document = decode_document(read_verified(store, entry), entry.media_type)
        except _BROKEN as error:
            yield _check(entry, error.message)
            continue
        waiting.extend(document.children)
        if isinstance(document, Index):
            yield _check(entry, *_broken_index(store, document))
        else:
            yield _check(entry, *(_broken_image(store, entry, document, layers) if document.is_layered else ()))


def _check(entry: Descriptor, *broken: str, read: bool = True) -> Check:
    return Check(entry.digest, entry.media_type, entry.size, read, broken)


class _Unpacked(msgspec.Struct, frozen=True):
    """A layer that was read: the digest of its tar, or what is wrong with its bytes."""

    diff_id: Digest
    broken: tuple[str, ...] = ()


def _blob(store: BlobReader, blob: Descriptor, layers: Mapping[Digest, _Unpacked]) -> Check:
    if blob.digest in layers:
        return _check(blob, *layers[blob.digest].broken)
    if lives_elsewhere(store, blob):
        return _check(blob, read=False)
    return _check(blob, *_broken_blob(store, blob))


def _broken_blob(store: BlobReader, blob: Descriptor) -> Iterator[str]:
    try:
        with open_verified(store, blob.bare()) as stream:
            while stream.read(_PIECE):
                pass
    except _BROKEN as error:
        yield error.message


def _broken_index(store: BlobReader, index: Index) -> Iterator[str]:
    """Entries whose platform is not that of the image they name; one that cannot be read says so itself."""
    for entry in index.manifests:
        if entry.platform is None or not entry.is_manifest:
            continue
        with suppress(*_BROKEN):
            stated, found = entry.platform.plain, [one.config.platform for one in runnables(store, entry)]
            if found and (found[0].os, found[0].architecture) != (stated.os, stated.architecture):
                yield f"the index says {stated} of {entry.digest}, whose configuration says {found[0]}"


def _broken_image(
    store: BlobReader, descriptor: Descriptor, manifest: Manifest, layers: dict[Digest, _Unpacked]
) -> Iterator[str]:
    """What does not fit together; `layers` gets every layer that is read for that."""
    try:
        diff_ids = decode_config(read_verified(store, manifest.config)).rootfs.diff_ids
    except (MissingBlobError, IntegrityError):
        return  # the configuration says so itself
    except UnreadableError as error:
        yield f"configuration {manifest.config.digest}: {error.message}"
        return
    if len(diff_ids) != len(manifest.layers):
        counted = f"{len(manifest.layers)} layers, and its configuration {len(diff_ids)} diff ids"
        yield f"{descriptor.digest} has {counted}"
        return
    for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
        if lives_elsewhere(store, layer):
            continue
        if layer.digest not in layers:
            layers[layer.digest] = _unpack(store, layer)
        found = layers[layer.digest]
        if not found.broken and found.diff_id != diff_id:
            yield f"layer {layer.digest} unpacks to {found.diff_id}, and {descriptor.digest} promises {diff_id}"


def _unpack(store: BlobReader, layer: Descriptor) -> _Unpacked:
    try:
        with Inflated(store, layer) as tar:
            return _Unpacked(tar.finish())
    except _BROKEN as error:
        return _Unpacked(Digest(""), tuple(_broken_blob(store, layer)) or (error.message,))


def left_out(store: BlobReader, one: Runnable) -> tuple[Digest, ...]:
    """The layers of which `explain` can say nothing: they live elsewhere."""
    return tuple(layer.digest for layer in one.manifest.layers if lives_elsewhere(store, layer))


def explain(store: BlobReader, one: Runnable) -> Iterator[Origin]:
    """Every entry of every layer that is here, lowest layer first, in the order of its tar.

    Raises `IntegrityError` or `FormatError` for a layer that is not what it should be.
    """
    for layer, (made, why) in zip(one.manifest.layers, told(one), strict=False):
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
