from __future__ import annotations

import json
import os
import secrets
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imagekit.bundle.create import Created, create
from imagekit.bundle.load import load
from imagekit.bundle.verify import verify
from imagekit.cancellation import Cancellation
from imagekit.cli.main import main
from imagekit.errors import IntegrityError, ToolError, UsageError
from imagekit.oci.blobs import read_verified
from imagekit.oci.documents import REF_NAME, decode_index, decode_manifest
from imagekit.oci.engine import Engine, find_engine
from imagekit.oci.layers import Entry
from imagekit.oci.store import Layout
from imagekit.trust import policy as trust_policy

pytestmark = pytest.mark.real
MakeLayout = Callable[..., Path]


def loaded(path: Path, trust_file: Path, into: str) -> list[str]:
    with verify(path, trust_policy.load(trust_file)) as verified:
        return [one.where for one in load(verified, into)]


def blobs(path: Path) -> dict[str, bytes]:
    return {blob.name: blob.read_bytes() for blob in (path / "blobs/sha256").iterdir()}


def test_a_new_layout_is_what_was_bundled(bundle: Created, layout: Path, trust_file: Path, tmp_path: Path) -> None:
    assert loaded(bundle.path, trust_file, f"oci:{tmp_path}/there") == [f"oci:{tmp_path}/there:app"]
    assert blobs(tmp_path / "there") == blobs(layout)
    there, here = Layout(tmp_path / "there").index().manifests, Layout(layout).index().manifests
    assert {entry.digest for entry in there} == {entry.digest for entry in here}
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
    words = ["skopeo", "copy", "--quiet", "--insecure-policy", "--all", "oci:there:app", "oci:copy:app"]
    subprocess.run(words, cwd=tmp_path, check=True)


