"""Blobs on their way: whole or in pieces, taken up where they broke off, mounted, and read on from an offset."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import digest_of
from imagekit.errors import IntegrityError, NetworkError
from imagekit.oci import documents as doc
from imagekit.oci import sending
from imagekit.oci.blobs import put
from imagekit.oci.copy import copy
from imagekit.oci.opening import open_parcel
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Memory
from imagekit.oci.trees import walk
from imagekit.oci.words import parse
from imagekit.platform import Platform

pytestmark = pytest.mark.real

CONTENT = bytes(range(256)) * 400
BLOB = doc.Descriptor("x/y", digest_of(CONTENT), len(CONTENT))
PIECE = 10_000


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch, tmp_path):
    monkeypatch.setattr("imagekit.oci.uploads.PIECE", PIECE)
    monkeypatch.setattr("imagekit.oci.transport._BACKOFF", 0.001)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def repository(host: str, name: str = "team/app"):
    return connected(Reference.parse(f"{host}/{name}"), cancellation=Cancellation(), actions="pull,push")


def send(host: str, content: bytes = CONTENT, blob: doc.Descriptor = BLOB) -> None:
    with repository(host) as there:
        there.add(io.BytesIO(content), blob)


def ranges(little) -> list[str]:
    return [seen.headers["Content-Range"] for seen in little.calls("PATCH")]


def test_a_blob_is_sent_in_one_piece(little):
    send(little.host)
    assert [seen.method for seen in little.seen if "uploads" in seen.path] == ["POST", "PUT"]
    assert little.blobs[BLOB.digest] == CONTENT


def test_what_is_too_large_goes_in_pieces(little, answers):
    little.fail("PUT", "uploads/", answers.of(413, {}, b"too large"))
    send(little.host)
    assert little.blobs[BLOB.digest] == CONTENT
    starts = range(0, len(CONTENT), PIECE)
    assert ranges(little) == [f"{start}-{min(start + PIECE, len(CONTENT)) - 1}" for start in starts]
    assert little.calls("PUT")[-1].body == b""


def test_what_is_too_large_even_so_is_an_error(little, answers):
    for method in ("PUT", "PATCH"):
        little.fail(method, "uploads/", answers.of(413, {}, b"too large"), times=99)
    with pytest.raises(NetworkError, match="status 413: too large"):
        send(little.host)
    assert not little.blobs


def test_the_registry_says_how_small_pieces_may_be(little, answers):
    def begins(handler) -> None:
        little.uploads["9"] = b""
        handler.answer(202, {"Location": "/v2/team/app/blobs/uploads/9", "OCI-Chunk-Min-Length": "40000"})

    little.fail("PUT", "uploads/", answers.of(413))
    little.fail("POST", "uploads/", begins, times=9)
    send(little.host)
    assert ranges(little) == ["0-39999", "40000-79999", "80000-102399"]


def test_a_piece_that_breaks_off_is_sent_again_alone(little, answers):
    little.fail("PUT", "uploads/", answers.of(413))
    begun = []

    def later(handler) -> None:
        begun.append(handler.headers["Content-Range"])
        answers.reset(handler)

    little.fail("PATCH", "uploads/", later, times=2)
    send(little.host)
    assert little.blobs[BLOB.digest] == CONTENT
    assert begun == ["0-9999", "0-9999"]
    assert len(little.calls("POST")) <= 4


def test_a_reset_in_the_middle_of_a_piece_costs_that_piece_alone(little, answers):
    """Half of the second piece arrives; the registry keeps whole pieces, and says where it stands."""
    little.fail("PUT", "uploads/", answers.of(413))

    def second(handler) -> None:
        name = handler.path.partition("?")[0].rpartition("/")[2]
        if little.uploads[name]:
            answers.reset_after(PIECE // 2)(handler)
        else:
            little.uploads[name] = handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.answer(202, {"Location": handler.path, "Range": f"0-{len(little.uploads[name]) - 1}"})

    little.fail("PATCH", "uploads/", second, early=True, times=2)
    send(little.host)
    assert little.blobs[BLOB.digest] == CONTENT
    assert ranges(little)[:4] == ["0-9999", "10000-19999", "10000-19999", "20000-29999"]
    assert len(little.calls("POST")) == 2


def test_an_upload_is_taken_up_where_it_broke_off(little, answers):
    """The connection breaks in the third piece: the two that are there are not sent again."""
    little.fail("PUT", "uploads/", answers.of(413))
    little.fail("PATCH", "uploads/", breaking_at(little, answers, 2 * PIECE), times=3)
    send(little.host)
    assert little.blobs[BLOB.digest] == CONTENT
    assert len(little.calls("POST")) == 2
    assert [each for each in ranges(little) if each.startswith("0-")] == ["0-9999"]
    assert len(little.calls("GET", "uploads/")) == 1


def breaking_at(little, answers, offset: int):
    """Take pieces until `offset`, then reset once."""

    def answer(handler) -> None:
        name = handler.path.partition("?")[0].rpartition("/")[2]
        if len(little.uploads[name]) == offset:
            answers.reset(handler)
            return
        little.uploads[name] += little.seen[-1].body
        state = {"Location": handler.path, "Range": f"0-{len(little.uploads[name]) - 1}"}
        handler.answer(202, state)

    return answer


def test_a_registry_that_has_more_than_it_said_is_asked_again(little, answers):
    """The third piece arrives after all, when the registry was already asked how much it has: 416, and the rest."""

    def arrives(handler) -> None:
        name = handler.path.partition("?")[0].rpartition("/")[2]
        if len(little.uploads[name]) == 2 * PIECE:
            little.uploads[name] += little.seen[-1].body
            answers.reset(handler)
            return
        breaking_at(little, answers, -1)(handler)

    def lags(handler) -> None:
        handler.answer(204, {"Location": handler.path, "Range": f"0-{2 * PIECE - 1}"})

    little.fail("PUT", "uploads/", answers.of(413))
    little.fail("PATCH", "uploads/", arrives, times=3)
    little.fail("GET", "uploads/", lags)
    send(little.host)
    assert little.blobs[BLOB.digest] == CONTENT
    assert ranges(little)[2:5] == ["20000-29999", "20000-29999", "30000-39999"]
    assert len(little.calls("POST")) == 2


def test_a_registry_that_never_takes_the_next_piece_is_left(little, answers):
    little.fail("PUT", "uploads/", answers.of(413))
    little.fail("PATCH", "uploads/", answers.of(416), times=99)
    with pytest.raises(NetworkError, match="status 416"):
        send(little.host)
    assert len(little.calls("PATCH")) <= 5


def test_a_registry_that_forgot_the_upload_gets_all_of_it(little, answers):
    def forgets(handler) -> None:
        little.uploads.clear()
        answers.reset(handler)

    little.fail("PUT", "uploads/", forgets)
    send(little.host)
    assert little.blobs[BLOB.digest] == CONTENT


def test_a_registry_that_takes_no_pieces_gets_it_whole(little, answers):
    little.fail("PUT", "uploads/", answers.reset)
    little.fail("PATCH", "uploads/", answers.of(405), times=99)
    send(little.host)
    assert little.blobs[BLOB.digest] == CONTENT


def test_a_registry_that_kept_less_than_it_was_sent(little, answers):
    little.fail("PUT", "uploads/", answers.of(413))
    short = {"Location": "/v2/team/app/blobs/uploads/1", "Range": "0-17"}
    little.fail("PATCH", "uploads/", answers.of(202, short), times=99)
    with pytest.raises(NetworkError, match="kept 18 bytes of 10000"):
        send(little.host)
    assert not little.blobs


def test_wrong_bytes_are_never_finished(little, answers):
    little.fail("PUT", "uploads/", answers.of(413))
    with pytest.raises(IntegrityError):
        send(little.host, CONTENT[:-1] + b"x")
    assert not little.blobs
    assert not [seen for seen in little.calls("PUT") if seen.headers["Content-Length"] == "0"]


@pytest.mark.parametrize("kind", ["memory", "registry"])
def test_wrong_bytes_are_blamed_on_who_gave_them(little, little_registry, kind):
    """Not on the place that they were meant for, whatever that is."""
    store, other = Memory(), little_registry()
    config, layer = put(store, b"{}", doc.CONFIG), put(store, CONTENT, doc.LAYER_TAR)
    image = put(store, doc.encode(doc.Manifest(config=config, layers=(layer,))), doc.MANIFEST)
    with repository(little.host) as source, repository(other.host, "other/app") as destination:
        copy(store, source, image)
        little.blobs[layer.digest] = bytes(len(CONTENT))
        with pytest.raises(IntegrityError, match=f"^blob {layer.digest} from {little.host}/team/app holds bytes of"):
            copy(source, Memory() if kind == "memory" else destination, image)
    assert layer.digest not in other.blobs


# Mounting.


def two(little):
    """`team/app` with a blob, and `other/app` without."""
    send(little.host)
    return repository(little.host), repository(little.host, "other/app")


def test_a_blob_of_a_neighbour_is_mounted(little):
    little.mounts = True
    first, second = two(little)
    with first as source, second as destination:
        assert destination.mount(source, BLOB)
    (asked,) = [seen for seen in little.calls("POST") if "mount=" in seen.path]
    assert "from=team%2Fapp" in asked.path
    assert asked.path.startswith("/v2/other/app/")


def test_a_registry_that_does_not_mount_is_sent_the_blob(little):
    source_store = Memory()
    layer = put(source_store, CONTENT, doc.LAYER_TAR)
    config = put(source_store, b"{}", doc.CONFIG)
    image = put(source_store, doc.encode(doc.Manifest(config=config, layers=(layer,))), doc.MANIFEST)
    with repository(little.host) as there:
        copy(source_store, there, image)
    little.blobs.pop(layer.digest)
    little.seen.clear()
    with repository(little.host, "other/app") as destination:
        assert not destination.mount(source_store, layer)
        copy(source_store, destination, image)
    assert layer.digest in little.blobs


def test_an_upload_that_is_begun_instead_of_a_mount_is_used(little):
    first, second = two(little)
    little.blobs.clear()
    with first as source, second as destination:
        assert not destination.mount(source, BLOB)
        little.seen.clear()
        destination.add(io.BytesIO(CONTENT), BLOB)
    assert [seen.method for seen in little.seen] == ["HEAD", "PUT"]
    assert little.blobs[BLOB.digest] == CONTENT


def test_a_refused_mount_is_no_error(little, answers):
    first, second = two(little)
    little.fail("POST", "mount=", answers.of(403))
    with first as source, second as destination:
        assert not destination.mount(source, BLOB)


def test_registries_do_not_mount_from_each_other(little, little_registry):
    other = little_registry()
    with repository(little.host) as source, repository(other.host) as destination:
        assert not destination.mount(source, BLOB)
    assert not other.calls("POST")


def test_a_mount_asks_for_permission_to_read_the_neighbour(little):
    little.mounts = True
    first, second = two(little)
    little.want_token()
    with first as source, second as destination:
        assert destination.mount(source, BLOB)
    (asked,) = little.calls("GET", "/token")
    assert "scope=repository%3Aother%2Fapp%3Apull%2Cpush" in asked.path
    assert "scope=repository%3Ateam%2Fapp%3Apull" in asked.path


# Layers that several images share.

SHARED, ARCHITECTURES = 16, ("amd64", "arm64", "s390x", "ppc64le")


def sharing(store: Memory) -> doc.Descriptor:
    """An index of four platforms, whose images have the same sixteen layers."""
    layers = tuple(put(store, f"layer {number}".encode() * 1000, doc.LAYER_TAR) for number in range(SHARED))
    images = []
    for name in ARCHITECTURES:
        rootfs = doc.RootFS(diff_ids=tuple(layer.digest for layer in layers))
        config = put(store, doc.encode(doc.ImageConfig(architecture=name, os="linux", rootfs=rootfs)), doc.CONFIG)
        manifest = doc.Manifest(config=config, layers=layers)
        platform = doc.PlatformObject.of(Platform("linux", name))
        images.append(put(store, doc.encode(manifest), doc.MANIFEST, platform=platform))
    return put(store, doc.encode(doc.Index(manifests=tuple(images))), doc.INDEX)


@pytest.fixture
def shared(little) -> SimpleNamespace:
    """That image in the registry, with the wire log of its push, and the digests of its layers and configurations."""
    store = Memory()
    image = sharing(store)
    push(store, image, Reference.parse(f"{little.host}/team/app:1"), cancellation=Cancellation())
    blobs = walk(store, [image]).blobs.values()
    layers = sorted(blob.digest for blob in blobs if blob.media_type == doc.LAYER_TAR)
    configurations = sorted(blob.digest for blob in blobs if blob.media_type == doc.CONFIG)
    assert (len(layers), len(configurations)) == (SHARED, len(ARCHITECTURES))
    return SimpleNamespace(image=image, layers=layers, blobs=sorted([*layers, *configurations]))


def named(seen) -> list[str]:
    """The blobs that requests name, sorted."""
    return sorted(found for each in seen for found in re.findall("sha256:[0-9a-f]{64}", unquote(each.path)))


def test_a_push_sends_each_shared_blob_once(shared, little):
    assert named(little.calls("PUT", "uploads/")) == shared.blobs
    assert len(little.calls("POST", "uploads/")) == len(shared.blobs)


@pytest.mark.parametrize("kind", ["layout", "archive", "registry"])
def test_a_copy_fetches_each_shared_blob_once(shared, little, little_registry, tmp_path, kind):
    """Into another registry each is sent once; an archive's table of contents takes the configurations once more."""
    little.seen.clear()
    other = little_registry()
    to = {"layout": f"oci:{tmp_path}/to:app", "archive": f"oci-archive:{tmp_path}/to", "registry": f"{other.host}/a:1"}
    copied(f"{little.host}/team/app:1", to[kind])
    fetched = named(little.calls("GET", "blobs/"))
    if kind == "archive":
        assert [digest for digest in fetched if digest in shared.layers] == shared.layers
        assert sorted(set(fetched)) == shared.blobs
    else:
        assert fetched == shared.blobs
    assert named(other.calls("PUT", "uploads/")) == (shared.blobs if kind == "registry" else [])


