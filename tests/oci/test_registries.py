"""The same against real registries: go-containerregistry's, with and without the referrers API, distribution 3.1, and
Debian's docker-registry 2.8.

All but the last run in containers of images that imagekit built.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import digest_of, hex_of
from imagekit.errors import NetworkError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, put, read_verified
from imagekit.oci.copy import copy
from imagekit.oci.credentials import Credentials
from imagekit.oci.login import keep, verify
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Layout, Memory
from imagekit.oci.uploads import Upload
from imagekit.workers import Workers

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("alone")]
ACCOUNT = "me:$2b$04$HoDgeR2rGS.McRDnjpa9R.dnKIgMINdiIddwn9S08AuB6XyNtcVUy\n"
"""`secret`, by bcrypt, at the lowest cost."""
KINDS = ("registry", "referrers", "distribution", "docker-registry")
OF_GO_CONTAINERREGISTRY = KINDS[:2]
PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture(scope="module", params=KINDS)
def real(request, registry_of) -> SimpleNamespace:
    """A registry of each kind; `mounts` says whether it can, `checks` whether a manifest's blobs must be there."""
    kind = request.param
    able = kind not in OF_GO_CONTAINERREGISTRY
    return SimpleNamespace(host=registry_of(kind), kind=kind, mounts=able, checks=able)


def at(host: str, rest: str, actions: str = "pull,push"):
    return connected(Reference.parse(f"{host}/{rest}"), cancellation=Cancellation(), actions=actions)


def send(store, image, host: str, rest: str, *tags: str):
    return push(store, image, Reference.parse(f"{host}/{rest}"), tags, cancellation=Cancellation())


def test_there_and_back_byte_for_byte(real, tmp_path, build_image, peer):
    layout, back = Layout.create(tmp_path / "there"), Layout.create(tmp_path / "back")
    image = build_image(layout, *PLATFORMS, content=os.urandom(2 << 20))
    assert len(send(layout, image, real.host, "round/app:1.0", "latest")) == 7
    assert send(layout, image, real.host, "round/app:1.0", "latest") == frozenset()
    subprocess.run([peer("crane"), "validate", "--remote", f"{real.host}/round/app:latest"], check=True)
    words = [peer("skopeo"), "inspect", "--tls-verify=false", f"docker://{real.host}/round/app:1.0"]
    told = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    assert told["Digest"] == image.digest
    with at(real.host, "round/app:1.0", "pull") as repository:
        root = repository.resolve()
        copy(repository, back, root, workers=Workers(3, Cancellation()))
        assert set(repository.tags()) == {"1.0", "latest"}
    assert root == image.bare()
    subprocess.run(["diff", "-r", layout.path / "blobs", back.path / "blobs"], check=True)


def test_a_manifest_that_was_deleted_below_its_index_comes_back_with_the_next_push(real, build_image, peer):
    store = Memory()
    image = build_image(store, *PLATFORMS, content=b"retention")
    send(store, image, real.host, "kept/app:1.0")
    child = doc.decode_index(read_verified(store, image)).manifests[1]
    with at(real.host, "kept/app", "pull,push,delete") as repository:
        repository.delete(child.digest)
    assert child.digest in {each.digest for each in send(store, image, real.host, "kept/app:1.0")}
    subprocess.run([peer("crane"), "validate", "--remote", f"{real.host}/kept/app:1.0"], check=True)
    assert send(store, image, real.host, "kept/app:1.0") == frozenset()


def test_referrers_by_the_api_or_the_fallback_tag(real, build_image, peer):
    """None of the four says `OCI-Subject`; where there is no API the tag is written, and foreign tools find it."""
    store = Memory()
    image = build_image(store, "linux/amd64", content=b"refer")
    store.add(io.BytesIO(doc.EMPTY_JSON))
    send(store, image, real.host, "refer/app:1.0")
    artifacts = [_artifact(store, image, f"application/vnd.test.{number % 2}", number) for number in range(3)]
    for each in artifacts:
        send(store, each, real.host, "refer/app")
    with at(real.host, "refer/app") as repository:
        assert {each.digest for each in repository.referrers(image.digest)} == {each.digest for each in artifacts}
        assert all(read_verified(repository, each) for each in repository.referrers(image.digest))
        repository.delete(artifacts[0].digest)
        assert len(repository.referrers(image.digest)) == 2
        lists = [tag for tag in repository.tags() if tag.startswith("sha256-")]
    assert lists == ([] if real.kind == "referrers" else [f"sha256-{hex_of(image.digest)}"])
    if lists and real.kind != "registry":
        words = [peer("crane"), "manifest", f"{real.host}/refer/app:sha256-{hex_of(image.digest)}"]
        told = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        assert [each["artifactType"] for each in told["manifests"]] == [
            "application/vnd.test.1",
            "application/vnd.test.0",
        ]


