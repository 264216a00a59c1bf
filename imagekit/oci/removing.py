"""Take an image away: from a layout with what nothing leads to any more, from a registry no more than was named.

Touches disk, or the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import Digest
from imagekit.errors import NetworkError, UnreadableError, UsageError
from imagekit.oci.answers import StatusError
from imagekit.oci.blobs import MissingBlobError, read_verified
from imagekit.oci.documents import REF_NAME, Descriptor, decode_document
from imagekit.oci.parts import sweep
from imagekit.oci.reference import Reference
from imagekit.oci.referrers import cosign_tags, fallback_tag
from imagekit.oci.referring import subject_of
from imagekit.oci.repository import Repository
from imagekit.oci.store import Layout
from imagekit.oci.trees import walk
from imagekit.workers import Workers

_NO_TAG_DELETION = frozenset({400, 404, 405, 415, 501})
_MOST_TAGS = 10_000
_BLOB = re.compile(r"[0-9a-f]{64}")
_NAMED = 5


class Removed(msgspec.Struct, frozen=True):
    """What is gone: the image's digest; the tags that went (all that stood on it, or the one); the bytes set free."""

    digest: Digest
    tags: tuple[str, ...] = ()
    freed: int = 0


def from_registry(reference: Reference, cancellation: Cancellation) -> Removed:
    """Delete a tag alone, or, of a digest, the manifest with every tag on it and what refers to it.

    A registry that cannot delete tags gets the digest deleted, if no other tag leads to it. Raises `MissingBlobError`
    if there is none, `UsageError` where more would go than was named, `NetworkError` where the registry refuses.
    """
    from imagekit.oci.registry import connected
    from imagekit.oci.transport import CONNECTIONS

    if not reference.tag and not reference.digest:
        raise UsageError(f"{reference} names no image", hint="add :TAG or @sha256:…")
    with connected(reference, actions="pull,push,delete", cancellation=cancellation) as repository:
        workers = Workers(CONNECTIONS, cancellation)
        found = repository.resolve(reference.digest or reference.tag)
        if reference.digest:
            tags = tuple(tag for tag, seen in _tagged(repository, workers) if seen.digest == found.digest)
            _delete_digest(repository, found, tags)
            return Removed(found.digest, tags)
        if not _delete_tag(repository, reference.tag):
            if others := sorted(_leading(repository, found, reference.tag, workers)):
                raise _shared(reference, found, others)
            _delete_digest(repository, found, (reference.tag,))
        return Removed(found.digest, (reference.tag,))


def _delete_tag(repository: Repository, tag: str) -> bool:
    """Whether the registry deletes tags; raises `NetworkError` for one that only says so."""
    try:
        repository.delete(tag)
    except MissingBlobError:
        return False
    except StatusError as error:
        if error.status not in _NO_TAG_DELETION:
            raise
        return False
    _require_gone(repository, tag)
    return True


def _delete_digest(repository: Repository, image: Descriptor, tags: Sequence[str]) -> None:
    """Delete what refers to the image, then the image, then the tags that the registry keeps all the same."""
    signed = [seen for tag in cosign_tags(image.digest) if (seen := _resolved(repository, tag)) is not None]
    for referrer in (*repository.referrers(image.digest), *signed):
        with suppress(MissingBlobError):
            _delete(repository, referrer.digest)
    for tag in cosign_tags(image.digest):
        _forget(repository, tag)
    _delete(repository, image.digest)
    for tag in tags:
        _forget(repository, tag)
        _require_gone(repository, tag)
    fallback = fallback_tag(image.digest)
    with suppress(MissingBlobError):  # a list of nothing is the same for every image, and as good as none
        if not _children(repository, listed := repository.resolve(fallback)):
            _delete(repository, listed.digest)
            _forget(repository, fallback)


def _forget(repository: Repository, tag: str) -> None:
    """Delete a tag whose manifest is gone, where the registry has not done so itself."""
    with suppress(MissingBlobError, StatusError):
        repository.delete(tag)


def _delete(repository: Repository, digest: Digest) -> None:
    try:
        repository.delete(digest)
    except StatusError as error:
        if error.status != 405:
            raise
        raise NetworkError(
            f"{error.message}: the registry deletes nothing",
            hint="let its operator allow it (distribution: storage.delete.enabled: true)",
        ) from error


