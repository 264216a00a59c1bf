"""`imagekit rebuild`: the same image from its recorded commit, and a refusal with a reason for everything else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Imagekit = Callable[..., "subprocess.CompletedProcess[str]"]
Project = Callable[[dict[str, str]], Path]
CONFIG = """version: 1
builds:
  - id: app
    platforms: [linux/amd64]
    main: .
    ldflags: {set: {main.built: "{{ version }} {{ branch }} {{ env.RUN }}"}}
images:
  - {id: app, build: app, repository: registry.example/app, rootfs: {files: [{from: web/, to: /srv/}]}}
template_env: [RUN]
"""
FILES = {
    "go.mod": "module example.org/app\n\ngo 1.24\n",
    "main.go": 'package main\n\nvar built, made = "unset", "from the commit"\n\nfunc main() { println(built, made) }\n',
    "imagekit.yaml": CONFIG,
    "web/page": "hello\n",
    ".gitignore": "local.go\n",
}
LOCAL = 'package main\n\nfunc init() { made = "here alone" }\n'
IMAGE = "oci:dist/oci:app"


def git(place: Path, *words: str) -> str:
    named = ["git", "-C", str(place), "-c", "user.name=t", "-c", "user.email=t@localhost", *words]
    return subprocess.run(named, check=True, capture_output=True, text=True).stdout.strip()


def built(place: Path, imagekit: Imagekit, *words: str) -> str:
    """Build; the line that stdout got."""
    done = imagekit("build", *words, cwd=place, RUN="77")
    assert done.returncode == 0, done.stderr
    return done.stdout


def provenance(place: Path) -> dict[str, Any]:
    """The predicate that stands beside the only image of a dist/."""
    blobs = place / "dist/oci/blobs/sha256"
    [image, referrer] = json.loads((place / "dist/oci/index.json").read_text())["manifests"]
    manifest = json.loads((blobs / referrer["digest"].removeprefix("sha256:")).read_text())
    assert manifest["subject"]["digest"] == image["digest"]
    statement = json.loads((blobs / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_text())
    assert statement["subject"][0]["digest"]["sha256"] == image["digest"].removeprefix("sha256:")
    return statement["predicate"]


def test_the_same_image_comes_out_wherever_the_repository_went_meanwhile(
    project: Project, imagekit: Imagekit, tmp_path: Path
) -> None:
    place = project(FILES)
    git(place, "tag", "v1.0.0")
    (place / "web/page").write_text("second\n")
    git(place, "commit", "-qam", "second")
    commit = git(place, "rev-parse", "HEAD")
    line = built(place, imagekit)
    (place / "web/page").write_text("third\n")
    git(place, "commit", "-qam", "third")
    git(place, "tag", "v9.0.0", commit)
    git(place, "tag", "-d", "v1.0.0")
    git(place, "checkout", "-qb", "other")
    git(place, "config", "core.abbrev", "12")
    kept = tmp_path / "kept"
    done = imagekit(
        "rebuild", f"oci:{place}/dist/oci:app", "--source", place, "--output", kept, cwd=tmp_path, RUN="another"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == line
    assert f"rebuilt: the same image from commit {commit}, compiled by go1." in done.stderr
    assert "without a network" in done.stderr
    assert (kept / "oci/index.json").read_bytes() == (place / "dist/oci/index.json").read_bytes()
    ran = subprocess.run([kept / "bin/linux_amd64/app"], capture_output=True, text=True, check=True)
    assert ran.stderr.endswith(" main 77 from the commit\n")


@pytest.mark.parametrize(
    "made", [("worktree", "add", "-qb", "side"), ("clone", "-q", "--depth", "1")], ids=lambda w: w[0]
)
def test_a_worktree_and_a_shallow_clone_are_sources_too(
    project: Project, imagekit: Imagekit, tmp_path: Path, made: tuple[str, ...]
) -> None:
    place = project(FILES)
    (place / "web/page").write_text("second\n")
    git(place, "commit", "-qam", "second")
    other = tmp_path / "other"
    git(place, *made, *([place.as_uri()] if made[0] == "clone" else []), str(other))
    line = built(other, imagekit)
    done = imagekit("rebuild", IMAGE, cwd=other)
    assert done.returncode == 0, done.stderr
    assert done.stdout == line


def test_a_file_that_no_commit_has_is_found_out(project: Project, imagekit: Imagekit) -> None:
    place = project(FILES)
    (place / "local.go").write_text(LOCAL)
    built(place, imagekit)
    done = imagekit("rebuild", IMAGE, cwd=place)
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    assert "the rebuilt image is sha256:" in done.stderr
    assert "app" in done.stderr.splitlines()[3]
    assert done.stderr.splitlines()[-1].startswith("imagekit: exit 5: oci:dist/oci:app is sha256:")


def test_a_configuration_that_no_commit_has_is_refused(project: Project, imagekit: Imagekit) -> None:
    place = project(FILES | {".gitignore": "imagekit.yaml\n"})
    built(place, imagekit)
    done = imagekit("rebuild", IMAGE, cwd=place)
    assert done.returncode == 5, done.stderr
    assert "imagekit.yaml of commit" in done.stderr
    assert "is not the configuration that was built with" in done.stderr


def test_provenance_says_all_that_was_asked_for_and_nothing_of_the_machine(
    project: Project, imagekit: Imagekit, tmp_path: Path
) -> None:
    place = project(FILES)
    git(place, "remote", "add", "origin", "https://user:secret@git.example/team/app")
    built(place, imagekit, "--tag", "1.0")
    said = provenance(place)
    asked = said["buildDefinition"]["externalParameters"]
    commit = git(place, "rev-parse", "HEAD")
    assert asked["source"] == {
        "uri": "git+https://git.example/team/app",
        "digest": {"gitCommit": commit},
        "branch": "main",
        "short": git(place, "rev-parse", "--short", "HEAD"),
    }
    assert asked["config"] == {"name": "imagekit.yaml", "text": CONFIG}
    assert (asked["image"], asked["targets"], asked["tags"]) == ("app", ["app:linux/amd64"], ["1.0"])
    assert (asked["environment"], asked["created"]) == ({"RUN": "77"}, 1700000000)
    [target] = said["buildDefinition"]["internalParameters"]["targets"]
    assert target["toolchain"].startswith("go1.")
    assert target["ldflags"]["set"]["main.built"].endswith(" main 77")
    assert said["buildDefinition"]["internalParameters"]["compression"].startswith("isal ")
    first, *rest = said["buildDefinition"]["resolvedDependencies"]
    assert first == {"uri": f"git+https://git.example/team/app@{commit}", "digest": {"gitCommit": commit}}
    assert f"pkg:golang/stdlib@{target['toolchain'].removeprefix('go')}" in [one.get("uri") for one in rest]
    [report] = said["runDetails"]["byproducts"]
    assert report["digest"]["sha256"] == hashlib.sha256((place / "dist/audit.json").read_bytes()).hexdigest()
    text = json.dumps(said)
    assert str(tmp_path) not in text
    assert "secret" not in text
    assert os.uname().nodename not in text


def test_an_engine_that_takes_part_is_named(project: Project, imagekit: Imagekit) -> None:
    place = project(FILES)
    built(place, imagekit, "--engine", "podman")
    [plugin] = provenance(place)["runDetails"]["builder"]["builderDependencies"]
    assert plugin["name"] == "engine podman"
    assert plugin["uri"].startswith("pkg:pypi/imagekit@")


UNSAFE = CONFIG.replace("main: .", "main: .\n    unsafe: {flags: [-trimpath=true]}")
CASES = {
    "unsafe": (UNSAFE, "unsafe settings for app:linux/amd64", "--allow unsafe"),
    "checks": (CONFIG + "checks: [vet]\n", "checks vet", "--allow checks"),
    "cgo": (CONFIG.replace("main: .", "main: .\n    cgo: allow"), "cgo for app:linux/amd64", "--allow cgo"),
}


@pytest.mark.parametrize(("config", "what", "way_out"), CASES.values(), ids=CASES)
def test_what_starts_programs_of_the_source_must_be_named(
    project: Project, imagekit: Imagekit, config: str, what: str, way_out: str
) -> None:
    place = project(FILES | {"imagekit.yaml": config})
    built(place, imagekit)
    done = imagekit("rebuild", IMAGE, cwd=place)
    assert done.returncode == 2, done.stderr
    assert f"the configuration asks for {what}" in done.stderr
    assert way_out in done.stderr


def test_only_a_whole_local_dist_is_believed(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    place = project(FILES)
    built(place, imagekit)
    shutil.copytree(place / "dist/oci", tmp_path / "copy/oci")
    for word in (f"oci:{tmp_path}/copy/oci:app", "registry.example/app:1.0", f"oci-archive:{tmp_path}/a.tar"):
        done = imagekit("rebuild", word, cwd=place)
        assert done.returncode == 2, done.stderr
        assert "oci:dist/oci:NAME" in done.stderr
    kept = imagekit("rebuild", IMAGE, "--output", "dist", cwd=place)
    assert (kept.returncode, "dist holds what is to be rebuilt" in kept.stderr) == (2, True), kept.stderr
    index = place / "dist/oci/index.json"
    index.write_text(index.read_text() + " ")
    done = imagekit("rebuild", IMAGE, cwd=place)
    assert done.returncode == 5, done.stderr


def test_a_changed_tree_and_a_missing_commit_are_no_source(
    project: Project, imagekit: Imagekit, tmp_path: Path
) -> None:
    place = project(FILES)
    built(place, imagekit)
    shutil.copytree(place / "dist", tmp_path / "elsewhere/dist")
    lost = imagekit("rebuild", IMAGE, cwd=tmp_path / "elsewhere")
    assert (lost.returncode, "--source" in lost.stderr) == (2, True), lost.stderr
    subprocess.run(["git", "init", "-q", tmp_path / "empty"], check=True)
    other = imagekit("rebuild", IMAGE, "--source", tmp_path / "empty", cwd=tmp_path / "elsewhere")
    assert (other.returncode, "cannot be had from" in other.stderr) == (3, True), other.stderr
    foreign = imagekit("rebuild", IMAGE, "--source", "ext::sh -c touch% x", cwd=tmp_path / "elsewhere")
    assert (foreign.returncode, "not allowed" in foreign.stderr) == (3, True), foreign.stderr
    (place / "new").write_text("untracked")
    built(place, imagekit, "--fail-on", "error")
    dirty = imagekit("rebuild", IMAGE, cwd=place)
    assert (dirty.returncode, "from a changed tree" in dirty.stderr) == (2, True), dirty.stderr


def test_another_go_compiles_nothing(project: Project, imagekit: Imagekit, tmp_path: Path) -> None:
    place = project(FILES)
    built(place, imagekit)
    goroot = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    other = tmp_path / "go"
    other.mkdir()
    for part in Path(goroot).iterdir():
        (other / part.name).symlink_to(part)
    (other / "VERSION").unlink()
    (other / "VERSION").write_text("go1.99.0\n")
    (other / "bin").unlink()
    shutil.copytree(Path(goroot) / "bin", other / "bin")
    done = imagekit("rebuild", IMAGE, cwd=place, PATH=f"{other}/bin:{os.environ['PATH']}", GOROOT=str(other))
    assert done.returncode == 3, done.stderr
    assert "and here is go1.99.0" in done.stderr
    assert "GOTOOLCHAIN=go1." in done.stderr


def test_the_first_second_of_1970_is_a_time_too(project: Project, imagekit: Imagekit) -> None:
    place = project(FILES)
    done = imagekit("build", cwd=place, RUN="77", SOURCE_DATE_EPOCH="0")
    again = imagekit("rebuild", IMAGE, cwd=place)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


PUBLISHED = "version: 1\nbuilds:\n  - {id: app, main: mvdan.cc/xurls/v2/cmd/xurls@v2.6.0, platforms: [linux/amd64]}\n"


def test_published_programs_need_no_repository(imagekit: Imagekit, tmp_path: Path) -> None:
    (tmp_path / "imagekit.yaml").write_text(PUBLISHED)
    line = imagekit("build", cwd=tmp_path).stdout
    assert provenance(tmp_path)["buildDefinition"]["externalParameters"]["created"] > 0, "the module's own time"
    done = imagekit("rebuild", "oci:dist/oci", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == line
    assert "from published modules" in done.stderr


def test_the_first_second_of_1970_wins_over_the_time_of_a_published_program(imagekit: Imagekit, tmp_path: Path) -> None:
    (tmp_path / "imagekit.yaml").write_text(PUBLISHED)
    assert imagekit("build", cwd=tmp_path, SOURCE_DATE_EPOCH="0").returncode == 0
    assert "created" not in provenance(tmp_path)["buildDefinition"]["externalParameters"]


def test_other_gzip_bytes_of_the_same_content_are_told_from_another_image(
    project: Project, imagekit: Imagekit, tmp_path: Path
) -> None:
    """The one thing that a machine may change: here isal is made to pack as it does on another kind of CPU."""
    place = project(FILES)
    line = built(place, imagekit)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/sitecustomize.py").write_text(
        "import isal.isal_zlib as z\nreal = z.compressobj\nz.compressobj = lambda level, *more: real(1, *more)\n"
    )
    done = imagekit("rebuild", IMAGE, cwd=place, PYTHONPATH=str(tmp_path / "other"))
    assert done.returncode == 5, done.stderr
    assert "the same content as the rebuilt image, but was compressed to other bytes" in done.stderr
    assert "the compressor was isal " in done.stderr
    accepted = imagekit("rebuild", IMAGE, "--allow", "compression", cwd=place, PYTHONPATH=str(tmp_path / "other"))
    assert accepted.returncode == 0, accepted.stderr
    assert accepted.stdout == line
    assert "rebuilt: the same content, in other gzip or zstd bytes, from commit " in accepted.stderr
