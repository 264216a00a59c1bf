"""Provenance and the statements that carry it: written once, read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from imagekit.content import digest_of
from imagekit.errors import UnreadableError
from imagekit.oci.blobs import put, read_verified
from imagekit.oci.documents import INDEX, Descriptor, Index, decode_manifest, encode
from imagekit.oci.store import Memory
from imagekit.trust.provenance import (
    BUILD_TYPE,
    LOCAL_BUILDER,
    PREDICATE,
    BuildDefinition,
    Builder,
    ConfigFile,
    Parameters,
    Provenance,
    RunDetails,
    Settings,
    Source,
    decode_provenance,
    encode_provenance,
)
from imagekit.trust.statement import Resource, attach, attached

IMAGE = digest_of(b"an image")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TARGET = {"id": "app:linux/amd64", "main": ".", "prebuilt": "", "toolchain": "go1.26.8", "vcs": True}
WHOLE = Provenance(
    BuildDefinition(
        BUILD_TYPE,
        Parameters(
            image="app",
            source=Source({"gitCommit": COMMIT}, uri="git+https://git.example/app", tags={"v1.0.0": COMMIT}),
            config=ConfigFile("imagekit.yaml", "version: 1\n"),
            targets=("app:linux/amd64",),
            environment={"Z": "1", "A": "2"},
            created=1700000000,
        ),
        Settings("isal 1 level 2", (TARGET,)),
        (Resource(uri=f"git+https://git.example/app@{COMMIT}", digest={"gitCommit": COMMIT}),),
    ),
    RunDetails(Builder(LOCAL_BUILDER, {"imagekit": "0.1.0"})),
)
SUBJECT = (Resource("registry.example/app", digest={"sha256": IMAGE.removeprefix("sha256:")}),)


def test_what_was_written_is_read_again() -> None:
    raw = encode_provenance(SUBJECT, WHOLE)
    assert decode_provenance(raw, IMAGE) == WHOLE
    assert encode_provenance(SUBJECT, decode_provenance(raw, IMAGE)) == raw
    assert raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":")).encode()


def test_the_names_are_those_of_the_specifications() -> None:
    said = json.loads(encode_provenance(SUBJECT, WHOLE))
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert said["subject"] == [{"name": "registry.example/app", "digest": {"sha256": IMAGE.removeprefix("sha256:")}}]
    definition, details = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    assert set(definition) == {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}
    assert details["builder"] == {"id": "urn:imagekit:builder:local", "version": {"imagekit": "0.1.0"}}


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    said = json.loads(encode_provenance(SUBJECT, WHOLE))
    change(said)
    return json.dumps(said).encode()


def _settings(other: dict[str, Any]) -> bytes:
    return _changed(lambda said: said["predicate"]["buildDefinition"]["internalParameters"].update(other))


WRONG = {
    "no json": (b"{", "no in-toto statement"),
    "nested": (b"[" * 100_000, "no in-toto statement"),
    "not utf-8": (b'{"_type": "\xff"}', "no in-toto statement"),
    "a list": (b"[]", "no in-toto statement"),
    "another type": (_changed(lambda said: said.update(_type="https://in-toto.io/Statement/v0.1")), "v0.1"),
    "another predicate": (_changed(lambda said: said.update(predicateType="https://spdx.dev/Document")), "spdx"),
    "another subject": (_changed(lambda said: said["subject"][0]["digest"].update(sha256="0" * 64)), "not about"),
    "a digest of another kind": (_changed(lambda said: said["subject"][0].update(digest={"sha1": "0"})), "not about"),
    "no subject": (_changed(lambda said: said.update(subject=[])), "not about"),
    "another build type": (
        _changed(lambda said: said["predicate"]["buildDefinition"].update(buildType="https://other.example")),
        "only urn:imagekit:build:v1",
    ),
    "no parameters": (
        _changed(lambda said: said["predicate"]["buildDefinition"].pop("externalParameters")),
        "no provenance that imagekit wrote",
    ),
    "no target": (_settings({"targets": []}), "names no target"),
    "a target without a main package": (
        _settings({"targets": [{"id": "app:linux/amd64"}]}),
        "no provenance that imagekit",
    ),
    "a toolchain of another type": (_settings({"targets": [TARGET | {"toolchain": 3}]}), "no provenance that imagekit"),
}


@pytest.mark.parametrize(("raw", "why"), WRONG.values(), ids=WRONG)
def test_anything_else_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        decode_provenance(raw, IMAGE)


def test_a_statement_stands_beside_its_image() -> None:
    store = Memory()
    image = put(store, encode(Index(manifests=())), INDEX, annotations={"name": "app"})
    raw = encode_provenance(SUBJECT, WHOLE)
    referrer = attach(store, image, raw, PREDICATE)
    assert attach(store, image, raw, PREDICATE) == referrer
    manifest = decode_manifest(read_verified(store, referrer))
    assert manifest.subject == Descriptor(INDEX, image.digest, image.size)
    assert manifest.artifact_type == referrer.artifact_type == "application/vnd.in-toto+json"
    assert attached(store, referrer, PREDICATE) == raw
    assert attached(store, referrer, "https://spdx.dev/Document") is None