def _require_gone(repository: Repository, tag: str) -> None:
    with suppress(MissingBlobError):
        repository.resolve(tag)
        raise NetworkError(
            f"{repository}:{tag} is still there, although the registry says that it deleted it",
            hint="ask the registry's operator; a cache in front of it may be older",
        )


def _tagged(repository: Repository, workers: Workers) -> Iterator[tuple[str, Descriptor]]:
    """Every tag and what it stands for; raises `UnreadableError` for more than can be looked at."""
    tags = repository.tags()
    if len(tags) > _MOST_TAGS:
        raise UnreadableError(f"{repository} has {len(tags)} tags, too many to see which lead to the image")
    for tag, seen in workers.each(lambda tag: _resolved(repository, tag), tags):
        if seen is not None:
            yield tag, seen


def _resolved(repository: Repository, tag: str) -> Descriptor | None:
    with suppress(MissingBlobError, UnreadableError):
        return repository.resolve(tag)
    return None


def _leading(repository: Repository, image: Descriptor, but: str, workers: Workers) -> Iterator[str]:
    """The other tags on the image, and on indexes that hold it."""
    for tag, seen in _tagged(repository, workers):
        held = seen.digest == image.digest or (
            seen.is_index and any(one.digest == image.digest for one in _children(repository, seen))
        )
        if held and tag not in (but, fallback_tag(image.digest)):
            yield tag


def _children(repository: Repository, index: Descriptor) -> tuple[Descriptor, ...]:
    return decode_document(read_verified(repository, index), index.media_type).children


def _shared(reference: Reference, image: Descriptor, others: Sequence[str]) -> UsageError:
    named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
    return UsageError(
        f"{reference} cannot be deleted alone: this registry deletes no tags, and {named} lead to the same image",
        hint=f"to delete it for all of them: {reference.name}@{image.digest}",
    )


def from_layout(path: Path, name: str, cancellation: Cancellation | None = None) -> Removed:
    """Remove the entry `name`, then every blob that no other entry needs.

    What refers to the image and has no name of its own goes with it, and so does what was left of blobs that were never
    finished. Raises `UnreadableError` that lists the names there are.
    """
    layout = Layout(path)
    gone: list[Descriptor] = []

    def without(entries: tuple[Descriptor, ...]) -> list[Descriptor]:
        gone.extend(entry for entry in entries if name in (entry.annotations.get(REF_NAME), entry.digest))
        if not gone:
            known = ", ".join(sorted(entry.annotations[REF_NAME] for entry in entries if REF_NAME in entry.annotations))
            raise UnreadableError(f"{layout} holds no image {name!r}", hint=f"it holds {known or 'no named image'}")
        return _without_orphans(layout, [entry for entry in entries if entry not in gone], _documents(layout, gone))

    with layout.sweeping(cancellation):
        layout.change_index(without, cancellation)
        return Removed(gone[0].digest, freed=_sweep(layout, layout.index().manifests))


def _without_orphans(layout: Layout, entries: list[Descriptor], gone: set[Digest]) -> list[Descriptor]:
    """The entries without the unnamed ones whose subject went and is in none of those that stay."""
    while True:
        lost = gone - _documents(layout, entries)
        orphans = [
            entry for entry in entries if REF_NAME not in entry.annotations and subject_of(layout, entry) in lost
        ]
        if not orphans:
            return entries
        gone |= _documents(layout, orphans)
        entries = [entry for entry in entries if entry not in orphans]


def _documents(layout: Layout, entries: Sequence[Descriptor]) -> set[Digest]:
    return set(walk(layout, entries).documents)


def _sweep(layout: Layout, kept: Sequence[Descriptor]) -> int:
    """Take away what is a blob by its name and needed by nothing; the bytes freed.

    In a folder that is a link all stays: other layouts may have it too.
    """
    tree = walk(layout, kept)
    needed = tree.blobs.keys() | tree.documents.keys()
    freed, folder = sweep(layout.path, lambda _: True), layout.path / "blobs/sha256"
    if folder.is_symlink() or folder.parent.is_symlink():
        return freed
    for blob in sorted(folder.iterdir()):
        if _BLOB.fullmatch(blob.name) and f"sha256:{blob.name}" not in needed:
            with suppress(FileNotFoundError):
                freed += blob.stat().st_size
                blob.unlink()
    return freed
