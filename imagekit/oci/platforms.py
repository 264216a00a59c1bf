"""Which platforms an image is for, and what it has for one of them. Reads stores."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from imagekit.content import Digest
from imagekit.errors import UnreadableError
from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.documents import Descriptor, decode_config, decode_index, decode_manifest
from imagekit.platform import Platform, closest

_DEEPEST, _MOST = 4, 1000
_UNKNOWN = "unknown"
"""The operating system of what BuildKit puts beside an image."""


def offered(store: BlobReader, root: Descriptor, platforms: Collection[Platform] = ()) -> dict[Descriptor, Platform]:
    """Every image under a manifest or index, in order, with its platform: as the index states it, else as itself does.

    Where what is stated serves all of `platforms`, nothing else is read: a store may lack what nobody asks for. Raises
    `UnreadableError` for indexes nested too deep, or too many of them.
    """
    entries = list(dict.fromkeys(_manifests(store, root, set())))
    stated = {entry: entry.platform.plain for entry in entries if entry.platform and entry is not root}
    known = [platform for platform in stated.values() if platform.os != _UNKNOWN]
    if not platforms or any(closest(known, platform) is None for platform in platforms):
        stated |= {entry: own for entry in entries if entry not in stated and (own := _own(store, entry))}
    found = ((entry, stated.get(entry)) for entry in entries)
    return {entry: platform for entry, platform in found if platform is not None and platform.os != _UNKNOWN}


def select(store: BlobReader, root: Descriptor, platforms: Collection[Platform]) -> tuple[Descriptor, ...]:
    """The images under `root` that are for `platforms`, in its order.

    Raises `UnreadableError` that lists what there is, if a platform is not.
    """
    found = offered(store, root, platforms)
    places = {platform: closest(list(found.values()), platform) for platform in platforms}
    if lacking := sorted(str(platform) for platform, place in places.items() if place is None):
        there = ", ".join(sorted(map(str, set(found.values())))) or "no image at all"
        raise UnreadableError(f"image {root.digest} has no {', '.join(lacking)}", hint=f"it offers {there}")
    return tuple(entry for place, entry in enumerate(found) if place in places.values())


def _own(store: BlobReader, entry: Descriptor) -> Platform | None:
    """What the configuration says; None for what is no image."""
    manifest = decode_manifest(read_verified(store, entry), entry.media_type)
    return decode_config(read_verified(store, manifest.config)).platform if manifest.is_layered else None


def _manifests(store: BlobReader, found: Descriptor, read: set[Digest], depth: int = 1) -> Iterator[Descriptor]:
    """Every manifest below, in order; an index may hold indexes, as deep as `_DEEPEST`.

    Each index is read once: those that name each other's entries again and again would else never end.
    """
    if not found.is_index:
        yield found
        return
    if found.digest in read:
        return
    read.add(found.digest)
    if depth > _DEEPEST or len(read) > _MOST:
        raise UnreadableError(f"{found.digest} is an index nested more than {_DEEPEST} deep, or one of too many")
    for entry in decode_index(read_verified(store, found), found.media_type).manifests:
        if entry.is_document:
            yield from _manifests(store, entry, read, depth + 1)