def _artifact(store: Memory, image: doc.Descriptor, kind: str, number: int) -> doc.Descriptor:
    layer = put(store, b"artifact %d" % number, kind)
    artifact = doc.Manifest(config=doc.EMPTY_DESCRIPTOR, layers=(layer,), subject=image.bare(), artifact_type=kind)
    return put(store, doc.encode(artifact), doc.MANIFEST)


def test_a_copy_within_a_registry_sends_no_layer_where_it_can_be_mounted(real, build_image):
    store = Memory()
    image = build_image(store, "linux/amd64", content=os.urandom(1 << 20))
    send(store, image, real.host, "mount/from:1.0")
    layer = doc.decode_manifest(
        read_verified(store, doc.decode_index(read_verified(store, image)).manifests[0])
    ).layers[0]
    with at(real.host, "mount/from:1.0") as source, at(real.host, "mount/to") as destination:
        assert destination.mount(source, layer) is real.mounts
        copy(source, destination, source.resolve())
        assert read_verified(destination, image)
        assert destination.has(layer.digest)


def test_a_blob_in_pieces(real):
    content = os.urandom(3 << 20)
    blob = doc.Descriptor("x/y", digest_of(content), len(content))
    with at(real.host, "pieces/app") as repository:
        upload = Upload(repository.endpoint, io.BytesIO(content), blob)
        upload._piece = 1 << 20
        assert upload.attempt().status == 201
        assert read_verified(repository, blob) == content


def test_a_blob_is_read_on_from_an_offset(real):
    content = os.urandom(1 << 20)
    blob = doc.Descriptor("x/y", digest_of(content), len(content))
    with at(real.host, "range/app") as repository:
        repository.add(io.BytesIO(content), blob)
        with repository.open(blob.digest) as stream:
            stream.read(1000)
            stream.seek(500_000)
            assert stream.read() == content[500_000:]


def test_what_is_not_there(real):
    wanted = rf"^{real.host}/none/app: GET manifests/1\.0: not there: status 404: [A-Z]+_UNKNOWN "
    with at(real.host, "none/app:1.0", "pull") as repository:
        with pytest.raises(MissingBlobError, match=wanted):
            repository.resolve()
        assert not repository.has(digest_of(b"none"))
        assert repository.referrers(digest_of(b"none")) == ()


def test_a_manifest_is_refused_in_the_registrys_own_words(real):
    manifest = doc.Manifest(config=doc.EMPTY_DESCRIPTOR, layers=(doc.Descriptor(doc.LAYER_TAR, digest_of(b"no"), 2),))
    raw = doc.encode(manifest)
    with at(real.host, "refused/app") as repository:
        if not real.checks:
            return
        with pytest.raises(NetworkError, match=r"status 40[04]: (MANIFEST_)?BLOB_UNKNOWN"):
            repository.add(io.BytesIO(raw), doc.Descriptor(doc.MANIFEST, digest_of(raw), len(raw)))


# Accounts and certificates, as distribution checks them.


@pytest.mark.parametrize("kind", ["distribution", "docker-registry"])
def test_a_private_registry(kind, start_registry, tmp_path, certificate, build_image):
    """TLS by certs.d, and an account kept by `imagekit login`: all of a private registry."""
    store = Memory()
    image = build_image(store, "linux/amd64")
    place = tmp_path / "private"
    place.mkdir()
    with start_registry(kind, place, certificate=certificate, htpasswd=ACCOUNT) as host:
        with pytest.raises(NetworkError):
            send(store, image, host, "a/b:1")
        folder = tmp_path / "config/containers/certs.d" / host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(certificate[0].read_bytes())
        with pytest.raises(NetworkError, match="status 401"):
            send(store, image, host, "a/b:1")
        with pytest.raises(NetworkError, match="status 401"):
            verify(host, Credentials("me", "wrong"), Cancellation())
        verify(host, Credentials("me", "secret"), Cancellation())
        keep(host, Credentials("me", "secret"))
        send(store, image, host, "a/b:1")
        with at(host, "a/b:1", "pull") as repository:
            assert repository.resolve().digest == image.digest
