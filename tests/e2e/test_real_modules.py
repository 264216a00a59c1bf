"""Published programs of other people, pinned: crane, node_exporter, and one that carries a C library."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

CRANE = "github.com/google/go-containerregistry/cmd/crane@v0.22.1"
NODE_EXPORTER = "github.com/prometheus/node_exporter@v1.12.1"


@pytest.fixture
def published(tmp_path, imagekit):
    """Build a published main package for some platforms; the folder, and the completed process."""

    def build(main: str, platforms: str, extra: str = "", *words: str):
        place = tmp_path / "published"
        place.mkdir(exist_ok=True)
        (place / "imagekit.yaml").write_text(
            f"version: 1\nbuilds:\n  - {{id: app, main: {main}, platforms: [{platforms}]{extra}}}\n"
            "images:\n  - {id: app, build: app, repository: registry.example/app, tags: [v1]}\n"
        )
        return place, imagekit("build", *words, cwd=place)

    return build


def test_crane_from_its_published_module(published):
    place, done = published(CRANE, "linux/amd64, linux/arm64")
    assert done.returncode == 0, done.stderr
    audit = json.loads((place / "dist/audit.json").read_text())
    assert [subject["facts"]["linkage"] for subject in audit["subjects"] if subject["facts"]] == ["static", "static"]
    index = json.loads((place / "dist/oci/index.json").read_text())
    image, *_ = index["manifests"]
    top = json.loads((place / "dist/oci/blobs/sha256" / image["digest"].removeprefix("sha256:")).read_text())
    assert [entry["platform"] for entry in top["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
    ]
    assert top["annotations"]["imagekit.module"] == "github.com/google/go-containerregistry"
    assert top["annotations"]["imagekit.module.version"] == "v0.22.1"
    assert top["annotations"]["imagekit.module.h1"].startswith("h1:")
    version = subprocess.run(
        [place / "dist/bin/linux_amd64/app", "version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.strip() in ("(devel)", "v0.22.1")


def test_foreign_architectures_run_under_qemu(module, imagekit):
    place = module("hello")
    done = imagekit("build", "--target", "linux/*", cwd=place)
    assert done.returncode == 0, done.stderr
    for folder, emulator in (("linux_arm64", "qemu-aarch64-static"), ("linux_arm_v7", "qemu-arm-static")):
        ran = subprocess.run(
            [shutil.which(emulator) or emulator, place / "dist/bin" / folder / "hello"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith("hello ")


SUPPORTED = "linux/amd64, linux/arm64, linux/arm/v7, linux/386, openbsd/amd64, windows/amd64"


def test_node_exporter_where_it_is_supported(published):
    place, done = published(NODE_EXPORTER, SUPPORTED)
    assert done.returncode == 0, done.stderr
    audit = json.loads((place / "dist/audit.json").read_text())
    linkage = {
        subject["facts"]["platform"]: subject["facts"]["linkage"] for subject in audit["subjects"] if subject["facts"]
    }
    assert set(linkage) == set(SUPPORTED.split(", "))
    assert {word for platform, word in linkage.items() if platform.startswith("linux/")} == {"static"}
    assert {linkage["openbsd/amd64"], linkage["windows/amd64"]} == {"system"}


def test_node_exporter_without_a_collector_that_a_tag_removes(published):
    place, done = published(NODE_EXPORTER, "linux/amd64", ", tags: [nocpu]")
    assert done.returncode == 0, done.stderr
    helped = subprocess.run([place / "dist/bin/linux_amd64/app", "--help"], capture_output=True, text=True, check=False)
    assert "--[no-]collector.cpu " not in helped.stdout
    assert "--[no-]collector.arp " in helped.stdout


@pytest.mark.parametrize(
    ("platform", "identifier"),
    [
        ("freebsd/amd64", "bsdSysctl"),
        ("darwin/arm64", "defMountPointsExcluded"),
        ("openbsd/arm64", "interruptLabelNames"),
    ],
)
def test_node_exporter_where_it_needs_cgo(published, platform: str, identifier: str):
    place, done = published(NODE_EXPORTER, f"linux/amd64, {platform}", "", "--target", platform)
    assert done.returncode == 10, done.stderr
    assert f"undefined: {identifier}" in done.stderr
    assert re.search(
        r"declared in github.com/prometheus/node_exporter/collector/\w+\.go, kept out by (//go:build|import .C.)",
        done.stderr,
    )
    assert "cgo-required" in done.stderr
    assert not (place / "dist").exists()


def test_sqlite_with_its_c_library_runs_in_an_empty_place(module, imagekit, tmp_path):
    place = module("sqlite")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    audit = json.loads((place / "dist/audit.json").read_text())
    facts = [subject["facts"] for subject in audit["subjects"] if subject["facts"]]
    assert [(fact["linkage"], fact["cgo"], fact["libc"]) for fact in facts] == [("static", "proven", "musl")] * 2
    root = tmp_path / "empty"
    root.mkdir()
    shutil.copy(place / "dist/bin/linux_amd64/sqlite", root / "sqlite")
    ran = subprocess.run(["chroot", root, "/sqlite"], capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("sqlite 3."), ran.stderr
    foreign = subprocess.run(
        ["qemu-aarch64-static", place / "dist/bin/linux_arm64/sqlite"], capture_output=True, text=True, check=False
    )
    assert foreign.stdout == ran.stdout
