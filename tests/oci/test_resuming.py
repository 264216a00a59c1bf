"""Pulls that broke off are gone on with by the next run: the wire log says what was asked for."""

from __future__ import annotations

import contextlib
import io
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import digest_of, hex_of
from imagekit.errors import IntegrityError, NetworkError, StoppedError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, put, read_verified
from imagekit.oci.copy import copy
from imagekit.oci.parts import Part
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Layout, Memory
from imagekit.oci.streams import OnDemand
from imagekit.workers import Workers

pytestmark = pytest.mark.usefixtures("alone")
SEED = 20261130
MIB = 1 << 20
CONTENT = random.Random(SEED).randbytes(8 * MIB)
LAYER = doc.Descriptor(doc.LAYER_TAR, digest_of(CONTENT), len(CONTENT))
LAST = len(CONTENT) - 1


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "layout", durable=False)


def image(store: Memory, content: bytes = CONTENT) -> doc.Descriptor:
    """An image of one layer."""
    layer = put(store, content, doc.LAYER_TAR)
    config = doc.ImageConfig(architecture="amd64", os="linux", rootfs=doc.RootFS(diff_ids=(layer.digest,)))
    kept = put(store, doc.encode(config), doc.CONFIG)
    return put(store, doc.encode(doc.Manifest(config=kept, layers=(layer,))), doc.MANIFEST)


@pytest.fixture
def there(little) -> Any:
    """The little registry, which knows ranges, with the image in it and nothing in its log."""
    store = Memory()
    push(store, image(store), Reference.parse(f"{little.host}/team/app:1"), cancellation=Cancellation())
    little.ranges = True
    little.seen.clear()
    return little


def pull(host: str, layout: Layout, cancellation: Cancellation | None = None) -> doc.Descriptor:
    switch = cancellation or Cancellation()
    with connected(Reference.parse(f"{host}/team/app:1"), cancellation=switch) as repository:
        root = repository.resolve()
        copy(repository, layout, root, workers=Workers(3, switch))
    return root


def asked(little: Any) -> list[str]:
    """The ranges of the layer that were asked for, '' for all of it."""
    return [seen.headers.get("Range", "") for seen in little.calls("GET", LAYER.digest)]


def part(layout: Layout) -> Path:
    return layout.path / f".{hex_of(LAYER.digest)}.part"


def left(layout: Layout) -> list[str]:
    return [path.name for path in layout.path.glob(".*")]


def giving(content: bytes, promised: int = 0, status: int = 200, **headers: str) -> Callable[[Any], None]:
    """Give these bytes, and hang up if more were promised."""

    def answer(handler: Any) -> None:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        handler.answer(status, {"Content-Length": str(promised or len(content)), **named}, content)
        handler.close_connection = True

    return answer


def ranged(first: int, content: bytes) -> Callable[[Any], None]:
    return giving(content, status=206, Content_Range=f"bytes {first}-{first + len(content) - 1}/{len(CONTENT)}")


FOREVER = 99


def test_the_next_run_asks_for_the_rest_alone(there, layout):
    there.ranges = False
    there.fail("GET", LAYER.digest, giving(CONTENT[: 3 * MIB + 17], len(CONTENT)), FOREVER)
    with pytest.raises(NetworkError, match=LAYER.digest) as raised:
        pull(there.host, layout)
    assert raised.value.exit_code == 6
    assert raised.value.hint.endswith("3 MiB of this blob are kept for the next run")
    assert part(layout).read_bytes() == CONTENT[: 3 * MIB + 17]
    there.faults.clear()
    there.seen.clear()
    there.ranges = True
    root = pull(there.host, layout)
    assert asked(there) == [f"bytes={3 * MIB + 17}-{LAST}"]
    assert read_verified(layout, root)
    assert layout.blob_path(LAYER.digest).read_bytes() == CONTENT
    assert left(layout) == []


def test_what_is_whole_is_not_asked_for_at_all(there, layout):
    part(layout).write_bytes(CONTENT)
    pull(there.host, layout)
    assert asked(there) == []
    assert left(layout) == []


