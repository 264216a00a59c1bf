"""A push to a real registry, judged by foreign tools; and to one that misbehaves, judged by what it saw."""

from __future__ import annotations

import io
import json
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import digest_of
from imagekit.errors import IntegrityError, NetworkError, StoppedError, UnreadableError, UsageError
from imagekit.oci import documents as doc
from imagekit.oci.authorization import Challenge, parse_challenge
from imagekit.oci.blobs import MissingBlobError, put, read_verified
from imagekit.oci.copy import copy
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Layout, Memory

pytestmark = pytest.mark.usefixtures("alone")
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


def at(host: str, rest: str = "team/app:1.0") -> Reference:
    return Reference.parse(f"{host}/{rest}")


def send(store, image, host, *tags, cancellation=None, rest="team/app:1.0"):
    return push(store, image, at(host, rest), tags, cancellation=cancellation or Cancellation())


@pytest.fixture
def small(build_image) -> tuple[Memory, doc.Descriptor]:
    store = Memory()
    return store, build_image(store, *PLATFORMS)


# A real registry, foreign judges.


@pytest.mark.real
def test_foreign_tools_accept_what_was_pushed(tmp_path, registry, build_image, peer):
    layout = Layout.create(tmp_path / "layout")
    image = build_image(layout, *PLATFORMS, content=b"foreign")
    send(layout, image, registry, "latest", rest="team/foreign:1.0")
    for tag in ("1.0", "latest"):
        name = f"{registry}/team/foreign:{tag}"
        subprocess.run([peer("crane"), "validate", "--remote", name], check=True)
        words = [peer("skopeo"), "inspect", "--tls-verify=false", f"docker://{name}"]
        told = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        assert told["Digest"] == image.digest


@pytest.mark.real
def test_what_was_pushed_comes_back_byte_for_byte(tmp_path, registry, build_image):
    layout, back = Layout.create(tmp_path / "layout"), Layout.create(tmp_path / "back")
    image = build_image(layout, *PLATFORMS, content=b"round")
    sent = send(layout, image, registry, rest="team/round:1.0")
    with connected(at(registry, "team/round:1.0"), cancellation=Cancellation()) as repository:
        root = repository.resolve()
        assert root == image.bare()
        copy(repository, back, root)
    assert {each.digest for each in sent} == {
        doc.Digest(f"sha256:{p.name}") for p in (back.path / "blobs/sha256").iterdir()
    }
    subprocess.run(["diff", "-r", layout.path / "blobs", back.path / "blobs"], check=True)


@pytest.mark.real
def test_a_second_push_sends_nothing(registry, small):
    store, image = small
    send(store, image, registry, rest="team/twice:1.0")
    assert send(store, image, registry, rest="team/twice:1.0") == frozenset()


# What goes over the wire, in which order.


def test_children_go_before_parents_and_tags_last(small, little):
    store, image = small
    send(store, image, little.host, "latest", "stable")
    put_paths = [seen.path.rpartition("/")[2] for seen in little.calls("PUT")]
    blobs = [path for path in put_paths if "?state=secret" in path]
    children = [entry.digest for entry in doc.decode_index(read_verified(store, image)).manifests]
    assert put_paths == [*blobs, *children, image.digest, "latest", "stable", "1.0"]
    assert len(blobs) == len(set(blobs)) == 6


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_manifest_is_kept_whichever_status_says_so(small, little, answers, status):
    store, image = small
    little.fail("PUT", "manifests/", answers.of(status), 99)
    assert image in send(store, image, little.host)


def test_a_second_push_only_asks(small, little):
    store, image = small
    send(store, image, little.host)
    little.seen.clear()
    assert send(store, image, little.host) == frozenset()
    children = [entry.digest for entry in doc.decode_index(read_verified(store, image)).manifests]
    asked = [seen.path.rpartition("/")[2] for seen in little.calls("HEAD")]
    assert [seen.method for seen in little.seen] == ["GET", *["HEAD"] * 5]
    assert (asked[0], sorted(asked[1:4]), asked[4]) == (image.digest, sorted(children), "1.0")


