from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagekit.bundle.create import Created, create
from imagekit.bundle.load import load
from imagekit.bundle.verify import verify
from imagekit.errors import UsageError
from imagekit.oci.documents import REF_NAME
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


@pytest.mark.parametrize("into", ["", "podman", "oci:", "/somewhere", "docker:app"])
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
