"""Tags and referrers: page by page, by the API or by the fallback tag, and what is put is listed."""

from __future__ import annotations

import io
import json

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import hex_of
from imagekit.errors import NetworkError, UnreadableError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, put, read_verified
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Memory

pytestmark = pytest.mark.usefixtures("alone")
TYPES = ("application/spdx+json", "application/vnd.in-toto+json", "application/spdx+json")


@pytest.fixture
def store(build_image) -> tuple[Memory, doc.Descriptor, list[doc.Descriptor]]:
    """An image and three artifacts that refer to it."""
    memory = Memory()
    image = build_image(memory, "linux/amd64")
    memory.add(io.BytesIO(doc.EMPTY_JSON))
    return memory, image, [referrer(memory, image, kind, number) for number, kind in enumerate(TYPES)]


def referrer(memory: Memory, image: doc.Descriptor, kind: str, number: int) -> doc.Descriptor:
    layer = put(memory, f"content {number}".encode(), kind)
    artifact = doc.Manifest(
        config=doc.EMPTY_DESCRIPTOR,
        layers=(layer,),
        subject=image.bare(),
        artifact_type=kind,
        annotations={"number": str(number)},
    )
    return put(memory, doc.encode(artifact), doc.MANIFEST)


def send(memory: Memory, descriptor: doc.Descriptor, host: str, tag: str = "") -> None:
    name = f"{host}/team/app" + (f":{tag}" if tag else "")
    push(memory, descriptor, Reference.parse(name), cancellation=Cancellation())


def reading(host: str, actions: str = "pull"):
    return connected(Reference.parse(f"{host}/team/app"), cancellation=Cancellation(), actions=actions)


@pytest.mark.parametrize("api", [False, True], ids=["no API", "an API"])
def test_what_was_pushed_is_listed(store, little, api):
    memory, image, artifacts = store
    little.lists_referrers = api
    send(memory, image, little.host, "1.0")
    for each in artifacts:
        send(memory, each, little.host)
    with reading(little.host) as repository:
        listed = repository.referrers(image.digest)
        assert {each.digest for each in listed} == {each.digest for each in artifacts}
        assert all(read_verified(repository, each) for each in listed)
    assert (f"sha256-{hex_of(image.digest)}" in little.manifests) is not api


def test_the_fallback_tag_says_what_each_is(store, little):
    memory, image, artifacts = store
    for each in artifacts[:2]:
        send(memory, each, little.host)
    kind, raw = little.manifests[f"sha256-{hex_of(image.digest)}"]
    assert kind == doc.INDEX
    listed = json.loads(raw)["manifests"]
    assert [(each["artifactType"], each["annotations"]) for each in listed] == [
        (TYPES[0], {"number": "0"}),
        (TYPES[1], {"number": "1"}),
    ]


def test_a_push_that_was_cut_short_is_finished_by_the_next(store, little):
    memory, image, artifacts = store
    send(memory, artifacts[0], little.host)
    for key in [key for key in little.manifests if key.startswith("sha256-")]:
        del little.manifests[key]
    send(memory, artifacts[0], little.host)
    with reading(little.host) as repository:
        assert [each.digest for each in repository.referrers(image.digest)] == [artifacts[0].digest]


def test_a_list_that_another_client_writes_meanwhile_is_written_again(store, little):
    memory, image, artifacts = store
    send(memory, artifacts[0], little.host)
    tag = f"sha256-{hex_of(image.digest)}"
    lost = little.manifests[tag]

    def overwritten(handler) -> None:
        handler._keep_manifest(tag, little.seen[-1].body)
        little.manifests[tag] = lost

    little.fail("PUT", f"manifests/{tag}", overwritten, times=2)
    send(memory, artifacts[1], little.host)
    with reading(little.host) as repository:
        assert len(repository.referrers(image.digest)) == 2


def test_what_is_deleted_is_not_listed(store, little):
    memory, image, artifacts = store
    for each in artifacts:
        send(memory, each, little.host)
    with reading(little.host, "pull,push,delete") as repository:
        repository.delete(artifacts[1].digest)
        assert len(repository.referrers(image.digest)) == 2
        with pytest.raises(MissingBlobError):
            repository.delete(artifacts[1].digest)


def test_nobody_refers_to_it(store, little):
    _, image, _ = store
    with reading(little.host) as repository:
        assert repository.referrers(image.digest) == ()


def test_a_list_that_is_no_list_is_named(store, little):
    _, image, _ = store
    little.manifests[f"sha256-{hex_of(image.digest)}"] = (doc.MANIFEST, b"{}")
    with reading(little.host) as repository, pytest.raises(UnreadableError, match=little.host):
        repository.referrers(image.digest)


# Tags.


def test_tags_come_page_by_page(store, little):
    memory, image, _ = store
    for number in range(7):
        send(memory, image, little.host, f"v{number}")
    with reading(little.host) as repository:
        assert repository.tags() == tuple(f"v{number}" for number in range(7))
    assert len(little.calls("GET", "/tags/list")) == 4


def test_a_repository_that_is_not_there_has_no_tags(little, answers):
    little.fail("GET", "/tags/list", answers.of(404))
    with reading(little.host) as repository, pytest.raises(MissingBlobError, match="the list of tags: not there"):
        repository.tags()


LINKS = {
    "to itself": ("/v2/team/app/tags/list?n=1000", UnreadableError, "does not end"),
    "to another host": ("{other}/v2/team/app/tags/list", NetworkError, "another host"),
    "to a private address": ("https://10.0.0.1/x", NetworkError, "private address"),
}


@pytest.mark.parametrize(("link", "kind", "message"), LINKS.values(), ids=LINKS)
def test_a_list_that_leads_astray(little, little_registry, answers, link, kind, message):
    other = little_registry()
    headers = {"Link": f'<{link.format(other=other.url)}>; rel="next"'}
    little.fail("GET", "/tags/list", answers.of(200, headers, b'{"tags":["a"]}'), times=9999)
    with reading(little.host) as repository, pytest.raises(kind, match=message):
        repository.tags()
    assert not other.seen


def test_a_list_without_end_is_left(monkeypatch, little):
    monkeypatch.setattr("imagekit.oci.lists._PAGES", 20)

    def more(handler) -> None:
        handler.answer(200, {"Link": f'</v2/x/tags/list?n={len(little.seen)}>; rel="next"'}, b'{"tags":["a"]}')

    little.fail("GET", "/tags/list", more, times=9999)
    with reading(little.host) as repository, pytest.raises(UnreadableError, match="does not end"):
        repository.tags()
    assert len(little.seen) < 30


def test_what_cannot_be_a_tag_is_not_passed_on(little, answers):
    little.fail("GET", "/tags/list", answers.of(200, {}, b'{"tags":["ok","\\u001b[31m","a b","ok"]}'))
    with reading(little.host) as repository:
        assert repository.tags() == ("ok",)