def test_a_second_push_brings_back_what_the_registry_lost_below_the_index(small, little):
    """A retention rule takes manifests that an index still names; the index alone says nothing of them."""
    store, image = small
    send(store, image, little.host)
    [first, second, _] = doc.decode_index(read_verified(store, image)).manifests
    layer = doc.decode_manifest(read_verified(store, second)).layers[0]
    del little.manifests[first.digest], little.manifests[second.digest], little.blobs[layer.digest]
    assert {each.digest for each in send(store, image, little.host)} == {first.digest, second.digest, layer.digest}
    with reading(little.host) as repository:
        copy(repository, Memory(), repository.resolve())


def test_a_manifest_of_which_the_registry_kept_a_part_is_sent_again(small, little):
    """go-containerregistry's registry does so when the sender is killed: it is there by its digest, and is not it."""
    store, image = small
    send(store, image, little.host)
    child = doc.decode_index(read_verified(store, image)).manifests[0]
    for broken in (image, child):
        little.manifests[broken.digest] = (broken.media_type, b"")
        assert send(store, image, little.host) >= {broken}
        assert digest_of(little.manifests[broken.digest][1]) == broken.digest


def test_what_an_index_in_an_index_names_is_asked_for_too(small, little):
    store, image = small
    outer = put(store, doc.encode(doc.Index(manifests=(image,))), doc.INDEX)
    send(store, outer, little.host)
    child = doc.decode_index(read_verified(store, image)).manifests[0]
    del little.manifests[child.digest]
    assert {each.digest for each in send(store, outer, little.host)} == {child.digest}


def test_only_what_is_missing_is_sent(small, little):
    store, image = small
    sent = send(store, image, little.host)
    gone = next(each for each in sent if each.media_type == doc.LAYER_GZIP)
    del little.blobs[gone.digest], little.manifests[image.digest], little.manifests["1.0"]
    assert send(store, image, little.host) == {gone, image}


def test_no_tag_puts_by_digest(small, little):
    store, image = small
    send(store, image, little.host, rest="team/app")
    assert "latest" not in little.manifests
    assert image.digest in little.manifests


def test_a_tag_moves(small, little, build_image):
    store, image = small
    other = build_image(store, "linux/amd64", content=b"newer")
    for each in (image, other):
        send(store, each, little.host)
    assert digest_of(little.manifests["1.0"][1]) == other.digest


@pytest.mark.parametrize("tag", ["", "-x", "a b", "a/b", "x" * 129, "tag\n"])
def test_a_tag_that_cannot_be_one_sends_nothing(small, little, tag):
    store, image = small
    if tag:
        with pytest.raises(UsageError, match="tag"):
            send(store, image, little.host, tag)
        assert not little.seen


def test_unknown_bytes_can_be_added_from_a_stream_that_cannot_go_back(little):
    class Once:
        read = io.BytesIO(b"streamed").read

    with connected(at(little.host), actions="pull,push", cancellation=Cancellation()) as repository:
        assert repository.add(Once()) == (digest_of(b"streamed"), 8)
    assert little.blobs[digest_of(b"streamed")] == b"streamed"


# Failures that pass, and failures that do not.

PASSING = {
    "POST too many requests": ("POST", "uploads/", lambda a: a.of(429, {"Retry-After": "0"})),
    "PUT of a blob fails": ("PUT", "uploads/", lambda a: a.of(500)),
    "PUT of a blob is cut": ("PUT", "uploads/", lambda a: a.reset),
    "HEAD of a blob is cut": ("HEAD", "blobs/", lambda a: a.reset),
    "HEAD unavailable": ("HEAD", "manifests/", lambda a: a.of(503)),
    "PUT of a manifest fails": ("PUT", "manifests/", lambda a: a.of(502)),
    "first contact is cut": ("GET", "/v2/$", lambda a: a.of(503)),
}