def test_a_rest_that_breaks_off_too_is_gone_on_with(there, layout):
    part(layout).write_bytes(CONTENT[: 2 * MIB])
    there.fail(
        "GET",
        LAYER.digest,
        giving(CONTENT[2 * MIB : 3 * MIB], 6 * MIB, 206, Content_Range="bytes 2097152-8388607/8388608"),
    )
    pull(there.host, layout)
    assert asked(there) == [f"bytes={2 * MIB}-{LAST}", f"bytes={3 * MIB}-{LAST}"]
    assert layout.blob_path(LAYER.digest).read_bytes() == CONTENT


RANGES = {
    "it knows no ranges": (giving(CONTENT), [f"bytes={2 * MIB}-{LAST}"]),
    "it refuses them": (giving(b"", status=400), [f"bytes={2 * MIB}-{LAST}", ""]),
    "it says that there is no such range": (giving(b"", status=416), [f"bytes={2 * MIB}-{LAST}", ""]),
    "it gives another": (ranged(MIB, CONTENT[MIB:]), [f"bytes={2 * MIB}-{LAST}", ""]),
    "it does not say which it gives": (giving(CONTENT[2 * MIB :], status=206), [f"bytes={2 * MIB}-{LAST}", ""]),
    "it gives other bytes": (ranged(2 * MIB, bytes(6 * MIB)), [f"bytes={2 * MIB}-{LAST}", ""]),
    "it gives less": (ranged(2 * MIB, CONTENT[2 * MIB : -1]), [f"bytes={2 * MIB}-{LAST}", ""]),
    "it gives more": (ranged(2 * MIB, CONTENT[2 * MIB :] + b"x"), [f"bytes={2 * MIB}-{LAST}", ""]),
    "it is busy": (giving(b"", status=503), [f"bytes={2 * MIB}-{LAST}"] * 2),
}


@pytest.mark.parametrize(("answer", "ranges"), RANGES.values(), ids=RANGES)
def test_whatever_it_makes_of_a_range_the_blob_comes_in_the_same_run(there, layout, answer, ranges):
    part(layout).write_bytes(CONTENT[: 2 * MIB])
    there.fail("GET", LAYER.digest, answer)
    pull(there.host, layout)
    assert asked(there) == ranges
    assert layout.blob_path(LAYER.digest).read_bytes() == CONTENT
    assert left(layout) == []


def test_a_part_of_other_bytes_is_thrown_away_and_all_of_it_asked_for(there, layout):
    part(layout).write_bytes(bytes(2 * MIB))
    pull(there.host, layout)
    assert asked(there) == [f"bytes={2 * MIB}-{LAST}", ""]
    assert layout.blob_path(LAYER.digest).read_bytes() == CONTENT


def test_a_registry_that_gives_wrong_bytes_every_time_is_an_integrity_error(there, layout):
    part(layout).write_bytes(CONTENT[: 2 * MIB])
    there.fail("GET", LAYER.digest, giving(bytes(len(CONTENT))), FOREVER)
    with pytest.raises(IntegrityError, match=LAYER.digest):
        pull(there.host, layout)
    assert len(asked(there)) == 2
    assert left(layout) == []
    assert not layout.has(LAYER.digest)


def test_a_blob_that_the_registry_lost_meanwhile_is_missing(there, layout):
    part(layout).write_bytes(CONTENT[: 2 * MIB])
    del there.blobs[LAYER.digest]
    with pytest.raises(MissingBlobError, match=LAYER.digest):
        pull(there.host, layout)
    assert left(layout) == []


def test_a_thrown_switch_leaves_no_part(there, layout):
    cancellation, reached = Cancellation(), threading.Event()

    def stalls(handler: Any) -> None:
        giving(CONTENT[: 5 * MIB], len(CONTENT))(handler)
        reached.set()
        time.sleep(20)

    there.fail("GET", LAYER.digest, stalls, FOREVER)
    stopper = threading.Thread(
        target=lambda: (reached.wait(20), time.sleep(0.2), cancellation.stop(StoppedError("timed out", exit_code=124)))
    )
    stopper.start()
    with pytest.raises(StoppedError, match="timed out"):
        pull(there.host, layout, cancellation)
    stopper.join()
    assert left(layout) == []


