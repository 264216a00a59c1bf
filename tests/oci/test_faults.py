"""Every fault that a registry can have: the right outcome or a clear error, in bounded time and memory, no secret out.

Each case arranges a fault, pulls or pushes an image with an account that the registry asks for, and says what comes of
it. After each, the wire logs are read: nobody but the registry and its own token service saw the account.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import digest_of, hex_of
from imagekit.errors import ImagekitError, IntegrityError, NetworkError, StoppedError, UnreadableError
from imagekit.oci import answers as reading
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put, read_verified
from imagekit.oci.connections import Watch
from imagekit.oci.copy import copy, missing
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Layout, Memory
from imagekit.workers import Workers

pytestmark = pytest.mark.real

SECRET = "the-secret-word"
ACCOUNT = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
SECONDS, BYTES = 20.0, 48 << 20
"""What a case may take at most, on a busy machine, of time and of Python's memory."""
FOREVER = 10_000
LAYER = b"layer" * 200_000
Arrange = Callable[[SimpleNamespace], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses and patience that tests can wait for."""
    monkeypatch.setattr("imagekit.oci.transport._BACKOFF", 0.001)
    monkeypatch.setattr("imagekit.oci.transport._LONGEST", 2.0)
    monkeypatch.setattr("imagekit.oci.answers.PACE", 1.0)


@pytest.fixture
def scene(monkeypatch, tmp_path: Path, little, little_registry, answers) -> SimpleNamespace:
    """A registry with an image and an account, another host beside it, and an image that can be pushed."""
    (tmp_path / "docker").mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    auth = base64.b64encode(f"me:{SECRET}".encode()).decode()
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {little.host: {"auth": auth}}}))
    store = Memory()
    image = simple_image(store, LAYER)
    stored = Memory()
    there = simple_image(stored, b"there" * 100_000)
    push(stored, there, Reference.parse(f"{little.host}/team/app:there"), cancellation=Cancellation())
    little.seen.clear()
    little.want_basic("me", SECRET)
    manifest = doc.decode_manifest(read_verified(stored, there))
    return SimpleNamespace(
        little=little,
        other=little_registry(),
        answers=answers,
        store=store,
        image=image,
        there=there,
        raw=read_verified(stored, there),
        layer=manifest.layers[0],
        content=b"there" * 100_000,
        layout=Layout.create(tmp_path / "layout"),
    )


def simple_image(store: Memory, content: bytes) -> doc.Descriptor:
    layer = put(store, content, doc.LAYER_TAR)
    config = doc.ImageConfig(architecture="amd64", os="linux", rootfs=doc.RootFS(diff_ids=(layer.digest,)))
    kept = put(store, doc.encode(config), doc.CONFIG)
    return put(store, doc.encode(doc.Manifest(config=kept, layers=(layer,))), doc.MANIFEST)


def pull(scene: SimpleNamespace) -> None:
    reference = Reference.parse(f"{scene.little.host}/team/app:there")
    with connected(reference, cancellation=Cancellation()) as repository:
        copy(repository, scene.layout, repository.fetch(), workers=Workers(3, Cancellation()))


def pull_resolved(scene: SimpleNamespace) -> None:
    """The same after a HEAD, as whoever only wants the digest asks."""
    reference = Reference.parse(f"{scene.little.host}/team/app:there")
    with connected(reference, cancellation=Cancellation()) as repository:
        copy(repository, scene.layout, repository.resolve(), workers=Workers(3, Cancellation()))


def send(scene: SimpleNamespace) -> None:
    reference = Reference.parse(f"{scene.little.host}/team/app:new")
    push(scene.store, scene.image, reference, cancellation=Cancellation())


# What a server can answer.


def of(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Callable:
    return lambda scene: scene.answers.of(status, headers, body)


def to(where: str) -> Callable:
    """A redirect to `where`, in which `{other}` is the other host and `{me}` the registry."""
    return lambda scene: scene.answers.of(307, {"Location": where.format(other=scene.other.url, me=scene.little.url)})


def starting_at(where: str) -> Callable:
    """The answer to the POST that begins an upload, which is to go on at `where`."""
    return lambda scene: scene.answers.of(202, {"Location": where.format(other=scene.other.url, me=scene.little.url)})


def dripping(_: SimpleNamespace) -> Callable:
    """A head that comes a byte at a time, for ever."""

    def answer(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            handler.wfile.write(b"X")
            time.sleep(0.05)

    return answer


def dripping_body(scene: SimpleNamespace) -> Callable:
    def answer(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", doc.MANIFEST)
        handler.send_header("Content-Length", str(len(scene.content)))
        handler.end_headers()
        while True:
            handler.wfile.write(b"t")
            time.sleep(0.05)

    return answer


def dripping_without_length(_: SimpleNamespace) -> Callable:
    def answer(handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(b"t")
            time.sleep(0.05)

    return answer


def silent(_: SimpleNamespace) -> Callable:
    return lambda _: time.sleep(4)


def gigabyte(kind: str, *, said: bool) -> Callable:
    """A body of 1 GB, announced or not."""

    def arrange(_: SimpleNamespace) -> Callable:
        def answer(handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Type", kind)
            if said:
                handler.send_header("Content-Length", str(1 << 30))
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.close_connection = True
            for _ in range(1 << 10):
                handler.wfile.write(bytes(1 << 20))

        return answer

    return arrange


def cut(scene: SimpleNamespace) -> Callable:
    """A blob that breaks off in the middle."""
    return scene.answers.cut(scene.content[:1000], len(scene.content))


def cut_chunk(scene: SimpleNamespace) -> Callable:
    return scene.answers.cut_chunk(scene.content[:1000], len(scene.content))


def reset_half_way(scene: SimpleNamespace) -> Callable:
    return scene.answers.reset_after(len(LAYER) // 2)


def reset(scene: SimpleNamespace) -> Callable:
    return scene.answers.reset


def fault(method: str, path: str, answer: Callable, times: int = 1, *, early: bool = False) -> Arrange:
    return lambda scene: scene.little.fail(method, path, answer(scene), times, early=early)


def layer_fault(answer: Callable, times: int = FOREVER) -> Arrange:
    return lambda scene: scene.little.fail("GET", scene.layer.digest, answer(scene), times)


def never_enough(scene: SimpleNamespace) -> None:
    scene.little.accepted = set()


def token_at(realm: str, *, only_this: bool = True) -> Arrange:
    def arrange(scene: SimpleNamespace) -> None:
        _, port = scene.other.host.split(":")
        scene.little.want_token(realm.format(other=scene.other.url, port=port, me=scene.little.url), paid_with=ACCOUNT)

    return arrange


def another_manifest(scene: SimpleNamespace) -> None:
    scene.little.manifests[scene.there.digest] = (doc.MANIFEST, scene.raw + b" ")


def foreign(scene: SimpleNamespace) -> None:
    """The image names a layer whose bytes are to be had elsewhere, with an address."""
    manifest = json.loads(scene.raw)
    lies = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest_of(b"elsewhere"),
        "size": 9,
        "urls": [f"{scene.other.url}/v2/x/blobs/{digest_of(b'elsewhere')}"],
    }
    raw = json.dumps({**manifest, "layers": [*manifest["layers"], lies]}).encode()
    for key in ("there", digest_of(raw)):
        scene.little.manifests[key] = (doc.MANIFEST, raw)
    scene.there = doc.Descriptor(doc.MANIFEST, digest_of(raw), len(raw))


def no_http(handler) -> None:
    handler.wfile.write(b"SSH-2.0-x\r\n")
    handler.finish()


def _huge_error(handler) -> None:
    handler.send_response(403)
    handler.send_header("Content-Length", str(1 << 30))
    handler.end_headers()
    for _ in range(1 << 10):
        handler.wfile.write(b"no " * (1 << 18))


DENIED = b'{"errors":[{"code":"DENIED","message":"not yours"}]}'
MANIFEST, BLOB, START, BLOB_PUT = "manifests/", r"blobs/sha256", r"blobs/uploads/$", r"blobs/uploads/\d"
LAYER_PUT = rf"blobs/uploads/\d.*{hex_of(digest_of(LAYER))}"
LATER = {"Retry-After": "1"}
INVENTED = {"Docker-Content-Digest": "sha256:" + "0" * 64, "Content-Type": doc.MANIFEST}
DIGEST = "sha256:[0-9a-f]{64}"
Outcome = None | tuple[type[ImagekitError], str]

PULLS: dict[str, tuple[Arrange, Outcome]] = {
    "401 without end": (never_enough, (NetworkError, "status 401")),
    "429 once": (fault("GET", MANIFEST, of(429, LATER)), None),
    "429 without end": (fault("GET", BLOB, of(429), FOREVER), (NetworkError, "status 429")),
    "429 for an hour": (fault("GET", BLOB, of(429, {"Retry-After": "3600"})), (NetworkError, "come back in 3600 s")),
    "429 until a date": (
        fault("GET", BLOB, of(429, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"})),
        (NetworkError, "come back in"),
    ),
    "500 twice": (fault("GET", BLOB, of(500), 2), None),
    "500 without end": (
        fault("GET", BLOB, of(500, {}, b'{"errors":[{"code":"UNKNOWN","message":"disk"}]}'), FOREVER),
        (NetworkError, "status 500: UNKNOWN disk"),
    ),
    "503 with Retry-After": (fault("GET", MANIFEST, of(503, LATER)), None),
    "403 with words": (
        fault("GET", MANIFEST, of(403, {}, DENIED), FOREVER),
        (NetworkError, "manifests/there: status 403: DENIED not yours"),
    ),
    "404 for a layer": (
        fault("GET", BLOB, of(404, {}, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}'), FOREVER),
        (UnreadableError, "not there: status 404: BLOB_UNKNOWN"),
    ),
    "404 for a tag": (
        lambda scene: scene.little.manifests.pop("there"),
        (UnreadableError, "manifests/there: not there: status 404: UNKNOWN not here"),
    ),
    "a reset instead of an answer": (fault("GET", BLOB, reset, 2), None),
    "a reset in the middle": (layer_fault(cut, 3), None),
    "a reset in the middle, always": (layer_fault(cut), (NetworkError, "blob sha256:")),
    "a reset in the middle of a chunk": (layer_fault(cut_chunk, 3), None),
    "a reset in the middle of a chunk, always": (layer_fault(cut_chunk), (NetworkError, "blob sha256:")),
    "a body that is too short": (
        layer_fault(lambda scene: scene.answers.of(200, {}, scene.content[:-1])),
        (IntegrityError, "ends after"),
    ),
    "a body of other bytes": (
        layer_fault(lambda scene: scene.answers.of(200, {}, b"x" * len(scene.content))),
        (IntegrityError, "holds bytes of sha256:"),
    ),
    "a body without end": (layer_fault(gigabyte("x/y", said=False)), (IntegrityError, "longer than")),
    "a digest that the header invents": (
        fault("GET", MANIFEST, lambda scene: scene.answers.of(200, INVENTED, scene.raw)),
        (IntegrityError, f"gave {DIGEST}, and calls it sha256:0000"),
    ),
    "no content type that we know": (
        fault("GET", MANIFEST, lambda scene: scene.answers.of(200, {"Content-Type": "text/html"}, scene.raw)),
        None,
    ),
    "a page instead of a manifest": (
        lambda scene: scene.little.manifests.update(there=("text/html", b"<html>log in here</html>")),
        (UnreadableError, "text/html"),
    ),
    "an index that calls itself a manifest": (
        lambda scene: scene.little.manifests.update(there=(doc.INDEX, scene.raw)),
        (UnreadableError, "calls itself"),
    ),
    "a manifest of 1 GB": (
        fault("GET", MANIFEST, gigabyte(doc.MANIFEST, said=True), 9),
        (UnreadableError, "more than"),
    ),
    "a manifest of 1 GB without a length": (
        fault("GET", MANIFEST, gigabyte(doc.MANIFEST, said=False), 9),
        (UnreadableError, "more than"),
    ),
    "an error page of 1 GB": (
        fault("GET", BLOB, lambda _: lambda handler: _huge_error(handler), FOREVER),
        (NetworkError, "status 403"),
    ),
    "a redirect to another host": (
        lambda scene: (
            scene.other.blobs.update(scene.little.blobs),
            scene.little.fail("GET", scene.layer.digest, to("{other}/v2/a/b/blobs/" + scene.layer.digest)(scene), 9),
        ),
        None,
    ),
    "a redirect to a private address": (
        fault("GET", BLOB, to("https://10.0.0.1/secret"), FOREVER),
        (NetworkError, "a private address"),
    ),
    "a redirect to a cloud's secrets": (
        fault("GET", BLOB, to("https://169.254.169.254/latest"), FOREVER),
        (NetworkError, "a link-local address"),
    ),
    "a redirect to a private address in disguise": (
        fault("GET", BLOB, to("https://[::ffff:10.0.0.1]/secret"), FOREVER),
        (NetworkError, "a private address"),
    ),
    "a redirect to plain http": (
        fault("GET", BLOB, to("http://registry.invalid/x"), FOREVER),
        (NetworkError, "would not be encrypted"),
    ),
    "a redirect to a file": (fault("GET", BLOB, to("file:///etc/passwd"), 9), (NetworkError, "not be encrypted")),
    "a redirect with an account in it": (
        fault("GET", BLOB, lambda scene: scene.answers.of(307, {"Location": f"http://a:b@{scene.other.host}/"}), 9),
        (NetworkError, "not be encrypted"),
    ),
    "a redirect without an address": (fault("GET", BLOB, of(307), FOREVER), (NetworkError, "more than 5 redirects")),
    "redirects in a loop": (
        fault("GET", BLOB, to("{me}/v2/team/app/blobs/sha256:loop"), FOREVER),
        (NetworkError, "more than 5 redirects"),
    ),
    "a token realm on another host": (
        token_at("http://localhost:{port}/token"),
        (NetworkError, "which is another host"),
    ),
    "a token realm over plain http": (token_at("http://auth.invalid/token"), (NetworkError, "not encrypted")),
    "a token realm at a private address": (token_at("https://192.168.0.1/token"), (NetworkError, "private address")),
    "a token realm that is no address": (token_at("//"), (NetworkError, "not encrypted")),
    "a foreign layer": (foreign, None),
    "a head that drips": (fault("GET", BLOB, dripping, FOREVER), (NetworkError, "too slow")),
    "a body that drips": (layer_fault(dripping_body), (NetworkError, "too slow")),
    "a body without a length that drips": (layer_fault(dripping_without_length), (NetworkError, "too slow")),
    "a manifest that drips": (fault("GET", MANIFEST, dripping_body, FOREVER), (NetworkError, "too slow")),
    "no answer": (fault("GET", BLOB, silent, FOREVER), (NetworkError, "timed out|too slow")),
    "an answer that is no HTTP": (
        fault(
            "GET", BLOB, lambda _: lambda handler: (handler.wfile.write(b"SSH-2.0-x\r\n"), handler.finish()), FOREVER
        ),
        (NetworkError, "blob"),
    ),
}


RESOLVED: dict[str, tuple[Arrange, Outcome]] = {
    "429 once": (fault("HEAD", MANIFEST, of(429, LATER)), None),
    "403 with words": (
        lambda scene: [scene.little.fail(m, MANIFEST, of(403, {}, DENIED)(scene), FOREVER) for m in ("HEAD", "GET")],
        (NetworkError, "manifests/there: status 403: DENIED not yours"),
    ),
    "404 by HEAD alone": (fault("HEAD", MANIFEST, of(404)), None),
    "a manifest of other bytes": (another_manifest, (IntegrityError, "sha256:")),
    "a digest that the header invents": (fault("HEAD", MANIFEST, of(200, INVENTED)), (UnreadableError, "not there")),
    "no content type that we know": (fault("HEAD", MANIFEST, of(200, {"Content-Type": "text/html"}), 9), None),
}


PUSHES: dict[str, tuple[Arrange, Outcome]] = {
    "401 without end": (never_enough, (NetworkError, "status 401")),
    "429 with Retry-After": (fault("POST", START, of(429, LATER)), None),
    "500 for a blob": (fault("PUT", BLOB_PUT, of(500), 2), None),
    "503 without end": (fault("PUT", BLOB_PUT, of(503, {}, b"full"), FOREVER), (NetworkError, "status 503: full")),
    "a reset in the middle of a blob": (fault("PUT", LAYER_PUT, reset_half_way, 2, early=True), None),
    "a reset in the middle of a blob, always": (
        fault("PUT", LAYER_PUT, reset_half_way, FOREVER, early=True),
        (NetworkError, "upload of blob sha256:"),
    ),
    "a reset before a blob": (fault("PUT", BLOB_PUT, reset, 2, early=True), None),
    "a reset after a blob": (fault("PUT", BLOB_PUT, reset, 2), None),
    "a blob that it keeps otherwise": (
        fault("PUT", BLOB_PUT, of(201, {"Docker-Content-Digest": "sha256:" + "1" * 64})),
        (IntegrityError, "says that it keeps"),
    ),
    "a manifest that it refuses": (
        fault("PUT", MANIFEST, of(400, {}, b'{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}'), FOREVER),
        (NetworkError, "status 400: MANIFEST_INVALID no"),
    ),
    "Location on another host": (
        fault("POST", START, starting_at("{other}/v2/a/b/blobs/uploads/7"), FOREVER),
        None,
    ),
    "Location at a private address": (
        fault("POST", START, starting_at("https://10.0.0.1/upload"), FOREVER),
        (NetworkError, "private address"),
    ),
    "Location over plain http": (
        fault("POST", START, starting_at("http://storage.invalid/upload"), FOREVER),
        (NetworkError, "not be encrypted"),
    ),
    "no Location": (fault("POST", START, of(202), FOREVER), (NetworkError, "no Location")),
    "a redirect of an upload": (
        fault("POST", START, to("{other}/v2/a/b/blobs/uploads/"), FOREVER),
        (NetworkError, "status 307"),
    ),
    "a token realm on another host": (
        token_at("http://localhost:{port}/token"),
        (NetworkError, "which is another host"),
    ),
    "a registry that reads nothing": (
        fault("PUT", BLOB_PUT, silent, FOREVER, early=True),
        (NetworkError, "timed out|too slow"),
    ),
    "a head that drips": (fault("PUT", BLOB_PUT, dripping, FOREVER), (NetworkError, "too slow")),
}


@pytest.mark.parametrize(("arrange", "outcome"), PULLS.values(), ids=PULLS)
def test_a_pull(scene, arrange, outcome):
    arrange(scene)
    judge(scene, pull, outcome)
    see_what_came(scene, outcome)


@pytest.mark.parametrize(("arrange", "outcome"), RESOLVED.values(), ids=RESOLVED)
def test_a_pull_after_a_head(scene, arrange, outcome):
    arrange(scene)
    judge(scene, pull_resolved, outcome)
    see_what_came(scene, outcome)


def see_what_came(scene: SimpleNamespace, outcome: Outcome) -> None:
    if outcome is None:
        assert read_verified(scene.layout, scene.there)
        assert {each.media_type for each in missing(scene.layout, scene.there)} <= doc.FOREIGN_LAYERS
    else:
        assert not scene.layout.has(scene.there.digest)
    assert all(digest_of(path.read_bytes())[7:] == path.name for path in scene.layout.path.glob("blobs/sha256/*"))


@pytest.mark.parametrize(("arrange", "outcome"), PUSHES.values(), ids=PUSHES)
def test_a_push(scene, arrange, outcome):
    arrange(scene)
    judge(scene, send, outcome)
    assert ("new" in scene.little.manifests) is (outcome is None)
    if outcome is None:
        kept = scene.little.blobs | scene.other.blobs
        for blob in doc.decode_manifest(scene.little.manifests["new"][1]).children:
            assert digest_of(kept[blob.digest]) == blob.digest
    else:
        assert scene.image.digest not in scene.little.manifests


def judge(scene: SimpleNamespace, act: Callable, outcome: Outcome) -> None:
    """Do it, and see that it ends as it should, soon, in little memory, and that nobody learnt the secret.

    An error names host, repository, and digest or tag; what else it says stands in the outcome.
    """
    began, error = time.monotonic(), None
    tracemalloc.start()
    try:
        act(scene)
    except ImagekitError as raised:
        error = raised
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    if outcome is None:
        assert error is None, error
    else:
        with pytest.raises(outcome[0], match=outcome[1]):
            raise error or AssertionError("no error")
        told = error.message + error.hint
        assert SECRET not in told
        assert ACCOUNT.split()[1] not in told
        assert told.isprintable()
        assert re.match(rf"(blob sha256:[0-9a-f]{{64}} from )?{scene.little.host}/team/app[: ]", told), told
        assert re.search(r"sha256:[0-9a-f]{64}|manifests?[ /](there|new)\b", told), told
    assert all(each.met for each in scene.little.faults), "the fault was never met"
    assert time.monotonic() - began < SECONDS
    assert peak < BYTES
    no_secret_elsewhere(scene)


def no_secret_elsewhere(scene: SimpleNamespace) -> None:
    for seen in scene.other.seen:
        assert not seen.authorization
        sent = repr((seen.path, seen.headers)).encode() + seen.body
        assert SECRET.encode() not in sent
        assert ACCOUNT.split()[1].encode() not in sent
    assert all(seen.authorization in ("", ACCOUNT, "Bearer good") for seen in scene.little.seen)
    assert not any(SECRET in seen.path for seen in scene.little.seen)


MEASURED = """
import re, sys
from pathlib import Path
from imagekit.cli.main import main

code = main(sys.argv[1:])
print(code, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
"""A command, its exit code, and the most memory that its process ever had, of whatever kind (proc(5))."""
MORE = 24 << 20
"""Bytes that a fault may take beyond what the same pull takes without it."""
HOSTILE = {
    "a manifest of 1 GB": 4,
    "a manifest of 1 GB without a length": 4,
    "a body without end": 5,
    "an error page of 1 GB": 6,
}


def measured(scene: SimpleNamespace, to: str) -> tuple[int, int]:
    words = ["image", "copy", f"{scene.little.host}/team/app:there", f"oci:{scene.layout.path.with_name(to)}:app"]
    done = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True)
    code, peak = done.stdout.splitlines()[-1].split()
    return int(code), int(peak) << 10


@pytest.mark.parametrize(("name", "code"), HOSTILE.items(), ids=HOSTILE)
def test_the_whole_process_stays_small(scene, name, code):
    """Not only what Python's own memory counts."""
    done, usual = measured(scene, "good")
    assert done == 0
    PULLS[name][0](scene)
    assert scene.little.faults
    ended, peak = measured(scene, "bad")
    assert ended == code
    assert peak < usual + MORE


@pytest.mark.parametrize("kind", ["cut", "cut_chunk", "reset"])
def test_what_is_called_a_reset_is_one_on_the_wire(little, answers, kind):
    answer = getattr(answers, kind)
    little.fail("GET", "blobs", answer if kind == "reset" else answer(b"x" * 1000, 5000))
    host, _, port = little.host.partition(":")
    with socket.create_connection((host, int(port))) as wire:
        wire.sendall(b"GET /v2/a/blobs/x HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while wire.recv(1 << 16):
                pass


def test_a_foreign_layer_is_asked_of_nobody(scene):
    foreign(scene)
    pull(scene)
    assert not scene.other.seen


def test_pieces_are_watched_one_by_one(monkeypatch, scene):
    """A slow but steady server is waited for, however long all of it takes."""
    monkeypatch.setattr(reading, "PACE", 1.0)
    monkeypatch.setattr("imagekit.oci.parts.CHUNK", 1 << 16)

    def steady(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(scene.content)))
        handler.end_headers()
        for start in range(0, len(scene.content), 1 << 16):
            handler.wfile.write(scene.content[start : start + (1 << 16)])
            time.sleep(0.3)

    scene.little.fail("GET", scene.layer.digest, steady)
    began = time.monotonic()
    pull(scene)
    assert time.monotonic() - began > 2
    assert len(scene.little.calls("GET", scene.layer.digest)) <= 2


class Standing:
    """As much of a connection as whoever watches it looks at."""

    reached, deadline, was_slow = None, None, False

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock


def test_a_connection_that_stands_after_the_switch_was_thrown_is_cut_too():
    cancellation, (first, beyond), (late, other) = Cancellation(), socket.socketpair(), socket.socketpair()
    watch, connections = Watch(cancellation), [Standing(first), Standing(late)]
    with first, beyond, late, other:
        watch.add(connections[0])
        cancellation.stop(StoppedError("stopped", exit_code=130))
        assert beyond.recv(1) == b""
        watch.add(connections[1])
        assert other.recv(1) == b""
        watch.close()