@pytest.mark.parametrize(("method", "path", "answer"), PASSING.values(), ids=PASSING)
def test_what_may_pass_is_tried_again(small, little, answers, method, path, answer):
    store, image = small
    little.fail(method, path, answer(answers), times=2)
    send(store, image, little.host)
    assert digest_of(little.manifests["1.0"][1]) == image.digest


def test_retry_after_is_waited_for(small, little, answers):
    store, image = small
    little.fail("POST", "uploads/", answers.of(429, {"Retry-After": "1"}))
    began = time.monotonic()
    send(store, image, little.host)
    assert 1 <= time.monotonic() - began < 5


def test_patience_ends(small, little, answers):
    store, image = small
    little.fail("POST", "uploads/", answers.of(503, {}, b"down for the night"), times=1000)
    with pytest.raises(NetworkError, match="status 503: down for the night") as raised:
        send(store, image, little.host)
    assert raised.value.exit_code == 6
    assert len(little.calls("POST")) <= 5 * 6
    assert not little.manifests


def test_a_stream_that_cannot_go_back_is_not_sent_again(little, answers):
    class Once:
        read = io.BytesIO(b"bytes").read

    little.fail("PUT", "uploads/", answers.of(500))
    with (
        connected(at(little.host), actions="pull,push", cancellation=Cancellation()) as repository,
        pytest.raises(NetworkError, match="status 500"),
    ):
        repository.add(Once(), doc.Descriptor("text/plain", digest_of(b"bytes"), 5))
    assert len(little.calls("POST")) == 1


def test_a_refusal_names_all_that_matters_and_nothing_dangerous(small, little, answers):
    store, image = small
    words = json.dumps({"errors": [{"code": "DENIED", "message": "no\x1b[31m\n::stop-commands::x" + "y" * 4000}]})
    little.fail("POST", "uploads/", answers.of(403, {}, words.encode()), times=9)
    with pytest.raises(NetworkError, match="DENIED no") as raised:
        send(store, image, little.host)
    message = raised.value.message
    assert f"{little.host}/team/app" in message
    assert "upload of blob sha256:" in message
    assert "status 403" in message
    assert message.isprintable()
    assert len(message) < 600
    assert "docker login" in raised.value.hint


def test_a_registry_that_kept_something_else_is_not_believed(small, little, answers):
    store, image = small
    lie = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    little.fail("PUT", "uploads/", answers.of(201, lie))
    with pytest.raises(IntegrityError, match="says that it keeps sha256:000"):
        send(store, image, little.host)
    assert not little.manifests


def test_bytes_that_changed_at_home_are_not_sent(tmp_path, little, build_image):
    layout = Layout.create(tmp_path / "layout")
    image = build_image(layout, "linux/amd64")
    index = doc.decode_index(read_verified(layout, image))
    layer = doc.decode_manifest(read_verified(layout, index.manifests[0])).layers[0]
    path = layout.blob_path(layer.digest)
    flipped = bytearray(path.read_bytes())
    flipped[20] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(IntegrityError, match=re.escape(layer.digest)):
        send(layout, image, little.host)
    assert layer.digest not in little.blobs
    assert not little.manifests


def test_nobody_there_is_a_network_error(small, free_port):
    store, image = small
    with pytest.raises(NetworkError, match="refused") as raised:
        send(store, image, f"127.0.0.1:{free_port}")
    assert "running" in raised.value.hint


def test_a_thrown_switch_frees_whoever_waits_for_a_silent_server(small, little):
    store, image = small
    released = threading.Event()
    little.fail("POST", "uploads/", lambda _: released.wait(30) and None, times=9)
    cancellation = Cancellation()
    stopper = threading.Timer(0.4, cancellation.stop, [StoppedError("timed out", exit_code=124)])
    stopper.start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        send(store, image, little.host, cancellation=cancellation)
    assert time.monotonic() - began < 5
    released.set()