def test_a_copy_to_another_repository_of_the_registry_mounts_each_blob_and_sends_none(shared, little):
    little.mounts = True
    little.seen.clear()
    little.fail("HEAD", "/v2/other/app/", lambda handler: handler.answer(404), times=999)  # it has one shelf for all
    copied(f"{little.host}/team/app:1", f"{little.host}/other/app:1")
    mounts = little.calls("POST", "/v2/other/app/blobs/uploads/")
    assert named(mounts) == shared.blobs
    assert all("from=team%2Fapp" in seen.path for seen in mounts)
    assert not little.calls("PUT", "uploads/")
    assert not little.calls("GET", "blobs/")
    assert digest_of(little.manifests["1"][1]) == shared.image.digest


def copied(source: str, to: str) -> None:
    with ExitStack() as opened:
        sending.send(open_parcel(parse(source), opened, Cancellation()), parse(to), Cancellation())


# Reading on.


def cut_at(little, answers, *offsets: int) -> None:
    for offset in offsets:
        little.fail("GET", "blobs/sha256", answers.cut(CONTENT[:offset], len(CONTENT)))


def ending_at(offset: int):
    """Promise all, and hang up after `offset` bytes; unlike after a reset, what was sent arrives."""

    def answer(handler) -> None:
        handler.answer(200, {"Content-Length": str(len(CONTENT))}, CONTENT[:offset])
        handler.close_connection = True

    return answer