def test_a_thrown_switch_is_told_from_a_connection_that_broke_too_often(there, monkeypatch):
    """However often it had broken before."""
    monkeypatch.setattr("imagekit.oci.body._BREAKS", 0)
    cancellation = Cancellation()
    there.fail("GET", LAYER.digest, giving(CONTENT[:100], len(CONTENT)))
    reference = Reference.parse(f"{there.host}/team/app")
    with connected(reference, cancellation=cancellation) as repository, repository.open(LAYER.digest) as stream:
        stream.read(100)
        cancellation.stop(StoppedError("terminated", exit_code=143))
        with pytest.raises(StoppedError):
            stream.read(100)


def test_a_mirror_is_asked_for_the_rest_before_the_registry(there, little_registry, layout, monkeypatch, tmp_path):
    mirror = little_registry()
    mirror.blobs, mirror.manifests, mirror.ranges = there.blobs, there.manifests, True
    (tmp_path / "registries.yaml").write_text(f'registries: {{"{there.host}": {{mirrors: ["{mirror.host}"]}}}}\n')
    monkeypatch.setenv("IMAGEKIT_REGISTRIES", str(tmp_path / "registries.yaml"))
    part(layout).write_bytes(CONTENT[: 2 * MIB])
    pull(there.host, layout)
    assert asked(mirror) == [f"bytes={2 * MIB}-{LAST}"]
    assert asked(there) == []


def test_a_mirror_that_lies_about_the_rest_is_left_for_the_registry(
    there, little_registry, layout, monkeypatch, tmp_path, caplog
):
    """Whether the part or the rest was wrong is not known, so the mirror is asked for the whole before it is left."""
    mirror = little_registry()
    mirror.blobs, mirror.manifests = there.blobs, there.manifests
    (tmp_path / "registries.yaml").write_text(f'registries: {{"{there.host}": {{mirrors: ["{mirror.host}"]}}}}\n')
    monkeypatch.setenv("IMAGEKIT_REGISTRIES", str(tmp_path / "registries.yaml"))
    part(layout).write_bytes(CONTENT[: 2 * MIB])
    mirror.fail("GET", LAYER.digest, ranged(2 * MIB, bytes(6 * MIB)))
    mirror.fail("GET", LAYER.digest, giving(bytes(8 * MIB)))
    pull(there.host, layout)
    assert asked(mirror) == [f"bytes={2 * MIB}-{LAST}", ""]
    assert asked(there) == [""]
    assert layout.blob_path(LAYER.digest).read_bytes() == CONTENT
    assert left(layout) == []
    assert [mirror.host in said for said in caplog.messages] == [True]


# A blob that is opened when it is read.


def test_what_is_never_read_is_never_opened():
    with OnDemand(Memory(), LAYER) as stream:
        assert stream.seek(3) == stream.tell() == 3


def test_a_source_without_ranges_is_read_from_its_start():
    store = Memory()
    put(store, CONTENT, doc.LAYER_TAR)
    with OnDemand(store, LAYER) as stream:
        assert stream.read(3) == CONTENT[:3]
        stream.seek(5 * MIB)
        assert stream.read(10) == CONTENT[5 * MIB : 5 * MIB + 10]
        stream.seek(0)
        assert stream.read() == CONTENT


def test_what_is_not_there_is_missing_where_it_is_read():
    with OnDemand(Memory(), LAYER) as stream, pytest.raises(MissingBlobError):
        stream.read(1)


# Real registries, real signals.


@pytest.mark.real
@pytest.mark.parametrize("kind", ["registry", "distribution", "docker-registry"])
def test_real_registries_give_the_rest(start_registry, layout, tmp_path, kind):
    store = Memory()
    root = image(store)
    (tmp_path / kind).mkdir()
    with start_registry(kind, tmp_path / kind) as host, slow_wire(host, 0) as wire:
        push(store, root, Reference.parse(f"{host}/team/app:1"), cancellation=Cancellation())
        part(layout).write_bytes(CONTENT[: 3 * MIB + 1])
        pull(wire.host, layout)
    assert wire.asked(LAYER.digest) == [f"bytes={3 * MIB + 1}-{LAST}"]
    assert layout.blob_path(LAYER.digest).read_bytes() == CONTENT
    assert wire.given < 6 * MIB