def test_loading_twice_changes_nothing(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    loaded(bundle.path, trust_file, f"oci:{tmp_path}/there")
    before = (tmp_path / "there/index.json").read_bytes()
    loaded(bundle.path, trust_file, f"oci:{tmp_path}/there")
    assert (tmp_path / "there/index.json").read_bytes() == before


def test_into_a_layout_that_is_there(
    make_layout: MakeLayout, bundle: Created, key: Any, trust_file: Path, tmp_path: Path
) -> None:
    make_layout(tmp_path / "there", platforms=["linux/arm64"], name="other", tag="registry.example/other:1")
    loaded(bundle.path, trust_file, f"oci:{tmp_path}/there")
    names = [entry.annotations.get(REF_NAME) for entry in Layout(tmp_path / "there").index().manifests]
    assert names == ["other", None, None, "app", None, None]
    newer = make_layout(tmp_path / "newer", platforms=["linux/amd64"])
    made = create([f"oci:{newer}"], tmp_path / "out/release.tar", sign=key.sign)
    loaded(made.path, trust_file, f"oci:{tmp_path}/there")
    found = Layout(tmp_path / "there").resolve("app")
    assert found.digest == Layout(newer).resolve("app").digest


def test_a_folder_with_other_files_is_left_alone(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no OCI layout"):
        loaded(bundle.path, trust_file, f"oci:{tmp_path}/there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("into", ["", "oci:", "/somewhere", "docker:app", "a b"])
def test_places_that_are_none(bundle: Created, trust_file: Path, into: str) -> None:
    with pytest.raises(UsageError, match="cannot load into"):
        loaded(bundle.path, trust_file, into)


def test_a_load_that_is_stopped_leaves_nothing(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    from imagekit.errors import StoppedError

    switch = Cancellation()
    with verify(bundle.path, trust_policy.load(trust_file)) as verified:
        switch.stop(StoppedError("interrupted", exit_code=130))
        with pytest.raises(StoppedError):
            load(verified, f"oci:{tmp_path}/there", cancellation=switch)
    assert list(tmp_path.iterdir()) == []


def test_index_and_blobs_can_be_read_by_everybody(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    loaded(bundle.path, trust_file, f"oci:{tmp_path}/there")
    for path in (tmp_path / "there").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    assert json.loads((tmp_path / "there/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}


# --- the engine ---------------------------------------------------------------------------------------------------

GREETING = "hello from the other side\n"


def docker(*words: str, prefix: tuple[str, ...] = (), check: bool = True) -> str:
    return subprocess.run([*prefix, "docker", *words], check=check, capture_output=True, text=True).stdout


@pytest.fixture
def tag(docker_engine: str) -> Iterator[str]:
    """A name that no other test uses; what the engine has under it is removed afterwards."""
    name = f"registry.example/test/{secrets.token_hex(6)}:1.0"
    yield name
    docker("rmi", "--force", name, check=False)


def test_an_engine_that_nobody_brought_is_named(bundle: Created, trust_file: Path) -> None:
    with pytest.raises(UsageError, match="'lxc' is not an engine"):
        loaded(bundle.path, trust_file, "lxc")


@pytest.fixture
def tagged(make_layout: MakeLayout, key: Any, tag: str, tmp_path: Path) -> Created:
    """A signed bundle of an image of that name."""
    layout = make_layout(tmp_path / "tagged", tag=tag)
    return create([f"oci:{layout}"], tmp_path / "out/release.tar", sign=key.sign)


def test_docker_loads_and_runs_it(tagged: Created, tag: str, trust_file: Path) -> None:
    (identity,) = loaded(tagged.path, trust_file, "docker")
    assert docker("inspect", "--format", "{{.Id}}", tag).strip() == identity
    assert docker("run", "--rm", "--network", "none", identity) == GREETING


def test_podman_loads_it(tagged: Created, tag: str, trust_file: Path, podman_engine: str) -> None:
    (identity,) = loaded(tagged.path, trust_file, "podman")
    with closing(find_engine("podman")) as engine:
        assert engine.image_id(tag) == identity


def test_docker_load_takes_the_tar_as_it_is(tagged: Created, tag: str) -> None:
    assert docker("load", "--input", str(tagged.path)) == f"Loaded image: {tag}\n"
    assert docker("run", "--rm", "--network", "none", tag) == GREETING


def test_across_the_gap(tagged: Created, trust_file: Path) -> None:
    """Verified, loaded and run from a network namespace without routes; only the engine's socket is there."""
    alone = ("unshare", "-n")
    routes = subprocess.run([*alone, "cat", "/proc/net/route"], capture_output=True, text=True, check=True).stdout
    assert routes.splitlines()[1:] == [], "nothing under the heading"
    words = [sys.executable, "-m", "imagekit", "bundle", "load", str(tagged.path), "--trust", str(trust_file)]
    done = subprocess.run([*alone, *words], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert docker("run", "--rm", "--network", "none", done.stdout.strip(), prefix=alone) == GREETING


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_bytes_that_change_after_the_check_never_become_an_image(
    tagged: Created, tag: str, trust_file: Path, place: str
) -> None:
    with verify(tagged.path, trust_policy.load(trust_file)) as verified:
        position = {"first": 0, "middle": verified.source.size // 2, "last": verified.source.size - 1}[place]
        changed = bytes([verified.source.read_at(position, 1)[0] ^ 0xFF])
        with tagged.path.open("r+b") as stream:
            stream.seek(position)
            stream.write(changed)
        verified.source.read_at(0 if position >= 1 << 20 else verified.source.size - 1, 1)
        with pytest.raises(IntegrityError, match="changed after it was verified"):
            load(verified, "docker")
    assert docker("images", "--quiet", tag) == ""


ENGINES = ("docker", "podman", "careless-docker", "careless-podman")
"""The last two, of tests/plug_in, keep what came whole although the stream broke off."""
ADDRESS = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}


class Two(NamedTuple):
    """A signed bundle of an image and a larger one after it, which no other test has."""

    path: Path
    trust: Path
    tags: tuple[str, str]
    ids: tuple[str, str]

    def load(self, engine: str) -> int:
        """The exit code of `bundle load`."""
        return main(["bundle", "load", str(self.path), "--trust", str(self.trust), "--into", engine])

    def there(self, engine: Engine) -> list[str]:
        """What of it an engine has."""
        found = []
        for name in (*self.tags, *self.ids):
            with suppress(ToolError):
                found.append(engine.image_id(name))
        return found


@pytest.fixture
def two(make_layout: MakeLayout, programs: dict[str, Path], key: Any, trust_file: Path, tmp_path: Path) -> Two:
    tags, ids = [f"registry.example/test/{secrets.token_hex(6)}:1.0" for _ in range(2)], []
    for tag, name, size in zip(tags, ("small", "large"), (16, 3 << 20), strict=True):
        entries = [[Entry("app", mode=0o755, content=programs["linux/amd64"]), Entry("own", content=os.urandom(size))]]
        layout = Layout(make_layout(tmp_path / "two", platforms=["linux/amd64"], entries=entries, name=name, tag=tag))
        [manifest] = decode_index(read_verified(layout, layout.resolve(name))).manifests
        ids.append(decode_manifest(read_verified(layout, manifest)).config.digest)
    made = create([f"oci:{tmp_path}/two"], tmp_path / "out/two.tar", sign=key.sign)
    return Two(made.path, trust_file, (tags[0], tags[1]), (ids[0], ids[1]))


@pytest.fixture
def engine(request: pytest.FixtureRequest, two: Two, plug_in: None) -> Iterator[tuple[str, str, Engine]]:
    """Its name, the name of the real one under it, and a connection to that, which then loses what was loaded."""
    under = request.param.rpartition("-")[2]
    request.getfixturevalue(f"{under}_engine")
    with closing(find_engine(under)) as real:
        yield request.param, under, real
        for tag in two.tags:
            with suppress(ToolError):
                real.remove(tag)


@contextmanager
def changing(path: Path, address: str) -> Iterator[str]:
    """Another address of an engine; when it is called for the first time, a byte near the end of the file changes."""
    changed = threading.Event()

    class Between(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if not changed.is_set():
                changed.set()
                with path.open("r+b") as stream:
                    stream.seek(-(1 << 16), os.SEEK_END)
                    stream.write(bytes(1 << 10))
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(address.removeprefix("unix://"))
                threading.Thread(target=pump, args=(self.request, engine), daemon=True).start()
                pump(engine, self.request)

    with tempfile.TemporaryDirectory() as home:
        server = socketserver.ThreadingUnixStreamServer(f"{home}/socket", Between)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"unix://{home}/socket"
        server.shutdown()
        server.server_close()
    assert changed.is_set()


def pump(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            to.sendall(piece)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_source_that_changes_while_it_is_loaded_leaves_nothing_in_the_engine(
    two: Two,
    engine: tuple[str, str, Engine],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, under, real = engine
    with changing(two.path, os.environ[ADDRESS[under]]) as address, monkeypatch.context() as patch:
        patch.setenv(ADDRESS[under], address)
        assert two.load(name) == 5
    assert "changed after it was verified" in capsys.readouterr().err
    assert two.there(real) == []


@pytest.mark.parametrize("engine", ENGINES[2:], indirect=True)
def test_an_engine_may_keep_what_came_whole(two: Two, engine: tuple[str, str, Engine]) -> None:
    """So there is something to remove in the test before this one; docker and podman themselves keep nothing."""
    name, _, real = engine

    def broken() -> Iterator[bytes]:
        yield two.path.read_bytes()[: -1 << 20]
        raise IntegrityError("not what was verified")

    with closing(find_engine(name)) as taken, pytest.raises(IntegrityError):
        taken.load(broken())
    assert two.there(real) == [two.ids[0], two.ids[0]]


@pytest.mark.parametrize("engine", ENGINES[2:], indirect=True)
def test_what_the_engine_had_before_stays(
    two: Two, engine: tuple[str, str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, under, real = engine
    assert two.load(name) == 0
    before = two.there(real)
    assert before == [*two.ids, *two.ids]
    with changing(two.path, os.environ[ADDRESS[under]]) as address, monkeypatch.context() as patch:
        patch.setenv(ADDRESS[under], address)
        assert two.load(name) == 5
    assert two.there(real) == before


def test_what_is_refused_is_not_loaded(tagged: Created, tag: str, trust_file: Path) -> None:
    with tagged.path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"x")
    with pytest.raises(IntegrityError):
        loaded(tagged.path, trust_file, "docker")
    assert docker("images", "--quiet", tag) == ""


def test_an_image_for_another_system_is_not_for_docker(
    make_layout: MakeLayout, key: Any, trust_file: Path, tmp_path: Path
) -> None:
    notes = [[Entry("etc/notes", content=b"no program")]]
    layout = make_layout(tmp_path / "oci", platforms=["freebsd/amd64"], entries=notes, entrypoint=())
    made = create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    with pytest.raises(UsageError, match="holds no image for linux"):
        loaded(made.path, trust_file, "docker")
    assert loaded(made.path, trust_file, f"oci:{tmp_path}/there")