# Reading what a registry gives.


def reading(host: str):
    return connected(at(host), cancellation=Cancellation())


def test_a_tag_that_is_not_there(little):
    """Only a GET brings the registry's own words."""
    wanted = r"team/app: GET manifests/1\.0: not there: status 404: UNKNOWN not here$"
    with reading(little.host) as repository, pytest.raises(MissingBlobError, match=wanted) as raised:
        repository.resolve()
    assert f"imagekit image list {little.host}/team/app" in raised.value.hint


def test_a_blob_that_is_not_there_is_named_with_its_digest_and_the_registrys_words(little, answers):
    digest = digest_of(b"gone")
    little.fail("GET", f"blobs/{digest}", answers.of(404, {}, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"no"}]}'))
    wanted = f"^{little.host}/team/app: GET blobs/{digest}: not there: status 404: BLOB_UNKNOWN no$"
    with reading(little.host) as repository, pytest.raises(MissingBlobError, match=wanted) as raised:
        repository.open(digest)
    assert "push" in raised.value.hint


REFUSALS = {401: ["GET", "HEAD", "GET"], 403: ["GET", "HEAD", "GET"], 503: ["GET", *["HEAD"] * 5]}


@pytest.mark.parametrize(("status", "asked"), REFUSALS.items(), ids=map(str, REFUSALS))
def test_a_refused_head_is_told_in_the_registrys_words(little, answers, status, asked):
    """For which a GET is sent once, though not to a registry that is busy."""
    for method in ("HEAD", "GET"):
        little.fail(method, "manifests/", answers.of(status, {}, b'{"errors":[{"code":"DENIED"}]}'), times=99)
    words = "" if status == 503 else ": DENIED"
    wanted = f"^{little.host}/team/app: HEAD manifests/1.0: status {status}{words}$"
    with reading(little.host) as repository, pytest.raises(NetworkError, match=wanted):
        repository.resolve()
    assert [seen.method for seen in little.seen] == asked


LIES = {
    "other bytes": (b'{"schemaVersion":2,"manifests":[]}', IntegrityError),
    "too many bytes": (b"x" * (doc.DOCUMENT_LIMIT + 1), UnreadableError),
}


@pytest.mark.parametrize(("content", "kind"), LIES.values(), ids=LIES)
def test_a_manifest_that_is_not_what_its_digest_says(small, little, answers, content, kind):
    store, image = small
    send(store, image, little.host)
    little.fail("GET", "manifests/", answers.of(200, {"Content-Type": doc.INDEX}, content))
    with reading(little.host) as repository, pytest.raises(kind):
        copy(repository, Memory(), repository.resolve())


def test_a_digest_that_the_registry_calls_otherwise(small, little, answers):
    _, image = small
    other = {"Docker-Content-Digest": "sha256:" + "1" * 64, "Content-Type": doc.INDEX, "Content-Length": "5"}
    little.fail("HEAD", "manifests/", answers.of(200, other))
    with reading(little.host) as repository, pytest.raises(IntegrityError, match="asked for"):
        repository.resolve(image.digest)


def test_a_registry_that_tells_no_digest_is_hashed(small, little, answers):
    store, image = small
    send(store, image, little.host)
    little.fail("HEAD", "manifests/", answers.of(200, {"Content-Type": doc.INDEX}))
    with reading(little.host) as repository:
        assert repository.resolve() == image.bare()


BODIES = {
    "cut": (lambda a, whole: a.cut(whole[:-3], len(whole)), None),
    "other bytes of the right length": (lambda a, whole: a.of(200, {}, bytes(len(whole))), IntegrityError),
    "too short": (lambda a, whole: a.of(200, {}, whole[:-1]), IntegrityError),
    "too long": (lambda a, whole: a.of(200, {}, whole + b"x"), IntegrityError),
    "called gzip": (lambda a, whole: a.of(200, {"Content-Encoding": "gzip"}, whole), None),
}


