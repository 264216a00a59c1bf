"""Whose certificates count: the system's, and those in certs.d."""

from __future__ import annotations

import ssl

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import NetworkError, UsageError
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Memory
from imagekit.oci.tls import certificates_folder, context
from imagekit.oci.transport import Transport

pytestmark = pytest.mark.usefixtures("alone")


def test_an_authority_in_certs_d(alone, little_registry, certificate, build_image):
    secure = little_registry(certificate)
    folder = alone / "config/containers/certs.d" / secure.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(certificate[0].read_bytes())
    store = Memory()
    image = build_image(store, "linux/amd64")
    push(store, image, Reference.parse(f"{secure.host}/team/app:1.0"), cancellation=Cancellation())
    assert "1.0" in secure.manifests


def test_a_client_certificate_is_shown_to_its_own_host_only(alone, little_registry, certificate, build_image):
    secure = little_registry(certificate, certificate[0])
    folder = alone / "etc" / secure.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(certificate[0].read_bytes())
    store = Memory()
    image = build_image(store, "linux/amd64")
    name = Reference.parse(f"{secure.host}/team/app:1.0")
    with pytest.raises(NetworkError):
        push(store, image, name, cancellation=Cancellation())
    (folder / "client.cert").write_bytes(certificate[0].read_bytes())
    (folder / "client.key").write_bytes(certificate[1].read_bytes())
    push(store, image, name, cancellation=Cancellation())
    assert "1.0" in secure.manifests
    with Transport(Cancellation()) as transport:
        own = transport._way(f"{secure.url}/v2/")
        assert transport._way("https://127.0.0.1:1/v2/") is not own


UNUSABLE = {
    "an authority that is none": {"ca.crt": b"no certificate"},
    "a certificate without its key": {"client.cert": b"x"},
}


@pytest.mark.parametrize("files", UNUSABLE.values(), ids=UNUSABLE)
def test_a_certificate_that_cannot_be_used_is_named(alone, files):
    folder = alone / "etc/registry.test"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with (
        connected(Reference.parse("registry.test/team/app:1"), cancellation=Cancellation()) as repository,
        pytest.raises(UsageError, match=f"{folder}/{next(iter(files))}"),
    ):
        repository.resolve()


FOLDERS = {
    "with its port": ("r.example", 5000, "r.example:5000"),
    "the usual port": ("r.example", 443, "r.example"),
    "the usual port, written": ("r.example", 443, "r.example:443"),
    "IPv6": ("::1", 5000, "[::1]:5000"),
}


@pytest.mark.parametrize(("host", "port", "name"), FOLDERS.values(), ids=FOLDERS)
def test_where_certificates_are(alone, host, port, name):
    (alone / "etc" / name).mkdir(parents=True)
    assert certificates_folder(host, port) == alone / "etc" / name
    assert certificates_folder(host, 1) is None


@pytest.mark.parametrize("host", ["..", "a/b", "", "a..b", "."])
def test_a_host_is_never_a_way_out(alone, host):
    (alone / "etc").mkdir()
    assert certificates_folder(host, 443) is None


def test_old_tls_is_not_spoken():
    assert context(None).minimum_version >= ssl.TLSVersion.TLSv1_2
