"""What refers to an image: manifests that have it, or each other, as their `subject`. Reads stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagekit.content import Digest
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.documents import Descriptor, Document, decode_document
from imagekit.oci.referrers import tagged_subject

_DEEPEST, _MOST = 8, 10_000


def readable(store: BlobReader, entry: Descriptor) -> Document | None:
    """The manifest or index; None for one that is missing or damaged, which whoever needs it will meet again."""
    try:
        return decode_document(read_verified(store, entry), entry.media_type)
    except (UnreadableError, IntegrityError):
        return None


def inside(store: BlobReader, roots: Iterable[Descriptor]) -> dict[Digest, Descriptor]:
    """All manifests and indexes that the roots lead to, themselves included, as far as they can be read."""
    found: dict[Digest, Descriptor] = {}
    level = list(roots)
    for _ in range(_DEEPEST):
        new = {entry.digest: entry for entry in level if entry.is_document and entry.digest not in found}
        found.update(new)
        if not new or len(found) > _MOST:
            break
        documents = (readable(store, entry) for entry in new.values() if entry.is_index)
        level = [child for document in documents if document is not None for child in document.children]
    return found


def reaching(
    store: BlobReader, referrers: Iterable[tuple[Descriptor, Digest | None]], roots: Iterable[Descriptor]
) -> Iterator[Descriptor]:
    """The referrers whose subject is inside the roots, then those that refer to these, until nothing is added.

    Each comes with its subject; one whose subject cannot be read is taken along.
    """
    there = set(inside(store, roots))
    waiting = {entry.digest: (entry, subject) for entry, subject in referrers if entry.digest not in there}
    while ready := [digest for digest, (_, subject) in waiting.items() if subject is None or subject in there]:
        for digest in ready:
            entry, _ = waiting.pop(digest)
            there |= set(inside(store, [entry]))
            yield entry


def subject_of(store: BlobReader, entry: Descriptor) -> Digest | None:
    """What a referrer says that it refers to, or its tag says of it."""
    if found := tagged_subject(entry):
        return found
    document = readable(store, entry)
    return document.subject.digest if document is not None and document.subject is not None else None
