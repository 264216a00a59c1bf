"""Small real images, a real registry, and a server that misbehaves on request."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagekit.oci import documents as doc
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import BlobStore, Layout, put
from imagekit.platform import Platform

BuildImage = Callable[..., doc.Descriptor]


def manifest(store: BlobStore, platform: str, entries: list[Entry]) -> doc.Descriptor:
    """An image manifest of one layer, with its platform as an index states it."""
    named = Platform.parse(platform)
    layer = write_layer(store, entries, mtime=0)
    config = doc.ImageConfig(
        created="1970-01-01T00:00:00Z",
        architecture=named.architecture,
        os=named.os,
        variant=named.variant,
        config=doc.RuntimeConfig(entrypoint=("/app",)),
        rootfs=doc.RootFS(diff_ids=(layer.diff_id,)),
    )
    kept = put(store, doc.encode(config), doc.CONFIG)
    content = doc.encode(doc.Manifest(config=kept, layers=(layer.descriptor,)))
    return put(store, content, doc.MANIFEST, platform=doc.PlatformObject.of(named))


@pytest.fixture(scope="session")
def build_image() -> BuildImage:
    """Put an image for these platforms into a store: an index; `content` makes it another image."""

    def build(store: BlobStore, *platforms: str, content: bytes = b"program") -> doc.Descriptor:
        entries = {name: [Entry("app", mode=0o555, content=content + name.encode())] for name in platforms}
        manifests = tuple(manifest(store, name, entries[name]) for name in platforms)
        return put(store, doc.encode(doc.Index(manifests=manifests)), doc.INDEX)

    return build


@pytest.fixture(scope="session")
def program_image(tmp_path_factory: pytest.TempPathFactory, go_program: Path) -> tuple[Layout, doc.Descriptor]:
    """A layout with an image that prints `it runs`."""
    layout = Layout.create(tmp_path_factory.mktemp("program") / "layout", durable=False)
    return layout, manifest(layout, "linux/amd64", [Entry("app", mode=0o555, content=go_program)])


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static linux/amd64 program."""
    place = tmp_path_factory.mktemp("go")
    (place / "go.mod").write_text("module example.com/runs\n\ngo 1.24\n")
    (place / "main.go").write_text(
        'package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString("it runs\\n") }\n'
    )
    go = shutil.which("go", path=os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)]))
    assert go, "run `make setup`"
    environment = os.environ | {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOFLAGS": "-buildvcs=false"}
    subprocess.run([go, "build", "-o", "app", "."], cwd=place, env=environment, check=True)
    return place / "app"


@pytest.fixture(scope="session")
def registry(peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`127.0.0.1:port` of go-containerregistry's registry."""
    port = free_port()
    with (tmp_path_factory.mktemp("registry") / "log").open("wb") as log:
        started = subprocess.Popen([peer("registry"), "-port", str(port)], stdout=log, stderr=log)
    try:
        wait_for(port, started)
        yield f"127.0.0.1:{port}"
    finally:
        started.terminate()
        started.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and started.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the registry did not start")


@pytest.fixture
def docker_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Write a context as `docker context create` does, under a docker configuration of its own."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")

    def create(name: str, address: str) -> None:
        words = ["docker", "context", "create", name, "--docker", f"host={address}"]
        subprocess.run(words, check=True, capture_output=True)
        assert json.loads((next((tmp_path / "contexts/meta").iterdir()) / "meta.json").read_text())["Name"] == name

    return create
