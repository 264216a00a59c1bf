"""What `imagekit image` prints as JSON, key by key, and the JSON Schemas of it (docs/schema/image-*.schema.json).

Every key is always there; null is unknown, or none. Values only.
"""

from __future__ import annotations

from typing import Any

import msgspec

from imagekit.content import Digest


class CopiedImage(msgspec.Struct, frozen=True):
    """One image at its new place."""

    image: str
    """The word for it: a SUBJECT of every command."""
    name: str | None
    digest: Digest
    """Its own where manifests are kept; in engines and docker archives their id of it, its configuration's digest."""


class CopyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`imagekit image copy --format json`."""

    schema: str = "urn:imagekit:image-copy:v1"
    images: tuple[CopiedImage, ...]


class ListedImage(msgspec.Struct, frozen=True):
    """One image of a place."""

    image: str
    """The word for it."""
    name: str | None
    """In a layout or archive its name, in a registry its tag."""
    digest: Digest | None
    """As `image copy` has it; null for tags that were not asked about."""


class ListDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`imagekit image list --format json`."""

    schema: str = "urn:imagekit:image-list:v1"
    images: tuple[ListedImage, ...]


class LayerEntry(msgspec.Struct, frozen=True):
    """One layer, and what the image's history says of it."""

    digest: Digest
    size: int
    media_type: str
    diff_id: Digest
    why: str


class PlatformEntry(msgspec.Struct, frozen=True):
    """One manifest that an engine could start; `size` is the sum of its layers, in bytes."""

    platform: str
    manifest: Digest
    config: Digest
    created: str | None
    layers: tuple[LayerEntry, ...]
    user: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: tuple[str, ...]
    labels: dict[str, str]
    size: int


class ReferrerEntry(msgspec.Struct, frozen=True):
    """One manifest that refers to the image, to one of its platforms, or to another referrer."""

    digest: Digest
    artifact_type: str
    subject: Digest | None
    tag: str | None
    """cosign's, for what has no subject in itself."""
    size: int


class InspectedImage(msgspec.Struct, frozen=True):
    """One image of the SUBJECT."""

    name: str
    digest: Digest
    media_type: str
    annotations: dict[str, str]
    platforms: tuple[PlatformEntry, ...]
    referrers: tuple[ReferrerEntry, ...]


class InspectDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`imagekit image inspect`."""

    schema: str = "urn:imagekit:image-inspect:v1"
    images: tuple[InspectedImage, ...]


class Check(msgspec.Struct, frozen=True):
    """One manifest, index or blob that was looked at; `broken` says what is not as promised."""

    digest: Digest
    media_type: str
    size: int
    read: bool = True
    """False for a layer that is not distributed with its image and is not there."""
    broken: tuple[str, ...] = ()


class ValidateDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`imagekit image validate --format json`."""

    schema: str = "urn:imagekit:image-validate:v1"
    image: str
    """The SUBJECT as it was written."""
    valid: bool
    checked: tuple[Check, ...]


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each document, by its command; every key is required."""
    documents: dict[str, type[msgspec.Struct]] = {
        "copy": CopyDocument,
        "list": ListDocument,
        "inspect": InspectDocument,
        "validate": ValidateDocument,
    }
    return {name: _schema(document) for name, document in documents.items()}


def _schema(document: type[msgspec.Struct]) -> dict[str, Any]:
    made = msgspec.json.schema(document)
    for definition in made["$defs"].values():
        definition["required"] = sorted(definition["properties"])
    [named] = [field.default for field in msgspec.structs.fields(document) if field.name == "schema"]
    return {"$id": named, "$schema": "https://json-schema.org/draft/2020-12/schema", **made}