@pytest.mark.parametrize(("answer", "kind"), BODIES.values(), ids=BODIES)
def test_a_blob_that_breaks_its_promise_is_not_kept(tmp_path, small, little, answers, answer, kind):
    store, image = small
    sent = send(store, image, little.host)
    layer = next(each for each in sent if each.media_type == doc.LAYER_GZIP)
    layout = Layout.create(tmp_path / "layout")
    little.fail("GET", layer.digest, answer(answers, little.blobs[layer.digest]))
    with reading(little.host) as repository:
        if kind is None:
            copy(repository, layout, repository.resolve())
            return
        with pytest.raises(kind, match=f"^blob {layer.digest} from {little.host}/team/app "):
            copy(repository, layout, repository.resolve())
    assert not layout.has(layer.digest)
    assert not layout.has(image.digest)
    assert not list(layout.path.glob(".*"))


def test_a_manifest_among_the_blobs_is_found(small, little):
    store, image = small
    send(store, image, little.host)
    with reading(little.host) as repository, repository.open(image.digest) as stream:
        assert digest_of(stream.read()) == image.digest


# Redirects.


def test_a_redirect_to_another_host_takes_no_credentials_along(small, little, little_registry, answers):
    store, image = small
    sent = send(store, image, little.host)
    layer = next(each for each in sent if each.media_type == doc.LAYER_GZIP)
    other = little_registry()
    other.blobs.update(little.blobs)
    little.want_token()
    elsewhere = f"{other.url}/v2/x/y/blobs/{layer.digest}?signature=1"
    little.fail("GET", f"blobs/{layer.digest}", answers.of(401, {"WWW-Authenticate": little.challenge}))
    little.fail("GET", f"blobs/{layer.digest}", answers.of(307, {"Location": elsewhere}))
    with reading(little.host) as repository:
        assert read_verified(repository, layer)
    assert [seen.authorization for seen in little.calls("GET", "blobs/")] == ["", "Bearer good"]
    assert [seen.authorization for seen in other.seen] == [""]


TURNS = {
    "to itself": ("", "more than 5 redirects"),
    "to plain http elsewhere": ("http://192.0.2.1/blob", "not be encrypted"),
    "to a file": ("file:///etc/passwd", "not be encrypted"),
    "to nowhere": ("http://[::1/", "not be encrypted"),
}


@pytest.mark.parametrize(("location", "message"), TURNS.values(), ids=TURNS)
def test_a_redirect_that_leads_astray_is_not_followed(little, answers, location, message):
    digest = digest_of(b"blob")
    target = location or f"{little.url}/v2/team/app/blobs/{digest}"
    little.fail("GET", "blobs/", answers.of(302, {"Location": target}), times=99)
    with reading(little.host) as repository, pytest.raises(NetworkError, match=message):
        repository.open(digest)
    assert len(little.calls("GET", "blobs/")) <= 5


def test_an_upload_that_is_sent_to_another_host_carries_no_credentials(small, little, little_registry, answers, login):
    store, image = small
    other = little_registry()
    login(little.host, "me", "secret")
    little.want_basic("me", "secret")
    refused = answers.of(401, {"WWW-Authenticate": little.challenge})
    little.fail("HEAD", "manifests/", refused)
    little.fail("POST", "uploads/", answers.of(202, {"Location": f"{other.url}/v2/o/blobs/uploads/9"}), times=9)
    send(store, image, little.host)
    assert len(other.blobs) == 6
    assert {seen.authorization for seen in other.seen} == {""}


# Who we are.


@pytest.fixture
def login(tmp_path: Path):
    """Write docker's configuration: `login(host, username, password, **more keys of the entry)`."""
    import base64

    def write(host: str, username: str, password: str, **more: str) -> None:
        auth = base64.b64encode(f"{username}:{password}".encode()).decode()
        (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {host: {"auth": auth, **more}}}))

    return write