@pytest.mark.parametrize("has_ranges", [True, False], ids=["with Range", "without"])
def test_a_download_goes_on_where_it_broke_off(little, has_ranges):
    little.blobs[BLOB.digest] = CONTENT
    little.ranges = has_ranges
    little.fail("GET", "blobs/sha256", ending_at(5000))
    with repository(little.host) as there, there.open(BLOB.digest) as stream:
        assert stream.read() == CONTENT
    first, second = little.calls("GET", "blobs/sha256")
    assert "Range" not in first.headers
    assert second.headers["Range"] == f"bytes=5000-{len(CONTENT) - 1}"


def test_another_range_than_was_asked_for_is_not_taken(little, answers):
    little.blobs[BLOB.digest] = CONTENT
    cut_at(little, answers, 70_000)
    wrong = {"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"}
    little.fail("GET", "blobs/sha256", answers.of(206, wrong, CONTENT[7:]), times=99)
    with repository(little.host) as there, there.open(BLOB.digest) as stream:
        stream.read(60_000)
        with pytest.raises(NetworkError):
            while stream.read(10_000):
                pass


def test_a_blob_can_be_read_from_an_offset(little):
    little.blobs[BLOB.digest] = CONTENT
    little.ranges = True
    with repository(little.host) as there, there.open(BLOB.digest) as stream:
        stream.seek(100_000)
        assert stream.read() == CONTENT[100_000:]
        stream.seek(0)
        assert stream.read(3) == CONTENT[:3]


def test_a_copy_between_registries_survives_a_break_on_either_side(little, little_registry, answers):
    other = little_registry()
    little.blobs[BLOB.digest] = CONTENT
    little.ranges = True
    cut_at(little, answers, 5000)
    other.fail("PUT", "uploads/", answers.reset)
    with repository(little.host) as source, repository(other.host) as destination, source.open(BLOB.digest) as stream:
        destination.add(stream, BLOB)
    assert other.blobs[BLOB.digest] == CONTENT
