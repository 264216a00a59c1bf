"""Same source, same bytes: wherever, whenever, by whomever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from imagekit.oci.blobs import put
from imagekit.oci.documents import CONFIG, INDEX, MANIFEST, ImageConfig, Index, Manifest, PlatformObject, RootFS, encode
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import Layout

CHANGING = """version: 1
builds: [{{id: app, main: ., platforms: [linux/amd64]}}]
images:
  - id: app
    build: app
    rootfs: {{users: "{users}", files: [{{from: web/, to: /srv/}}]}}
    variants: {{debug: {{add: "oci:{layout}:x"}}}}
"""


def added_layout(place: Path, content: bytes) -> None:
    """An image of one file for linux/amd64 in a layout that may be there already."""
    layout = Layout.create(place)
    layer = write_layer(layout, [Entry("debug", content=content)], mtime=0)
    config = ImageConfig(os="linux", architecture="amd64", rootfs=RootFS(diff_ids=(layer.diff_id,)))
    manifest = Manifest(config=put(layout, encode(config), CONFIG), layers=(layer.descriptor,))
    platform = PlatformObject(os="linux", architecture="amd64")
    index = put(layout, encode(Index(manifests=(put(layout, encode(manifest), MANIFEST, platform=platform),))), INDEX)
    layout.set_index(
        Index(manifests=(msgspec.structs.replace(index, annotations={"org.opencontainers.image.ref.name": "x"}),))
    )


@pytest.mark.parametrize("fixture", ["hello", "sqlite"])
def test_two_directories_times_umasks_homes_and_job_counts(
    module, imagekit, digests, tmp_path, shared_cache, fixture: str
):
    """The second has compiled everything itself: its caches are others, kept so that this is slow once a machine."""
    one, two = module(fixture, "one"), module(fixture, "elsewhere/two")
    first = imagekit("build", "--jobs", "1", cwd=one)
    assert first.returncode == 0, first.stderr
    (tmp_path / "home").mkdir()
    script = f"umask 0077; exec {sys.executable} -m imagekit build --jobs 2"
    second = subprocess.run(
        ["sh", "-c", script],
        cwd=two,
        capture_output=True,
        text=True,
        check=False,
        env={
            **{k: v for k, v in os.environ.items() if k not in ("GOFLAGS", "SOURCE_DATE_EPOCH")},
            "HOME": str(tmp_path / "home"),
            "GOMODCACHE": subprocess.check_output(["go", "env", "GOMODCACHE"], text=True).strip(),
            "XDG_CACHE_HOME": str(shared_cache / "elsewhere"),
            "TZ": "Pacific/Chatham",
            "LC_ALL": "C",
        },
    )
    assert second.returncode == 0, second.stderr
    assert first.stdout == second.stdout
    assert digests(one / "dist") == digests(two / "dist")


def test_twice_in_one_clone_without_a_gitignore(module, imagekit, digests):
    place = module("hello")
    assert imagekit("build", cwd=place).returncode == 0
    before = digests(place / "dist")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0
    assert "dirty" not in done.stderr
    assert digests(place / "dist") == before


def test_a_dirty_tree_is_said_and_changes_the_version(module, imagekit):
    place = module("hello")
    (place / "notes.txt").write_text("not committed")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "dirty-tree" in done.stderr


def test_a_module_without_a_repository(module, imagekit):
    place = module("hello", git=False)
    done = imagekit("build", "--config", "imagekit.yaml", cwd=place, SOURCE_DATE_EPOCH="1700000000")
    assert done.returncode == 0, done.stderr


def test_every_file_that_is_packed_is_looked_at_again(project, imagekit, tmp_path):
    """Behind a link to a folder, under an absolute path, in a variant's layout, and a folder without files."""
    place = project(
        {
            "go.mod": "module example.org/app\n\ngo 1.24\n",
            "main.go": "package main\n\nfunc main() {}\n",
            "shared/page": "one\n",
            "web/own": "own\n",
            "imagekit.yaml": CHANGING.format(users=tmp_path / "users", layout=tmp_path / "layout"),
        }
    )
    (place / "web/shared").symlink_to("../shared")
    (tmp_path / "users").mkdir()
    for name in ("passwd", "group"):
        (tmp_path / "users" / name).write_text("root:x:0:\n")
    added_layout(tmp_path / "layout", b"one")

    def printed() -> str:
        done = imagekit("build", cwd=place)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (place / "shared/page").write_text("two\n")
    seen = [printed(), printed()]
    assert seen[0] == seen[1]
    for change in (
        lambda: (place / "shared/page").write_text("three\n"),
        lambda: (place / "web/empty").mkdir(),
        lambda: (tmp_path / "users/passwd").write_text("root:x:0:0:root:/:\n"),
        lambda: added_layout(tmp_path / "layout", b"two"),
    ):
        change()
        seen.append(printed())
    assert len(set(seen)) == 5
