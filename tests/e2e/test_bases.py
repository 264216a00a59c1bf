"""Images on a base: a local layout, and a registry's image that imagekit.lock pins; every program in it is judged."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Imagekit = Callable[..., "subprocess.CompletedProcess[str]"]
BASE = """version: 1
builds:
  - {id: tool, main: ., platforms: [linux/amd64, linux/arm64]}
images:
  - id: base
    build: tool
    env: {FROM_BASE: "1", SHARED: base}
    labels: {team: base}
    rootfs: {ca: true, tzdata: false, users: true, tmp: true, files: [{from: etc/, to: /opt/etc/, owner: "7:8"}]}
archives: []
sbom: []
"""
APP = """version: 1
builds:
  - {{id: app, main: ., platforms: [{platforms}]}}
images:
  - id: app
    build: app
    base: "{base}"
    env: {{SHARED: app}}
    rootfs: {{files: [{{from: note, to: /opt/etc/}}]}}
archives: []
"""
MAIN = """package main

import (
	"fmt"
	"os"
)

func main() { fmt.Println("NAME", os.Getenv("SHARED"), os.Getenv("FROM_BASE")) }
"""


def module(place: Path, name: str) -> Path:
    place.mkdir()
    (place / "go.mod").write_text(f"module example.org/{name}\n\ngo 1.24\n")
    (place / "main.go").write_text(MAIN.replace("NAME", name))
    return place


@pytest.fixture(scope="module")
def base(imagekit: Imagekit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with an image for two platforms."""
    place = module(tmp_path_factory.mktemp("bases") / "base", "base")
    (place / "etc").mkdir()
    (place / "etc/conf").write_text("base\n")
    (place / "imagekit.yaml").write_text(BASE)
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "dist/oci"


@pytest.fixture
def app(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """A project whose image is built on `name`."""

    def write(name: str = "oci:../base", platforms: str = "linux/amd64, linux/arm64") -> Path:
        shutil.copytree(base, tmp_path / "base")
        place = module(tmp_path / "app", "app")
        (place / "note").write_text("app\n")
        (place / "imagekit.yaml").write_text(APP.format(base=name, platforms=platforms))
        return place

    return write


def document(layout: Path, digest: str) -> Any:
    return json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())


def manifests(layout: Path) -> list[Any]:
    entry, *_ = json.loads((layout / "index.json").read_bytes())["manifests"]
    return [document(layout, each["digest"]) for each in document(layout, entry["digest"])["manifests"]]


def test_our_layers_lie_on_those_of_the_base_for_each_platform(
    app: Callable[..., Path], base: Path, imagekit: Imagekit
) -> None:
    place = app()
    assert imagekit("build", cwd=place).returncode == 0
    below = [[layer["digest"] for layer in manifest["layers"]] for manifest in manifests(base)]
    ours = manifests(place / "dist/oci")
    for lower, manifest in zip(below, ours, strict=True):
        assert [layer["digest"] for layer in manifest["layers"]][: len(lower)] == lower
        assert manifest["annotations"]["org.opencontainers.image.base.digest"].startswith("sha256:")
        config = document(place / "dist/oci", manifest["config"]["digest"])
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
        assert sum(not line.get("empty_layer", False) for line in config["history"]) == len(manifest["layers"])
        assert sorted(config["config"]["Env"]) == ["FROM_BASE=1", "SHARED=app"]
        assert config["config"]["Labels"]["team"] == "base"
        assert config["config"]["Entrypoint"] == ["/app"]


def test_what_the_base_has_is_not_added_again_and_folders_keep_their_owner(
    app: Callable[..., Path], imagekit: Imagekit, tmp_path: Path
) -> None:
    place = app(platforms="linux/amd64")
    assert imagekit("build", cwd=place).returncode == 0
    [image] = json.loads((place / "dist/artifacts.json").read_bytes())["images"]
    pieces = {each["piece"]: each for each in image["platforms"][0]["rootfs"]}
    assert (pieces["users"]["needed"], pieces["tmp"]["needed"]) == (False, False)
    subprocess.run(
        ["umoci", "unpack", "--keep-dirlinks", "--image", f"{place}/dist/oci:app", tmp_path / "root"], check=True
    )
    folder = tmp_path / "root/rootfs/opt/etc"
    assert (folder.stat().st_uid, folder.stat().st_gid) == (7, 8)
    assert sorted(path.name for path in folder.iterdir()) == ["conf", "note"]


def test_docker_runs_the_image_with_the_environment_of_both(
    app: Callable[..., Path], imagekit: Imagekit, docker_engine: str
) -> None:
    place = app(platforms="linux/amd64")
    loaded = imagekit("build", "--load", cwd=place)
    assert loaded.returncode == 0, loaded.stderr
    ran = subprocess.run(["docker", "run", "--rm", loaded.stdout.strip()], capture_output=True, text=True, check=True)
    assert ran.stdout == "app app 1\n"


def test_a_platform_that_the_base_lacks_is_refused_with_what_it_offers(
    app: Callable[..., Path], imagekit: Imagekit
) -> None:
    done = imagekit("build", cwd=app(platforms="linux/amd64, linux/riscv64"))
    assert done.returncode == 2
    assert "holds no image for linux/riscv64; it offers linux/amd64, linux/arm64" in done.stderr