def test_basic_credentials_of_dockers_configuration(small, little, login):
    store, image = small
    login(little.host, "me", "pa:ss")
    little.want_basic("me", "pa:ss")
    send(store, image, little.host)
    assert "1.0" in little.manifests


def test_a_token_without_an_account(small, little):
    store, image = small
    little.want_token()
    send(store, image, little.host)
    (asked,) = little.calls("GET", "/token")
    assert asked.path == "/token?service=little&scope=repository%3Ateam%2Fapp%3Apull%2Cpush"


def test_a_token_for_an_account(small, little, login):
    store, image = small
    login(little.host, "me", "secret")
    little.want_token(paid_with="Basic bWU6c2VjcmV0")
    send(store, image, little.host)
    paths = {seen.path.partition("?")[0] for seen in little.seen if seen.authorization.startswith("Basic")}
    assert paths == {"/token"}


def test_an_identity_token_is_traded_in(small, little, login, answers):
    store, image = small
    login(little.host, "me", "", identitytoken="identity")
    little.want_token()
    little.fail("POST", "/token", answers.of(200, {}, b'{"access_token":"good"}'))
    send(store, image, little.host)
    (asked,) = little.calls("POST", "/token")
    assert b"grant_type=refresh_token" in asked.body
    assert b"refresh_token=identity" in asked.body


def test_a_registry_that_is_gone_in_the_middle_of_a_blob_is_asked_no_more_often(tmp_path, small, little, answers):
    store, image = small
    send(store, image, little.host)
    manifest = doc.decode_manifest(read_verified(store, doc.decode_index(read_verified(store, image)).manifests[0]))
    layer = manifest.layers[0]
    little.fail("GET", layer.digest, answers.cut(little.blobs[layer.digest][:100], layer.size))
    little.fail("GET", layer.digest, answers.of(503), 1000)
    with (
        connected(at(little.host), cancellation=Cancellation()) as repository,
        repository.open(layer.digest) as stream,
        pytest.raises(NetworkError, match="status 503"),
    ):
        stream.read()
    assert len(little.calls("GET", layer.digest)) == 1 + 5


def test_a_token_service_is_asked_no_more_often_than_the_registry(small, little, answers):
    store, image = small
    send(store, image, little.host)
    little.want_token()
    little.seen.clear()
    little.fail("GET", "/token", answers.of(503), 1000)
    with connected(at(little.host), cancellation=Cancellation()) as repository:
        with pytest.raises(NetworkError, match=r"a token from .*: status 503"):
            repository.fetch()
        assert len(little.calls("GET", "/token")) == len(little.calls("GET", "manifests/")) == 5
        little.faults.clear()
        little.fail("GET", "/token", answers.of(503), 4)
        assert repository.fetch().digest == image.digest


def test_a_token_that_runs_out_is_renewed(small, little):
    store, image = small
    little.want_token()
    little.token = b'{"token":"first"}'
    little.accepted = {"Bearer first"}

    def run_out(handler):
        little.token, little.accepted = b'{"token":"second"}', {"Bearer second"}
        handler.answer(401, {"WWW-Authenticate": little.challenge})

    little.fail("PUT", "uploads/", run_out)
    send(store, image, little.host)
    assert "1.0" in little.manifests
    assert len(little.calls("GET", "/token")) == 2


def test_a_registry_that_never_has_enough_is_left(small, little):
    store, image = small
    little.want_token()
    little.accepted = set()
    with pytest.raises(NetworkError, match="status 401"):
        send(store, image, little.host)
    assert len(little.seen) < 8


def test_a_challenge_is_read_once_however_long_it_is():
    """Looked for from each letter of a word, a parameter without its value would take longer than anybody waits."""
    assert parse_challenge('Bearer realm="https://x" ' + "a" * 1_000_000) == Challenge("bearer", "https://x")
    assert parse_challenge('Bearer realm="https://x",-service="no",service=s') == Challenge("bearer", "https://x", "s")


