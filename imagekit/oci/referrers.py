"""Referrers: artifacts that name an image as their subject, and the tag that lists them where a registry does not.

Distribution spec 1.1, "Listing referrers" and "Referrers tag schema". cosign's older signatures, attestations and SBOMs
have no subject: what they are of stands in their tag alone (cosign, SIGNATURE_SPEC.md). Values only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from imagekit.content import Digest, hex_of
from imagekit.errors import UnreadableError
from imagekit.oci.documents import INDEX, REF_NAME, Descriptor, Index, Manifest, decode_document, decode_index

LIMIT = 10_000
"""Referrers of one image: more are not read."""
TAG = "imagekit.tag"
"""On an entry of `index.json`, which has no name: the tag that says what the manifest is of."""
_COSIGN = (".sig", ".att", ".sbom")
_BOOKKEEPING = re.compile(r"sha256-(?P<hex>[0-9a-f]{64})(?P<kind>\.[a-z]+)?")


def fallback_tag(digest: Digest) -> str:
    """The tag under which clients keep the list on a registry without the referrers API."""
    return f"sha256-{hex_of(digest)}"


def cosign_tags(digest: Digest) -> tuple[str, ...]:
    """The tags under which cosign keeps what it says of an image."""
    return tuple(f"sha256-{hex_of(digest)}{kind}" for kind in _COSIGN)


def is_bookkeeping(tag: str) -> bool:
    """Whether no image has this tag, but a list of referrers or what cosign says of one."""
    return bool(_BOOKKEEPING.fullmatch(tag))


def is_fallback(tag: str) -> bool:
    """Whether it is the tag of a list of referrers."""
    found = _BOOKKEEPING.fullmatch(tag)
    return bool(found and not found["kind"])


def tag_of(entry: Descriptor) -> str:
    """cosign's tag of an entry that some tool named by it or that we have noted it on; '' for all others."""
    tags = (entry.annotations.get(key, "") for key in (TAG, REF_NAME))
    return next((tag for tag in tags if (found := _BOOKKEEPING.fullmatch(tag)) and found["kind"] in _COSIGN), "")


def tagged_subject(entry: Descriptor) -> Digest | None:
    """What a manifest that has one of cosign's tags is of."""
    found = _BOOKKEEPING.fullmatch(tag_of(entry))
    return Digest(f"sha256:{found['hex']}") if found else None


def unnamed(entry: Descriptor, tag: str = "") -> Descriptor:
    """The entry as a list of images has it: no name, and cosign's tag noted if it has one."""
    tag = tag or tag_of(entry)
    return msgspec.structs.replace(entry.bare(), annotations={TAG: tag} if tag else {})


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