def test_a_base_whose_programs_the_policy_refuses_ships_nothing(
    app: Callable[..., Path], base: Path, imagekit: Imagekit
) -> None:
    place = app("oci:../shell", platforms="linux/amd64")
    shell = place.parent / "shell-project"
    shutil.copytree(base.parents[1], shell, ignore=shutil.ignore_patterns("dist", ".dist.imagekit"))
    shutil.copy("/bin/ls", shell / "etc/ls")
    assert imagekit("build", cwd=shell).returncode == 0
    (shell / "dist/oci").rename(place.parent / "shell")
    done = imagekit("build", cwd=place)
    assert done.returncode == 10, done.stderr
    assert "oci:../shell:linux/amd64:/opt/etc/ls" in done.stderr
    assert not (place / "dist").exists()


@pytest.fixture
def registry(peer: Callable[[str], Path], base: Path) -> Iterator[Callable[[], str]]:
    """Serve the base as `localhost:PORT/team/base:1`; what is returned stops the server when it is called."""
    server = subprocess.Popen([peer("registry"), "-port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        port = server.stderr.readline().split()[-1]
        push(peer, base, f"localhost:{port}/team/base:1")

        def stop() -> str:
            server.terminate()
            server.wait(10)
            return port

        stop.port = port  # type: ignore[attr-defined]  # one value beside the function
        yield stop
    finally:
        server.terminate()
        server.wait(10)


def push(peer: Callable[[str], Path], layout: Path, name: str) -> None:
    subprocess.run([peer("crane"), "push", "--index", layout, name], check=True, capture_output=True)


def test_a_registry_base_must_be_locked_and_is_then_had_without_the_registry(
    app: Callable[..., Path], imagekit: Imagekit, registry: Any, shared_cache: Path
) -> None:
    name = f"localhost:{registry.port}/team/base:1"
    place = app(name)
    unlocked = imagekit("build", cwd=place)
    assert unlocked.returncode == 2
    assert f"imagekit.lock says nothing of the base {name}; run: imagekit lock" in unlocked.stderr
    locked = imagekit("lock", cwd=place)
    assert (locked.returncode, locked.stdout.startswith(f"{name}@sha256:")) == (0, True), locked.stderr
    first = imagekit("build", cwd=place)
    assert first.returncode == 0, first.stderr
    registry()
    shutil.rmtree(place / "dist")
    again = imagekit("build", cwd=place)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    cache = shared_cache / "imagekit/bases/blobs/sha256"
    used = {path.name: path.stat().st_mtime for path in cache.iterdir()}
    assert max(used.values()) > time.time() - 60, "so that `cache prune` leaves what builds stand on"
    annotations = manifests(place / "dist/oci")[0]["annotations"]
    assert annotations["org.opencontainers.image.base.name"] == locked.stdout.strip().replace(":1@", "@")
    assert (
        f"\nFROM {annotations['org.opencontainers.image.base.name']}\n" in (place / "dist/Dockerfile.app").read_text()
    )


def test_a_base_that_a_crash_cut_off_in_the_cache_is_fetched_again(
    app: Callable[..., Path], imagekit: Imagekit, registry: Any, tmp_path: Path
) -> None:
    place = app(f"localhost:{registry.port}/team/base:1", "linux/amd64")
    assert imagekit("lock", cwd=place).returncode == 0
    first = imagekit("build", cwd=place, cache=tmp_path / "cache")
    assert first.returncode == 0, first.stderr
    for path in sorted((tmp_path / "cache/imagekit/bases/blobs/sha256").iterdir()):
        path.write_bytes(path.read_bytes()[:-1])
        shutil.rmtree(place / "dist")
        again = imagekit("build", cwd=place, cache=tmp_path / "cache")
        assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr


def test_lock_check_tells_a_tag_that_moved_on(
    app: Callable[..., Path], imagekit: Imagekit, registry: Any, peer: Callable[[str], Path]
) -> None:
    name = f"localhost:{registry.port}/team/base:1"
    place = app(name)
    assert imagekit("lock", "--check", cwd=place).returncode == 10
    assert imagekit("lock", cwd=place).returncode == 0
    assert imagekit("lock", "--check", cwd=place).returncode == 0
    before = (place / "imagekit.lock").read_bytes()
    subprocess.run([peer("crane"), "mutate", name, "--label", "moved=on", "-t", name], check=True, capture_output=True)
    moved = imagekit("lock", "--check", cwd=place)
    assert moved.returncode == 10
    assert f"{name} was sha256:" in moved.stderr
    assert (place / "imagekit.lock").read_bytes() == before


def test_a_lock_that_is_none_is_refused_by_its_name(app: Callable[..., Path], imagekit: Imagekit) -> None:
    place = app("localhost:1/team/base:1")
    (place / "imagekit.lock").write_text('{"version": 1, "bases": {"localhost:1/team/base:1": "latest"}}')
    done = imagekit("build", cwd=place)
    assert done.returncode == 2
    assert "imagekit.lock cannot be read: 'latest' is not a sha256 digest" in done.stderr


def test_a_dockerfile_that_compiles_finds_the_output_where_it_is(app: Callable[..., Path], imagekit: Imagekit) -> None:
    """A variant, whose added layers no Dockerfile can name, has none."""
    place = app()
    config = place / "imagekit.yaml"
    config.write_text(
        config.read_text().replace("archives: []", '    variants: {debug: {add: "oci:../base"}}\noutput: out/dist')
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    dist = place / "out/dist"
    source = (dist / "Dockerfile.app.source").read_text()
    assert 'ADD ["out/dist/rootfs/app.tar", "/"]' in source
    assert '-f "out/dist/Dockerfile.app.source" .' in source
    assert sorted(path.name for path in dist.glob("Dockerfile.*")) == ["Dockerfile.app", "Dockerfile.app.source"]
    assert [path.name for path in (dist / "rootfs").iterdir()] == ["app.tar"]
    assert "debug" not in (dist / "docker-bake.hcl").read_text()