def test_wrong_credentials_are_refused_without_being_shown(small, little, login):
    store, image = small
    login(little.host, "me", "wrongsecret")
    little.want_basic("me", "right")
    with pytest.raises(NetworkError, match="status 401") as raised:
        send(store, image, little.host)
    assert "wrongsecret" not in repr(raised.value) + raised.value.hint
    assert len(little.seen) < 8


REALMS = {
    "plain http elsewhere": "http://192.0.2.1/token",
    "no address": "token",
    "a file": "file:///etc/passwd",
    "another local file": "http:///token",
}


@pytest.mark.parametrize("realm", REALMS.values(), ids=REALMS)
def test_a_realm_that_would_see_the_password_unencrypted_is_refused(small, little, login, realm):
    store, image = small
    login(little.host, "me", "secret")
    little.want_token(realm)
    with pytest.raises(NetworkError, match="not encrypted"):
        send(store, image, little.host)
    assert not any(seen.authorization for seen in little.seen)


TOKENS = {
    "not JSON": b"<html>",
    "empty": b"{}",
    "with a newline": b'{"token":"a\\r\\nX-Evil: 1"}',
    "deep": b"[" * 60000,
    "huge": b'{"token":"' + b"x" * (1 << 20) + b'"}',
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_that_is_none_is_refused(small, little, token):
    store, image = small
    little.want_token()
    little.token = token
    with pytest.raises(NetworkError, match="no usable token"):
        send(store, image, little.host)


def test_a_token_server_that_redirects_gets_nothing(small, little, little_registry, answers, login):
    store, image = small
    other = little_registry()
    login(little.host, "me", "secret")
    little.want_token()
    little.fail("GET", "/token", answers.of(302, {"Location": f"{other.url}/token"}), times=9)
    with pytest.raises(NetworkError, match="status 302"):
        send(store, image, little.host)
    assert not other.seen


# TLS.


def test_tls_with_the_authority_that_the_environment_names(small, little_registry, certificate, monkeypatch, login):
    store, image = small
    secure = little_registry(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    login(secure.host, "me", "secret")
    secure.want_basic("me", "secret")
    send(store, image, secure.host)
    assert "1.0" in secure.manifests


def test_a_certificate_of_nobody_we_know_is_refused(small, little_registry, certificate, login):
    store, image = small
    secure = little_registry(certificate)
    login(secure.host, "me", "secret")
    with pytest.raises(NetworkError, match="TLS failed") as raised:
        send(store, image, secure.host)
    assert "SSL_CERT_FILE" in raised.value.hint
    assert not secure.seen


def test_another_host_is_never_spoken_to_in_plain_http():
    with (
        connected(Reference.parse("registry.invalid/a/b"), cancellation=Cancellation()) as repository,
        pytest.raises(NetworkError, match=r"^registry\.invalid/a/b: HEAD manifests/latest: Failed") as raised,
    ):
        repository.resolve()
    assert str(raised.value.__cause__).startswith("HEAD https://registry.invalid/")


def test_an_artifact_that_refers_to_an_image_is_pushed_too(small, little):
    store, image = small
    layer = put(store, b"sbom", "application/spdx+json")
    store.add(io.BytesIO(doc.EMPTY_JSON))
    artifact = doc.Manifest(
        config=doc.EMPTY_DESCRIPTOR, layers=(layer,), subject=image.bare(), artifact_type="application/spdx+json"
    )
    referrer = put(store, doc.encode(artifact), doc.MANIFEST)
    sent = send(store, referrer, little.host, rest="team/app")
    assert {each.digest for each in sent} == {referrer.digest, layer.digest, doc.EMPTY_DESCRIPTOR.digest}
    assert referrer.digest in little.manifests
