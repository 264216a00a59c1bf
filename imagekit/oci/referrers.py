"""Referrers: artifacts that name an image as their subject, and the tag that lists them where a registry does not.

Distribution spec 1.1, "Listing referrers" and "Referrers tag schema". Values only.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from imagekit.content import Digest, hex_of
from imagekit.errors import UnreadableError
from imagekit.oci.documents import INDEX, Descriptor, Index, Manifest, decode_document, decode_index

LIMIT = 10_000
"""Referrers of one image: more are not read."""


def fallback_tag(digest: Digest) -> str:
    """The tag under which clients keep the list on a registry without the referrers API."""
    return f"sha256-{hex_of(digest)}"


def entry_of(raw: bytes, descriptor: Descriptor) -> tuple[Descriptor, Descriptor] | None:
    """The subject of a manifest or index, and how lists show it: with artifact type and annotations. None: no subject.

    The artifact type of an image manifest without one is the media type of its configuration.
    """
    try:
        document = decode_document(raw, descriptor.media_type)
    except UnreadableError:
        return None
    if document.subject is None:
        return None
    kind = document.artifact_type or (document.config.media_type if isinstance(document, Manifest) else "")
    shown = msgspec.structs.replace(descriptor.bare(), artifact_type=kind, annotations=document.annotations)
    return document.subject, shown


def read_list(raw: bytes) -> tuple[Descriptor, ...]:
    """The entries of a list; raises `UnreadableError` for what is no image index."""
    return decode_index(raw, INDEX).manifests


def added(entries: Iterable[Descriptor], new: Descriptor) -> Index:
    """The list with `new` in it, once, at the end."""
    return Index(manifests=(*(each for each in entries if each.digest != new.digest), new))


def removed(entries: Iterable[Descriptor], digest: Digest) -> Index:
    """The list without `digest`."""
    return Index(manifests=tuple(each for each in entries if each.digest != digest))


def chosen(entries: Iterable[Descriptor], artifact_type: str) -> tuple[Descriptor, ...]:
    """Those of one artifact type, all for ''; each digest once."""
    found = {each.digest: each for each in entries if artifact_type in ("", each.artifact_type)}
    return tuple(found.values())
