"""Everything is a copy between blob stores: a push, a pull, a layout made from another. Touches only the two stores."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

from imagekit.cancellation import Cancellation
from imagekit.oci.blobs import BlobReader, BlobStore, Gathered, Mounting, Sorting, WrongBytesError, lives_elsewhere
from imagekit.oci.documents import Descriptor
from imagekit.oci.parts import sweep
from imagekit.oci.store import Layout
from imagekit.oci.streams import OnDemand
from imagekit.oci.trees import walk
from imagekit.workers import Checked, Workers


def copy(
    source: BlobReader,
    destination: BlobStore,
    root: Descriptor,
    *,
    workers: Workers | None = None,
) -> frozenset[Descriptor]:
    """Bring `root` and all that it needs from one store to another; return what was not there before.

    Blobs move first, as many at a time as `workers` has jobs, then manifests, children before parents, so that nothing
    stands in the destination before what it names. Every blob is checked while it is read. Raises what the stores
    raise, and `UnreadableError` for an image too deep or large to be one.
    """
    tree = walk(source, (root,))
    if isinstance(destination, Sorting):
        for node in tree.documents.values():
            destination.learn(node.descriptor)
    absent = [
        blob for blob in tree.blobs.values() if not lives_elsewhere(source, blob) and not _is_there(destination, blob)
    ]
    absent.sort(key=lambda blob: -blob.size)  # a large one at the end would be waited for alone
    several = workers or Workers(1, Cancellation())
    moved = {blob for blob, _ in several.each(partial(_move, source, destination, several.cancellation), absent)}
    for node in tree.documents.values():
        several.cancellation.check()
        if not _is_there(destination, node.descriptor):
            destination.add(io.BytesIO(node.raw), node.descriptor)
            moved.add(node.descriptor)
    if isinstance(destination, Layout):
        sweep(destination.path, destination.has)
    return frozenset(moved)


def _is_there(destination: BlobStore, blob: Descriptor) -> bool:
    """Whether it need not be moved; a layout's file that a power cut left short must be."""
    if isinstance(destination, Layout):
        return destination.size_of(blob.digest) == blob.size
    return destination.has(blob.digest)


def _move(source: BlobReader, destination: BlobStore, cancellation: Cancellation, blob: Descriptor) -> None:
    if isinstance(source, Gathered):
        source = source.holder(blob.digest)
    if isinstance(source, Layout) and isinstance(destination, Layout) and source.size_of(blob.digest) == blob.size:
        destination.add_file(source.blob_path(blob.digest), blob.digest)
        return
    if isinstance(destination, Mounting) and destination.mount(source, blob):
        return
    with OnDemand(source, blob) as stream:
        while True:
            try:
                destination.add(Checked(stream, cancellation), blob)
                return
            except WrongBytesError as error:
                if not stream.doubt(error):
                    raise


def missing(store: BlobReader, root: Descriptor) -> Iterator[Descriptor]:
    """The blobs under `root` that `store` does not hold, in the order found; documents must be there."""
    return (blob for blob in walk(store, (root,)).blobs.values() if not store.has(blob.digest))
