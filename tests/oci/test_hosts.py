"""registries.yaml: plain http, storage, mirrors and token services that the user names."""

from __future__ import annotations

import base64
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import digest_of
from imagekit.errors import ConfigError, IntegrityError, NetworkError, UsageError
from imagekit.oci import documents as doc
from imagekit.oci.addresses import Kind, kind_of
from imagekit.oci.blobs import MissingBlobError, put, read_verified
from imagekit.oci.copy import copy
from imagekit.oci.hosts import Host, Registries, load_registries, mirrored
from imagekit.oci.looking import examine
from imagekit.oci.opening import open_parcel
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.sending import send
from imagekit.oci.store import Memory
from imagekit.oci.transport import Transport
from imagekit.oci.words import parse

pytestmark = pytest.mark.usefixtures("alone")


def configure(place: Path, text: str) -> None:
    path = place / "config/imagekit/registries.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# The file.


def test_none_is_needed():
    assert load_registries() == Registries()


def test_it_says_what_is_special(alone):
    configure(
        alone,
        "version: 1\nregistries:\n  'registry.corp:5000': {plain_http: true}\n"
        "  docker.io: {mirrors: [mirror.corp/hub], token_hosts: [auth.example], storage_hosts: ['[fd00::1]:9000']}\n",
    )
    found = load_registries()
    assert found.host("registry.corp:5000") == Host(plain_http=True)
    assert found.host("docker.io") == Host(False, ("mirror.corp/hub",), ("auth.example",), ("[fd00::1]:9000",))
    assert found.host("other.example") == Host()


