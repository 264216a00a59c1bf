"""Everything is a copy between blob stores: a push, a pull, a layout made from another. Touches only the two stores."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator

from imagekit.errors import UnreadableError
from imagekit.oci.blobs import BlobReader, BlobStore, Mounting, Sorting, read_verified
from imagekit.oci.documents import FOREIGN_LAYERS, Descriptor, decode_document
from imagekit.oci.parts import sweep
from imagekit.oci.store import Layout
from imagekit.oci.streams import OnDemand
from imagekit.oci.trees import walk
from imagekit.platform import Platform
from imagekit.workers import Cancellation, Workers


def copy(
    source: BlobReader,
    destination: BlobStore,
    root: Descriptor,
    *,
    platforms: Collection[Platform] | None = None,
    workers: Workers | None = None,
) -> frozenset[Descriptor]:
    """Bring `root` and all that it needs from one store to another; return what was not there before.

    Blobs move first, as many at a time as `workers` has jobs, then manifests, children before parents, so that nothing
    stands in the destination before what it names. With `platforms`, only the manifests of an index that match are
    brought, and the index is not: its digest would promise what is missing. Every blob is checked while it is read.
    Raises what the stores raise, and `UnreadableError` for an image too deep or large to be one.
    """
    roots = (root,) if platforms is None else select(source, root, platforms)
    tree = walk(source, roots)
    if isinstance(destination, Sorting):
        for node in tree.documents.values():
            destination.learn(node.descriptor)
    absent = [
        blob for blob in tree.blobs.values() if not _passed_over(source, blob) and not _is_there(destination, blob)
    ]
    several = workers or Workers(1, Cancellation())
    moved = {blob for blob, _ in several.each(lambda blob: _move(source, destination, blob), absent)}
    for node in tree.documents.values():
        several.cancellation.check()
        if not _is_there(destination, node.descriptor):
            destination.add(io.BytesIO(node.raw), node.descriptor)
            moved.add(node.descriptor)
    if isinstance(destination, Layout):
        sweep(destination.path, destination.has)
    return frozenset(moved)


def select(source: BlobReader, root: Descriptor, platforms: Collection[Platform]) -> tuple[Descriptor, ...]:
    """The entries of the index `root` for `platforms`, in its order; `root` itself if it is no index.

    Raises `UnreadableError` that lists what there is, if a platform is not.
    """
    if not root.is_index:
        return (root,)
    entries = decode_document(read_verified(source, root), root.media_type).children
    found = {entry.platform.plain: entry for entry in reversed(entries) if entry.platform is not None}
    if lacking := sorted(str(platform) for platform in platforms if platform not in found):
        offered = ", ".join(sorted(map(str, found))) or "none"
        raise UnreadableError(f"image {root.digest} has no {', '.join(lacking)}", hint=f"it offers {offered}")
    return tuple(entry for platform, entry in reversed(found.items()) if platform in platforms)


def _passed_over(source: BlobReader, blob: Descriptor) -> bool:
    """A layer that says its bytes live elsewhere is never fetched from there."""
    return blob.media_type in FOREIGN_LAYERS and not source.has(blob.digest)


def _is_there(destination: BlobStore, blob: Descriptor) -> bool:
    """Whether it need not be moved; a layout's file that a power cut left short must be."""
    if isinstance(destination, Layout):
        return destination.size_of(blob.digest) == blob.size
    return destination.has(blob.digest)


def _move(source: BlobReader, destination: BlobStore, blob: Descriptor) -> None:
    if isinstance(source, Layout) and isinstance(destination, Layout):
        destination.add_file(source.blob_path(blob.digest), blob.digest)
        return
    if isinstance(destination, Mounting) and destination.mount(source, blob):
        return
    with OnDemand(source, blob) if isinstance(destination, Layout) else source.open(blob.digest) as stream:
        destination.add(stream, blob)


def missing(store: BlobReader, root: Descriptor) -> Iterator[Descriptor]:
    """The blobs under `root` that `store` does not hold, in the order found; documents must be there."""
    return (blob for blob in walk(store, (root,)).blobs.values() if not store.has(blob.digest))