class Wire:
    """A way to a registry that is slow and keeps a log: each request's first line and `Range`, the bytes that came."""

    def __init__(self, to: str, pace: int) -> None:
        self.pace, self.requests, self.given = pace, list[tuple[str, str]](), 0
        self._to = ("127.0.0.1", int(to.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def asked(self, digest: str) -> list[str]:
        return [wanted for line, wanted in self.requests if line.startswith("GET") and digest in line]

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to)
                for each in (self._requests, self._answers):
                    threading.Thread(target=each, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        """Pulls alone come this way, so that a request is its head."""
        pending = b""
        with contextlib.suppress(OSError):
            while piece := client.recv(1 << 16):
                server.sendall(piece)
                *heads, pending = (pending + piece).split(b"\r\n\r\n")
                for head in heads:
                    found = re.search(rb"(?i)\r\nrange: *([^\r]*)", head)
                    self.requests.append((head.partition(b"\r\n")[0].decode(), found[1].decode() if found else ""))
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(1 << 16):
                if self.pace:
                    time.sleep(len(piece) / self.pace)
                self.given += len(piece)
                client.sendall(piece)
            client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def slow_wire(to: str, pace: int) -> Iterator[Wire]:
    """`pace` in bytes a second, 0 for as fast as it goes."""
    wire = Wire(to, pace)
    try:
        yield wire
    finally:
        wire.close()


class Ending(NamedTuple):
    """How a run ends: the signal that it gets (0: `--timeout`), its exit status, whether the part stays."""

    number: int
    words: tuple[str, ...]
    status: int
    stays: bool


ENDINGS = {
    "kill -9": Ending(signal.SIGKILL, (), -signal.SIGKILL, True),
    "kill -9, later": Ending(signal.SIGKILL, (), -signal.SIGKILL, True),
    "SIGTERM": Ending(signal.SIGTERM, (), 143, False),
    "Ctrl-C": Ending(signal.SIGINT, (), 130, False),
    "--timeout": Ending(0, ("--timeout", "2s"), 124, False),
}


@pytest.mark.real
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_pull_that_is_killed_is_finished_by_the_next_run(start_registry, tmp_path, ending):
    """At a seeded point of the layer; the next run asks for what was not there then, and for nothing else of it."""
    number, words, status, stays = ENDINGS[ending]
    moment = random.Random(f"{SEED} {ending}").uniform(1.1, 5) * MIB
    store = Memory()
    root = image(store)
    place = tmp_path / "layout"
    unfinished = place / f".{hex_of(LAYER.digest)}.part"
    with start_registry("distribution", tmp_path) as host, slow_wire(host, 2 * MIB) as wire:
        push(store, root, Reference.parse(f"{host}/team/app:1"), cancellation=Cancellation())
        command = [sys.executable, "-m", "imagekit", "image", "copy", f"{wire.host}/team/app:1", f"oci:{place}:app"]
        with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            while number and child.poll() is None and written_of(unfinished) < int(moment) // MIB * MIB:
                time.sleep(0.005)
            if number:
                child.send_signal(number)
            _, told = child.communicate(timeout=60)
        assert child.returncode == status, told
        assert [path.name for path in place.glob(".*")] == [unfinished.name] * stays
        assert not (place / "blobs/sha256" / hex_of(LAYER.digest)).exists()
        there = written_of(unfinished)
        assert stays is (there >= int(moment) // MIB * MIB > 0)
        wire.requests.clear()
        wire.pace, wire.given = 0, 0
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"oci:{place}:app@{root.digest}\n"), done.stderr
    assert wire.asked(LAYER.digest) == [f"bytes={there}-{LAST}" if stays else ""]
    assert wire.given < len(CONTENT) - there + MIB // 2
    assert list(place.glob(".*")) == []
    done = subprocess.run([*command[:4], "validate", f"oci:{place}:app"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def written_of(path: Path) -> int:
    """What the next run can go on with: the room for the rest is reserved, so the file is as large as the layer."""
    try:
        with io.FileIO(path) as file:
            return Part(path, file).written
    except FileNotFoundError:
        return 0
