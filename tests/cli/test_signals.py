"""SIGINT, SIGTERM and `--timeout` at seeded moments: the process ends soon, says why, and leaves no half file."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imagekit.content import hash_file
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import Layout

SEED = 20261130
LARGE = 128 << 20
SOON = 30.0
"""Seconds that nothing but a hang takes."""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
LAST = re.compile(r"imagekit: exit (\d+): (interrupted|terminated) \(SIG(INT|TERM)\); .*nothing was half written")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with one large image, `big`."""
    place = tmp_path_factory.mktemp("big")
    (place / "content").write_bytes(random.Random(SEED).randbytes(LARGE))
    store = Layout.create(place / "layout", durable=False)
    layer = write_layer(store, [Entry("content", mode=0o444, content=place / "content")], mtime=0)
    config = doc.ImageConfig(architecture="amd64", os="linux", rootfs=doc.RootFS(diff_ids=(layer.diff_id,)))
    kept = put(store, doc.encode(config), doc.CONFIG)
    manifest = doc.encode(doc.Manifest(config=kept, layers=(layer.descriptor,)))
    image = put(store, manifest, doc.MANIFEST, annotations={doc.REF_NAME: "big"})
    store.set_index(doc.Index(manifests=(image,)))
    (place / "content").unlink()
    return place / "layout"


@pytest.fixture(scope="module")
def archive(layout: Path) -> Path:
    made = layout.with_name("big.tar")
    subprocess.run(
        [sys.executable, "-m", "imagekit", "image", "copy", f"oci:{layout}", f"oci-archive:{made}"], check=True
    )
    return made


@contextmanager
def begun(*words: str, cwd: Path, heard: bool = True) -> Iterator[subprocess.Popen[str]]:
    """`imagekit …`, once it listens to signals; killed at the end of the block if it is still there."""
    argv = [sys.executable, "-m", "imagekit", *words]
    with subprocess.Popen(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            while heard and child.poll() is None and not _listens(child.pid):
                time.sleep(0.0005)
            yield child
        finally:
            child.kill()


def _said(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def _listens(pid: int) -> bool:
    """Whether the process has a handler for SIGTERM, as Python alone has not."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = int(re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def ended(child: subprocess.Popen[str]) -> tuple[int, str, float]:
    """Exit code, stderr, and the seconds that the end took."""
    start = time.monotonic()
    _, stderr = child.communicate(timeout=SOON)
    return child.returncode, stderr, time.monotonic() - start


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1], ids=str)
def test_a_signal_while_it_starts_is_said_in_one_line(tmp_path: Path, number: signal.Signals, moment: float) -> None:
    with begun("rules", cwd=tmp_path) as child:
        time.sleep(moment)
        child.send_signal(number)
        code, stderr, _ = ended(child)
    if code:
        assert (code, stderr.count("\n")) == (CODES[number], 1)
        assert LAST.fullmatch(stderr.strip())


class _Closed(BaseHTTPRequestHandler):
    """A registry that lets nobody in."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="closed"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_credential_helper_that_waits_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-waits"
    helper.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text('{"credsStore": "waits"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Closed) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with begun("image", "inspect", f"127.0.0.1:{server.server_port}/a/b:1", cwd=tmp_path) as child:
            deadline = time.monotonic() + SOON
            while not _said(tmp_path / "pid") and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)
            child.send_signal(signal.SIGINT)
            code, stderr, _ = ended(child)
        server.shutdown()
    assert code == 130
    assert LAST.fullmatch(stderr.strip())
    asked = Path(f"/proc/{int(_said(tmp_path / 'pid'))}/cmdline")
    assert not asked.exists() or not asked.read_bytes()


MOMENTS = 25
"""Copies that a signal ends before they end themselves."""


@pytest.mark.real
@pytest.mark.parametrize("way", ["layout to archive", "archive to layout", "archive read"])
def test_a_copy_stopped_at_any_moment_ends_and_leaves_nothing(
    layout: Path, archive: Path, tmp_path: Path, way: str
) -> None:
    source, to = {
        "layout to archive": (f"oci:{layout}", f"oci-archive:{tmp_path}/copy.tar"),
        "archive to layout": (f"oci-archive:{archive}", f"oci:{tmp_path}/copy"),
        "archive read": (f"oci-archive:{archive}", ""),
    }[way]
    words = ["image", "copy", source, to] if to else ["image", "validate", source]
    chance = random.Random(f"{SEED} {way}")
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "imagekit", *words], check=True, capture_output=True)
    whole = time.monotonic() - start
    finished = {path: hash_file(path) for path in tmp_path.glob("*.tar")}
    _remove(tmp_path)
    stopped = trial = 0
    while stopped < MOMENTS:
        trial += 1
        assert trial < 10 * MOMENTS, "hardly any signal comes in time"
        number = chance.choice(list(CODES))
        with begun(*words, cwd=tmp_path) as child:
            time.sleep(chance.uniform(0, whole))
            child.send_signal(number)
            if trial % 10 == 9:  # somebody who does not wait
                time.sleep(0.3)
                with suppress(ProcessLookupError):
                    child.send_signal(signal.SIGINT)
            code, stderr, _ = ended(child)
        assert code in (0, CODES[number]), (trial, stderr)
        if code:
            stopped += 1
            assert LAST.fullmatch(stderr.strip()), (trial, stderr)
        else:  # the machine is less busy than it was
            whole *= 0.9
        assert not [path for path in tmp_path.rglob(".*") if path.is_file()], trial
        for path in tmp_path.glob("*.tar"):
            assert hash_file(path) == finished[path], trial
        for path in tmp_path.glob("copy/blobs/sha256/*"):
            assert hash_file(path)[0] == f"sha256:{path.name}", trial
        _remove(tmp_path)


def _remove(folder: Path) -> None:
    subprocess.run(["find", str(folder), "-mindepth", "1", "-delete"], check=True)
