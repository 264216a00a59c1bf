"""Take an image away from a layout or a registry, and from a layout what nothing leads to any more."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from imagekit.content import Digest
from imagekit.errors import UnreadableError, UsageError
from imagekit.oci.blobs import read_verified
from imagekit.oci.copy import walk
from imagekit.oci.documents import REF_NAME, Descriptor, Index, decode_document
from imagekit.oci.parts import sweep
from imagekit.oci.reference import Reference
from imagekit.oci.store import Layout
from imagekit.workers import Cancellation


def from_registry(reference: Reference, cancellation: Cancellation) -> str:
    """Delete the manifest that the reference stands for, and so every tag on it; its digest.

    A registry without tag deletion has no other way. Raises `MissingBlobError` if there is none.
    """
    from imagekit.oci.registry import connected

    if not reference.tag and not reference.digest:
        raise UsageError(f"{reference} names no image", hint="add :TAG or @sha256:…")
    with connected(reference, actions="pull,push,delete", cancellation=cancellation) as repository:
        digest = reference.digest or repository.resolve().digest
        repository.delete(digest)
    return digest


def from_layout(path: Path, name: str) -> tuple[Digest, int]:
    """Remove the entry `name`, then every blob that no other entry needs; its digest and the bytes that became free.

    What refers to the image goes with it, and so does what was left of blobs that were never finished. Raises
    `UnreadableError` that lists the names there are.
    """
    layout = Layout(path)
    entries = layout.index().manifests
    gone = [entry for entry in entries if name in (entry.annotations.get(REF_NAME), entry.digest)]
    if not gone:
        known = ", ".join(sorted(entry.annotations[REF_NAME] for entry in entries if REF_NAME in entry.annotations))
        raise UnreadableError(f"{layout} holds no image {name!r}", hint=f"it holds {known or 'no named image'}")
    kept = _without_orphans(layout, [entry for entry in entries if entry not in gone])
    layout.set_index(Index(manifests=tuple(kept)))
    return gone[0].digest, _sweep(layout, kept)


def _without_orphans(layout: Layout, entries: list[Descriptor]) -> list[Descriptor]:
    """The entries without those whose subject is no longer there."""
    while True:
        reached = {document.digest for document, _ in walk(layout, entries).documents}
        kept = [entry for entry in entries if (subject := _subject(layout, entry)) is None or subject in reached]
        if len(kept) == len(entries):
            return kept
        entries = kept


def _subject(layout: Layout, entry: Descriptor) -> Digest | None:
    if not entry.is_document:
        return None
    found = decode_document(read_verified(layout, entry), entry.media_type).subject
    return found.digest if found else None


def _sweep(layout: Layout, kept: list[Descriptor]) -> int:
    graph = walk(layout, kept)
    needed = {blob.digest for blob in graph.blobs} | {document.digest for document, _ in graph.documents}
    freed = sweep(layout.path, lambda _: True)
    for blob in sorted((layout.path / "blobs/sha256").iterdir()):
        if f"sha256:{blob.name}" not in needed:
            with suppress(FileNotFoundError):
                freed += blob.stat().st_size
                blob.unlink()
    return freed
