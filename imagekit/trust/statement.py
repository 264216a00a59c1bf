"""Statements: who says what of which bytes (in-toto Statement v1), and how one is kept beside an image. Values only.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from __future__ import annotations

import msgspec

from imagekit.content import canonical_json, parse_json
from imagekit.errors import UnreadableError
from imagekit.oci.blobs import BlobReader, BlobStore, put, read_verified
from imagekit.oci.documents import (
    EMPTY_DESCRIPTOR,
    EMPTY_JSON,
    MANIFEST,
    Descriptor,
    Manifest,
    decode_manifest,
    encode,
)

TYPE = "https://in-toto.io/Statement/v1"
MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "in-toto.io/predicate-type"
"""The annotation that says which predicate a kept statement has, as BuildKit and others write it."""
LARGEST = 16 << 20


class Resource(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Anything that has a name, an address or a digest (in-toto resource_descriptor.md, digest_set.md)."""

    name: str = ""
    uri: str = ""
    digest: dict[str, str] = {}


class Statement(msgspec.Struct, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}):
    """`subject` are the bytes that it is about; `predicate` is what `predicate_type` says it is."""

    type: str
    subject: tuple[Resource, ...]
    predicate_type: str
    predicate: msgspec.Raw


def encode_statement(subject: tuple[Resource, ...], predicate_type: str, predicate: object) -> bytes:
    """The bytes of a statement: compact, keys sorted."""
    said = Statement(TYPE, subject, predicate_type, msgspec.Raw(canonical_json(predicate)))
    return canonical_json(msgspec.json.decode(msgspec.json.encode(said)))


def decode_statement(raw: bytes, predicate_type: str) -> Statement:
    """The statement that `raw` is; raises `UnreadableError` for anything else, and for another predicate."""
    try:
        statement = parse_json(raw, Statement)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"this is no in-toto statement: {error}") from error
    if statement.type != TYPE or statement.predicate_type != predicate_type:
        raise UnreadableError(
            f"this is a {statement.type} with {statement.predicate_type}, not a {TYPE} with {predicate_type}"
        )
    return statement


def attach(store: BlobStore, subject: Descriptor, statement: bytes, predicate_type: str) -> Descriptor:
    """Keep an unsigned statement as a referrer of `subject` (image-spec, manifest.md); its manifest's descriptor."""
    put(store, EMPTY_JSON, EMPTY_DESCRIPTOR.media_type)
    layer = put(store, statement, MEDIA_TYPE, annotations={PREDICATE_TYPE: predicate_type})
    manifest = Manifest(
        artifact_type=MEDIA_TYPE, config=EMPTY_DESCRIPTOR, layers=(layer,), subject=subject.bare(), annotations={}
    )
    return put(store, encode(manifest), MANIFEST, artifact_type=MEDIA_TYPE)


def attached(store: BlobReader, referrer: Descriptor, predicate_type: str) -> bytes | None:
    """The statement that `attach` kept; None for a referrer that keeps something else. Its digests are checked."""
    manifest = decode_manifest(read_verified(store, referrer), referrer.media_type)
    if manifest.artifact_type != MEDIA_TYPE or len(manifest.layers) != 1:
        return None
    [layer] = manifest.layers
    if layer.annotations.get(PREDICATE_TYPE) != predicate_type:
        return None
    return read_verified(store, layer, LARGEST)
