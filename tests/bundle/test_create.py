from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagekit.bundle.create import Created, create
from imagekit.content import hash_file
from imagekit.errors import ImagekitError, IntegrityError, ToolError, UnreadableError, UsageError
from imagekit.oci.documents import CONTAINERD_NAME, REF_NAME, Index
from imagekit.oci.store import Layout

pytestmark = pytest.mark.real
MakeLayout = Callable[..., Path]


def names(path: Path) -> list[str]:
    with tarfile.open(path) as opened:
        return opened.getnames()


def read(path: Path, member: str) -> Any:
    with tarfile.open(path) as opened:
        stream = opened.extractfile(member)
        assert stream is not None
        return json.load(stream)


def test_gpg_and_sha256sum_alone_can_check_it(bundle: Created, key: Any, tmp_path: Path) -> None:
    for path in bundle.path.parent.iterdir():
        shutil.copy(path, tmp_path)
    key.gpg("--verify", tmp_path / "VOLUMES.sha256.asc", tmp_path / "VOLUMES.sha256")
    subprocess.run(["sha256sum", "--strict", "-c", "VOLUMES.sha256"], cwd=tmp_path, check=True)
    subprocess.run(["tar", "xf", "release.tar"], cwd=tmp_path, check=True)
    key.gpg("--verify", tmp_path / "SHA256SUMS.asc", tmp_path / "SHA256SUMS")
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path, check=True)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    beside = {"release.tar", "VOLUMES.sha256", "VOLUMES.sha256.asc", "SHA256SUMS", "SHA256SUMS.asc"}
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    assert found - beside == listed


def test_what_it_tells(bundle: Created, layout: Path) -> None:
    digest, size = hash_file(bundle.path)
    assert (bundle.digest, bundle.size, bundle.signed) == (digest, size, True)
    assert bundle.volumes.read_text() == f"{digest[7:]}  release.tar\n"
    told = read(bundle.path, "imagekit/bundle.json")
    image = Layout(layout).resolve("app")
    assert told == {
        "schema": "urn:imagekit:bundle:v1",
        "created": "2026-01-02T03:04:05Z",
        "images": [
            {
                "ref": "registry.example/team/app:1.0",
                "name": "app",
                "digest": image.digest,
                "platforms": ["linux/amd64", "linux/arm64"],
            }
        ],
        "tools": told["tools"],
    }
    assert list(told["tools"]) == ["imagekit"]


def test_referrers_and_what_refers_to_them_go_along_unnamed(bundle: Created, layout: Path) -> None:
    entries = read(bundle.path, "index.json")["manifests"]
    assert len(entries) == 3
    assert [set(entry.get("annotations", {})) for entry in entries] == [{REF_NAME, CONTAINERD_NAME}, set(), set()]
    here = {entry.digest for entry in Layout(layout).index().manifests}
    assert {entry["digest"] for entry in entries} == here


def test_what_refers_to_another_image_stays(make_layout: MakeLayout, tmp_path: Path) -> None:
    path = make_layout(tmp_path / "oci", platforms=["linux/amd64"])
    make_layout(path, platforms=["linux/arm64"], name="other", tag="registry.example/other:1")
    made = create([f"oci:{path}:app"], tmp_path / "release.tar")
    assert len(read(made.path, "index.json")["manifests"]) == 3
    assert [image.name for image in made.document.images] == ["app"]
    whole = create([f"oci:{path}"], tmp_path / "release.tar")
    assert [image.name for image in whole.document.images] == ["app", "other"]
    assert len(read(whole.path, "manifest.json")) == 2


def test_a_referrer_behind_a_fallback_index_goes_along(make_layout: MakeLayout, tmp_path: Path) -> None:
    from imagekit.oci.blobs import put
    from imagekit.oci.documents import INDEX, encode

    path = make_layout(tmp_path / "oci", platforms=["linux/amd64"])
    layout = Layout(path)
    image, *referrers = layout.index().manifests
    fallback = {REF_NAME: "sha256-" + "0" * 64}
    index = put(layout, encode(Index(manifests=tuple(referrers))), INDEX, annotations=fallback)
    layout.set_index(Index(manifests=(image, index)))
    made = create([f"oci:{path}"], tmp_path / "release.tar")
    entries = read(made.path, "index.json")["manifests"]
    assert [entry["digest"] for entry in entries[1:]] == sorted(entry.digest for entry in referrers)


