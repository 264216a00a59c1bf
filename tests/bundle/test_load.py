from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagekit.bundle.create import Created, create
from imagekit.bundle.load import load
from imagekit.bundle.verify import verify
from imagekit.errors import IntegrityError, UsageError
from imagekit.oci.documents import REF_NAME
from imagekit.oci.engine import find_engine
from imagekit.oci.layers import Entry
from imagekit.oci.store import Layout
from imagekit.trust import policy as trust_policy
from imagekit.workers import Cancellation

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