MISTAKES = {
    "another version": ("version: 2\n", "version 2"),
    "a misspelt key": ("registries: {a.example: {plainhttp: true}}\n", "plainhttp"),
    "an address": ("registries: {'https://a.example': {plain_http: true}}\n", "not a registry's host"),
    "a path": ("registries: {a.example/team: {plain_http: true}}\n", "not a registry's host"),
    "a mirror that is none": ("registries: {a.example: {mirrors: ['https://b.example']}}\n", "is none"),
    "a storage address": ("registries: {a.example: {storage_hosts: [b.example/x]}}\n", "not a registry's host"),
    "a token address": ("registries: {a.example: {token_hosts: ['https://b.example/t']}}\n", "not a registry's host"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named_with_the_file(alone, text, message):
    configure(alone, text)
    with pytest.raises(ConfigError, match=message) as raised:
        load_registries()
    assert "registries.yaml" in raised.value.message


def test_a_file_that_the_environment_names_must_be_there(alone, monkeypatch):
    monkeypatch.setenv("IMAGEKIT_REGISTRIES", str(alone / "none"))
    with pytest.raises(UsageError, match="IMAGEKIT_REGISTRIES"):
        load_registries()


# Plain http.


def test_plain_http_is_spoken_to_hosts_that_are_named_for_it():
    with Transport(
        Cancellation(), registries=Registries(registries={"r.example:5000": Host(plain_http=True)})
    ) as transport:
        transport.check("http://r.example:5000/v2/")
        for url in (
            "http://r.example/v2/",
            "http://r.example:5001/v2/",
            "http://x.r.example:5000/",
            "ftp://r.example/",
        ):
            with pytest.raises(NetworkError, match="not be encrypted"):
                transport.check(url)


# Who may be spoken to.


def test_an_address_that_nobody_named_gets_nothing(little):
    """A name may lead to this machine (DNS rebinding): the connection is judged when it stands."""
    with Transport(Cancellation()) as transport, pytest.raises(NetworkError, match="this machine"):
        transport.send("GET", f"{little.url}/v2/", {"Authorization": "Basic x"})
    assert not little.seen


def test_a_registry_at_home_may_send_us_home_and_no_further(little, little_registry):
    other = little_registry()
    with Transport(Cancellation()) as transport:
        transport.trust(little.host)
        assert transport._homes == {Kind.LOOPBACK}
        assert transport.send("GET", f"{little.url}/v2/", {}).status == 200
        assert transport.moved(little.url, other.url) == other.url
        with pytest.raises(NetworkError, match="private"):
            transport.moved(little.url, "https://192.168.1.1/")


# Storage elsewhere.


@pytest.fixture
def storage(monkeypatch, little_registry):
    """Another host, at an address that counts as a private one."""
    monkeypatch.setattr(
        "imagekit.oci.transport.kind_of", lambda host: Kind.PRIVATE if host == "127.0.0.2" else kind_of(host)
    )
    return little_registry(address="127.0.0.2")


def test_storage_at_a_private_address_is_gone_to_if_the_user_names_it(
    alone, account, little, storage, answers, build_image
):
    """Pulls by redirect, pushes by `Location`: of a registry on this machine, by a port that is forwarded."""
    image_in(little, build_image)
    account(little.host)
    little.want_basic("me", "secret")
    storage.blobs = little.blobs
    layers = [digest for digest, content in little.blobs.items() if content[:2] == b"\x1f\x8b"]
    for digest in layers:
        away = answers.of(307, {"Location": f"{storage.url}/v2/x/blobs/{digest}?signature=secret"})
        little.fail("GET", f"team/app/blobs/{digest}", away, times=99)
    little.fail("POST", "uploads/", answers.of(202, {"Location": f"{storage.url}/v2/x/blobs/uploads/7"}), times=99)
    for each in (lambda: pulled(little.host), lambda: image_in(little, build_image, b"other")):
        with pytest.raises(NetworkError, match=rf"{storage.url}.*, which is a private address$") as raised:
            each()
        assert f'storage_hosts: ["{storage.host}"]' in raised.value.hint
    assert not storage.seen
    configure(alone, f"registries:\n  '{little.host}': {{storage_hosts: ['{storage.host}']}}\n")
    pulled(little.host)
    assert len(storage.calls("GET")) == len(layers)
    image_in(little, build_image, b"other")
    assert storage.calls("PUT")
    assert not any(seen.authorization for seen in storage.seen)


WAYS = {
    "another port": ("https://10.0.0.1:444/x", 'storage_hosts: ["10.0.0.1:444"]'),
    "another host": ("https://10.0.0.2/x", 'storage_hosts: ["10.0.0.2"]'),
    "IPv6": ("https://[fd00::1]:9000/x", 'storage_hosts: ["[fd00::1]:9000"]'),
    "a cloud's secrets": ("https://169.254.169.254/latest", "no registry may send us there"),
}


@pytest.mark.parametrize(("where", "hint"), WAYS.values(), ids=WAYS)
def test_only_the_storage_that_was_named_is_gone_to(where, hint):
    """Link-local addresses never, even if they are named."""
    with Transport(Cancellation()) as transport:
        transport.trust("localhost:5000")
        for each in ("10.0.0.1", "169.254.169.254"):
            transport.trust(each, home=False)
        assert transport.moved("http://localhost:5000/v2/", "https://10.0.0.1/x") == "https://10.0.0.1/x"
        with pytest.raises(NetworkError, match="sends us to") as raised:
            transport.moved("http://localhost:5000/v2/", where)
        assert hint in raised.value.hint


def test_a_token_service_at_a_private_address_is_another_setting(little, build_image):
    image_in(little, build_image)
    little.want_token("https://10.0.0.1/token")
    with pytest.raises(NetworkError, match="a private address") as raised:
        pulled(little.host)
    assert 'token_hosts: ["10.0.0.1"]' in raised.value.hint


def test_a_name_that_leads_to_a_private_address_is_told_how_to_allow_it(little):
    with Transport(Cancellation()) as transport, pytest.raises(NetworkError, match="this machine") as raised:
        transport.send("GET", f"{little.url}/v2/", {})
    assert f'storage_hosts: ["{little.host}"]' in raised.value.hint


# Mirrors.


def image_in(little, build_image, content: bytes = b"program") -> doc.Descriptor:
    store = Memory()
    image = build_image(store, "linux/amd64", content=content)
    push(store, image, Reference.parse(f"{little.host}/team/app:1.0"), cancellation=Cancellation())
    little.seen.clear()
    return image


def pulled(host: str, tag: str = "1.0") -> tuple[Memory, doc.Descriptor]:
    store = Memory()
    with connected(Reference.parse(f"{host}/team/app:{tag}"), cancellation=Cancellation()) as repository:
        root = repository.fetch()
        copy(repository, store, root)
    return store, root


def mirror_of(place: Path, registry, mirror, prefix: str = "") -> None:
    configure(place, f"registries:\n  '{registry.host}': {{mirrors: ['{mirror.host}{prefix}']}}\n")


def test_a_mirror_is_asked_first(alone, little, little_registry, build_image):
    mirror = little_registry()
    image = image_in(mirror, build_image)
    mirror_of(alone, little, mirror, "/cache")
    store, root = pulled(little.host)
    assert root.digest == image.digest
    assert read_verified(store, root)
    assert [seen.path for seen in little.seen] == ["/v2/"]
    assert all(seen.path.startswith("/v2/cache/team/app/") for seen in mirror.seen if seen.path != "/v2/")


BROKEN_MIRRORS = {
    "empty": lambda *_: None,
    "busy": lambda mirror, answers: mirror.fail("GET", "manifests", answers.of(503), times=99),
    "of another site": lambda mirror, answers: mirror.fail(
        "GET", "manifests", answers.of(302, {"Location": "https://10.0.0.1/"}), times=99
    ),
    "gone": lambda mirror, _: mirror.close(),
}


@pytest.mark.parametrize("broken", BROKEN_MIRRORS.values(), ids=BROKEN_MIRRORS)
def test_a_mirror_that_has_it_not_is_passed_over(alone, little, little_registry, answers, build_image, broken):
    mirror = little_registry()
    image = image_in(little, build_image)
    mirror_of(alone, little, mirror)
    broken(mirror, answers)
    store, root = pulled(little.host)
    assert (root.digest, bool(read_verified(store, root))) == (image.digest, True)


LAYER = b"layer" * 50_000


@pytest.fixture
def layered(alone, little, little_registry) -> SimpleNamespace:
    """A registry with an image of one layer, and a mirror that has the same."""
    store, mirror = Memory(), little_registry()
    layer = put(store, LAYER, doc.LAYER_TAR)
    config = doc.ImageConfig(architecture="amd64", os="linux", rootfs=doc.RootFS(diff_ids=(layer.digest,)))
    kept = put(store, doc.encode(config), doc.CONFIG)
    image = put(store, doc.encode(doc.Manifest(config=kept, layers=(layer,))), doc.MANIFEST)
    for each in (little, mirror):
        push(store, image, Reference.parse(f"{each.host}/team/app:1.0"), cancellation=Cancellation())
        each.seen.clear()
        each.ranges = True
    mirror_of(alone, little, mirror)
    return SimpleNamespace(
        registry=little, mirror=mirror, image=image, layer=layer, config=kept, place=alone, other=little_registry()
    )


def sent_to(kind: str, layered: SimpleNamespace) -> doc.Descriptor:
    """Copy the image of the registry to a place of some kind, as `image copy` does; what is there then, and valid."""
    source = parse(f"{layered.registry.host}/team/app:1.0")
    to = parse(
        {
            "layout": f"oci:{layered.place}/to:app",
            "archive": f"oci-archive:{layered.place}/to.tar",
            "registry": f"{layered.other.host}/to/app:1",
        }[kind]
    )
    with ExitStack() as opened:
        send(open_parcel(source, opened, Cancellation()), to, Cancellation())
    with ExitStack() as opened:
        parcel = open_parcel(to, opened, Cancellation())
        assert not any(check.broken for check in examine(parcel, Cancellation()))
        return parcel.images[0].descriptor


LIES = {
    "other bytes": lambda answers: answers.of(200, {}, bytes(len(LAYER))),
    "fewer": lambda answers: answers.of(200, {}, LAYER[:-1]),
    "more": lambda answers: answers.of(200, {}, LAYER + b"x"),
    "none": lambda answers: answers.of(200, {}, b""),
}


@pytest.mark.parametrize("kind", ["layout", "archive", "registry"])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_mirror_that_lies_about_a_layer_is_left_and_named(layered, answers, caplog, lie, kind):
    """The registry is asked instead, and what was copied is right, wherever it went."""
    mirror, digest = layered.mirror, layered.layer.digest
    mirror.fail("GET", digest, lie(answers), times=99)
    assert sent_to(kind, layered).digest == layered.image.digest
    assert (len(mirror.calls("GET", digest)), len(layered.registry.calls("GET", digest))) == (1, 1)
    [said] = caplog.messages
    assert f"the mirror {mirror.host}/team/app is asked no more: blob {digest} from {mirror.host}/team/app " in said


@pytest.mark.parametrize("kind", ["layout", "archive", "registry"])
def test_a_mirror_that_lies_about_a_configuration_is_left_too(layered, answers, caplog, kind):
    layered.mirror.fail("GET", layered.config.digest, answers.of(200, {}, b"{}"), times=99)
    assert sent_to(kind, layered).digest == layered.image.digest
    assert [layered.mirror.host in said for said in caplog.messages] == [True]


@pytest.mark.parametrize("digest", ["", "sha256:" + "0" * 64])
def test_a_mirror_that_lies_about_a_manifest_is_named(layered, answers, caplog, digest):
    lie = answers.of(200, {"Content-Type": doc.MANIFEST, "Docker-Content-Digest": digest}, b"{}")
    layered.mirror.fail("GET", "manifests/1.0", lie, times=99)
    assert sent_to("layout", layered).digest == layered.image.digest
    assert [f"{layered.mirror.host}/team/app is asked no more" in said for said in caplog.messages] == [True]


def test_a_mirror_without_the_tag_that_lies_about_its_digest_is_named(layered, answers, caplog):
    layered.mirror.fail("GET", "manifests/1.0", answers.of(404), times=99)
    layered.mirror.fail("GET", layered.image.digest, answers.of(200, {"Content-Type": doc.MANIFEST}, b"{}"), times=99)
    assert sent_to("layout", layered).digest == layered.image.digest
    assert [f"{layered.mirror.host}/team/app is asked no more" in said for said in caplog.messages] == [True]


def test_a_registry_that_lies_as_its_mirror_did_is_blamed_itself(layered, answers):
    for each in (layered.mirror, layered.registry):
        each.fail("GET", layered.layer.digest, answers.of(200, {}, bytes(len(LAYER))), times=99)
    wanted = f"^blob {layered.layer.digest} from {layered.registry.host}/team/app holds bytes of"
    for kind in ("layout", "archive", "registry"):
        layered.mirror.seen.clear()
        layered.registry.seen.clear()
        with pytest.raises(IntegrityError, match=wanted):
            sent_to(kind, layered)
        assert len(layered.mirror.calls("GET", layered.layer.digest)) == 1
        assert len(layered.registry.calls("GET", layered.layer.digest)) == 1
    assert not layered.other.manifests
    assert not (layered.place / "to.tar").exists()


def breaking_off(content: bytes):
    """Promise the whole layer, and hang up after this."""

    def answer(handler) -> None:
        handler.answer(200, {"Content-Length": str(len(LAYER))}, content)
        handler.close_connection = True

    return answer


def test_a_blob_that_a_mirror_breaks_off_is_gone_on_with_at_the_registry(layered, monkeypatch):
    monkeypatch.setattr("imagekit.oci.body._BREAKS", 0)
    layered.mirror.fail("GET", layered.layer.digest, breaking_off(LAYER[:1000]), times=99)
    assert sent_to("layout", layered).digest == layered.image.digest
    [asked] = layered.registry.calls("GET", layered.layer.digest)
    assert asked.headers["Range"].startswith("bytes=1000-")


def test_wrong_bytes_that_a_mirror_broke_off_are_not_blamed_on_the_registry(layered, monkeypatch):
    monkeypatch.setattr("imagekit.oci.body._BREAKS", 0)
    layered.mirror.fail("GET", layered.layer.digest, breaking_off(bytes(1000)), times=99)
    assert sent_to("layout", layered).digest == layered.image.digest
    ranges = [seen.headers.get("Range", "") for seen in layered.registry.calls("GET", layered.layer.digest)]
    assert [each[:11] for each in ranges] == ["bytes=1000-", ""]


def test_the_next_mirror_is_asked_before_the_registry(layered, answers, little_registry):
    second = little_registry()
    second.blobs, second.manifests = layered.registry.blobs, layered.registry.manifests
    configure(
        layered.place,
        f"registries: {{'{layered.registry.host}': {{mirrors: ['{layered.mirror.host}', '{second.host}']}}}}\n",
    )
    layered.mirror.fail("GET", layered.layer.digest, answers.of(200, {}, bytes(len(LAYER))), times=99)
    assert sent_to("layout", layered).digest == layered.image.digest
    assert second.calls("GET", layered.layer.digest)
    assert not layered.registry.calls("GET", layered.layer.digest)


@pytest.mark.real
def test_the_command_says_on_stderr_which_mirror_lied(layered, answers):
    layered.mirror.fail("GET", layered.layer.digest, answers.of(200, {}, bytes(len(LAYER))), times=99)
    words = ["image", "copy", f"{layered.registry.host}/team/app:1.0", f"oci:{layered.place}/to:app"]
    done = subprocess.run([sys.executable, "-m", "imagekit", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"oci:{layered.place}/to:app@{layered.image.digest}\n")
    [said] = done.stderr.splitlines()
    assert said.startswith(f"imagekit: the mirror {layered.mirror.host}/team/app is asked no more: blob ")


def test_a_mirror_gets_no_credentials_of_the_registry(alone, account, little, little_registry, build_image):
    mirror = little_registry()
    image_in(mirror, build_image)
    image_in(little, build_image)
    account(little.host)
    mirror.want_basic("me", "secret")
    little.want_basic("me", "secret")
    mirror_of(alone, little, mirror)
    pulled(little.host)
    assert mirror.seen
    assert not any(seen.authorization for seen in mirror.seen)


def test_a_push_goes_to_no_mirror(alone, little, little_registry, build_image):
    mirror = little_registry()
    mirror_of(alone, little, mirror)
    image_in(little, build_image)
    assert not mirror.seen


def test_what_neither_has_is_missing(alone, little, little_registry):
    mirror_of(alone, little, little_registry())
    with pytest.raises(MissingBlobError, match=little.host):
        pulled(little.host, "none")


def test_where_a_mirror_keeps_an_image():
    digest = digest_of(b"x")
    name = Reference.parse(f"docker.io/library/alpine:3@{digest}")
    assert str(mirrored("mirror.example:5000/hub", name)) == f"mirror.example:5000/hub/library/alpine:3@{digest}"


# Token services.


def test_a_token_service_that_the_user_names_may_see_the_account(alone, account, little, build_image):
    image_in(little, build_image)
    account(little.host)
    port = little.host.rpartition(":")[2]
    paid = "Basic " + base64.b64encode(b"me:secret").decode()
    little.want_token(f"http://localhost:{port}/token", paid_with=paid)
    with pytest.raises(NetworkError, match="another host") as raised:
        pulled(little.host)
    assert f'token_hosts: ["localhost:{port}"]' in raised.value.hint
    assert not little.calls("GET", "/token")
    for named in ("localhost", f"localhost:{port}"):
        little.seen.clear()
        configure(alone, f"registries:\n  '{little.host}': {{token_hosts: ['{named}']}}\n")
        pulled(little.host)
        assert little.calls("GET", "/token")[0].authorization == paid