def test_the_same_image_gives_the_same_bytes(layout: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        (tmp_path / "one").mkdir()
        one = create([f"oci:{layout}"], tmp_path / "one/release.tar")
    finally:
        os.umask(before)
    shutil.copytree(layout, tmp_path / "copy")
    other = create([f"oci:{tmp_path}/copy:app"], tmp_path / "two/release.tar")
    assert one.digest == other.digest
    assert one.path.stat().st_mode & 0o777 == other.path.stat().st_mode & 0o777 == 0o644


def test_only_signatures_differ_between_two_signed_bundles(layout: Path, key: Any, tmp_path: Path) -> None:
    made = [create([f"oci:{layout}"], tmp_path / name / "release.tar", sign=key.sign) for name in ("one", "two")]
    sums = []
    for one in made:
        with tarfile.open(one.path) as opened:
            stream = opened.extractfile("SHA256SUMS")
            assert stream is not None
            sums.append((opened.getnames(), stream.read()))
    assert sums[0] == sums[1]


def test_source_date_epoch_sets_the_time_it_tells(layout: Path, tmp_path: Path) -> None:
    made = create([f"oci:{layout}"], tmp_path / "release.tar", epoch=0)
    assert made.document.created == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("kind", ["oci-archive", "bundle"])
def test_an_image_in_a_tar_gives_the_same_bundle(bundle: Created, layout: Path, tmp_path: Path, kind: str) -> None:
    made = create([f"{kind}:{bundle.path}"], tmp_path / "one/release.tar")
    assert made.digest == create([f"oci:{layout}"], tmp_path / "two/release.tar").digest


def test_an_archive_by_skopeo(layout: Path, tmp_path: Path) -> None:
    words = ["skopeo", "copy", "--quiet", "--insecure-policy", "--all", f"oci:{layout}:app", "oci-archive:made.tar:1.0"]
    subprocess.run(words, cwd=tmp_path, check=True)
    made = create([f"oci-archive:{tmp_path}/made.tar"], tmp_path / "release.tar")
    (image,) = made.document.images
    assert (image.name, image.ref) == ("1.0", "imagekit.local/1-0:latest")
    assert image.digest == Layout(layout).resolve("app").digest


def test_a_layout_without_names_is_named_by_its_folder(make_layout: MakeLayout, tmp_path: Path) -> None:
    layout = Layout(make_layout(tmp_path / "hello", referrers=False))
    entry = layout.index().manifests[0]
    from msgspec.structs import replace

    layout.set_index(Index(manifests=(replace(entry, annotations={}),)))
    (image,) = create([f"oci:{tmp_path}/hello"], tmp_path / "release.tar").document.images
    assert (image.name, image.ref) == ("hello", "imagekit.local/hello:latest")


@pytest.mark.parametrize(
    ("argument", "error", "said"),
    [
        ("app", UsageError, "not an image that a bundle can be made of"),
        ("docker:app", UsageError, "not an image that a bundle can be made of"),
        ("registry.example/app:1.0", UsageError, "not an image that a bundle can be made of"),
        ("oci:", UsageError, "not an image that a bundle can be made of"),
        ("oci:{layout}:nothing", UnreadableError, "is no image"),
        ("oci:/nowhere", UnreadableError, "not an OCI layout"),
        ("oci-archive:/nowhere.tar", UnreadableError, "No such file"),
        ("oci-archive:/etc/hostname", UnreadableError, "not a tar archive"),
        ("bundle:/etc", UnreadableError, "not a regular file"),
    ],
)
def test_what_cannot_go_into_a_bundle(
    layout: Path, tmp_path: Path, argument: str, error: type[ImagekitError], said: str
) -> None:
    with pytest.raises(error, match=said):
        create([argument.format(layout=layout)], tmp_path / "release.tar")
    assert list(tmp_path.iterdir()) == []


def test_no_image_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no image"):
        create([], tmp_path / "release.tar")


@pytest.mark.parametrize("name", ["VOLUMES.sha256", "VOLUMES.sha256.asc", "a b.tar", "a\nb.tar", "ü.tar", ".tar"])
def test_names_that_lists_cannot_hold(layout: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name of a bundle"):
        create([f"oci:{layout}"], tmp_path / name)


def test_two_bundles_in_one_folder_would_share_a_list(layout: Path, tmp_path: Path) -> None:
    create([f"oci:{layout}"], tmp_path / "release.tar")
    create([f"oci:{layout}"], tmp_path / "release.tar")
    with pytest.raises(UsageError, match=r"belongs to release\.tar"):
        create([f"oci:{layout}"], tmp_path / "other.tar")


def test_a_changed_blob_never_becomes_a_bundle(make_layout: MakeLayout, tmp_path: Path) -> None:
    path = make_layout(tmp_path / "oci")
    largest = max((path / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match=largest.name):
        create([f"oci:{path}"], tmp_path / "out/release.tar")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_key_that_cannot_sign_leaves_what_was_there(layout: Path, key: Any, tmp_path: Path) -> None:
    create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls = []

    def second_time(content: bytes) -> bytes:
        calls.append(content)
        if len(calls) == 2:
            raise ToolError("the card was pulled")
        return bytes(key.sign(content))

    with pytest.raises(ToolError, match="card"):
        create([f"oci:{layout}"], tmp_path / "release.tar", sign=second_time)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_unsigned_bundle_takes_the_old_signature_away(layout: Path, key: Any, tmp_path: Path) -> None:
    create([f"oci:{layout}"], tmp_path / "release.tar", sign=key.sign)
    made = create([f"oci:{layout}"], tmp_path / "release.tar")
    assert not made.signed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["VOLUMES.sha256", "release.tar"]
    assert "SHA256SUMS.asc" not in names(made.path)
