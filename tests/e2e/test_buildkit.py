"""Both Dockerfiles and docker-bake.hcl under a real BuildKit: the files of imagekit's own image, and run as that is.

The toolchain image that the second Dockerfile compiles in is built by imagekit: a GOROOT and busybox on scratch.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

Tree = dict[str, tuple[bytes, int, int, int, str]]
"""Path -> kind, mode, uid, gid, and the content's SHA-256 or a link's target."""
RUN = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Labels", "Healthcheck")


class Image(NamedTuple):
    """What stands in an image for one platform, and what its configuration says of running it."""

    tree: Tree
    run: dict[str, Any]


Solve = Callable[..., Path]
TWO = ("linux/amd64", "linux/arm64")
TOOLCHAIN = """version: 1
builds:
  - {id: sh, prebuilt: busybox, platforms: [linux/amd64]}
images:
  - id: go
    build: sh
    user: "0:0"
    env: {PATH: "/usr/local/go/bin:/bin"}
    rootfs:
      {ca: false, tzdata: false, users: true, files: [{from: go/, to: /usr/local/go/}, {from: busybox, to: /bin/sh}]}
archives: []
sbom: []
"""


@pytest.fixture(scope="module")
def buildkit(peer: Callable[[str], Path]) -> Iterator[str]:
    """The address of a buildkitd of our own, with runc; its state is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="imagekit-buildkit-"))
    address = f"unix://{home}/socket"
    command = [peer("buildkitd"), "--root", home / "root", "--addr", address, "--containerd-worker=false"]
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PATH": path})
    try:
        for _ in range(300):
            workers = [peer("buildctl"), "--addr", address, "debug", "workers"]
            if subprocess.run(workers, check=False, capture_output=True).returncode == 0:
                break
            assert daemon.poll() is None, (home / "log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        daemon.terminate()
        daemon.wait(30)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def project(imagekit: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fixtures/hello outside any repository, built for linux."""
    place = tmp_path_factory.mktemp("buildkit") / "hello"
    source = Path(__file__).resolve().parents[2] / "fixtures/hello"
    shutil.copytree(source, place, ignore=shutil.ignore_patterns("dist", ".dist.imagekit"))
    done = imagekit("build", "--target", "linux/amd64", "--target", "linux/arm64", cwd=place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def toolchain(
    imagekit: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path]
) -> Path:
    """The OCI layout of an image with the Go that compiles here, and a shell."""
    place = tmp_path_factory.mktemp("toolchain")
    root = Path(subprocess.run(["go", "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip())
    for part in ("bin", "src", "lib", "pkg/tool", "pkg/include"):
        shutil.copytree(root / part, place / "go" / part, symlinks=True)
    for part in ("go.env", "VERSION"):
        shutil.copy(root / part, place / "go" / part)
    shutil.copy(peer("busybox"), place / "busybox")
    (place / "imagekit.yaml").write_text(TOOLCHAIN)
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "dist/oci"


@pytest.fixture(scope="module")
def solve(buildkit: str, peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Solve:
    """Build a Dockerfile for both platforms; the image as an OCI archive."""

    def build(context: Path, dockerfile: Path, *more: str) -> Path:
        out = tmp_path_factory.mktemp("out") / "image.tar"
        words = [
            *(peer("buildctl"), "--addr", buildkit, "build", "--progress=plain", "--frontend=dockerfile.v0"),
            *("--local", f"context={context}", "--local", f"dockerfile={dockerfile.parent}"),
            *("--opt", f"filename={dockerfile.name}", "--opt", f"platform={','.join(TWO)}"),
            *("--output", f"type=oci,dest={out}", *more),
        ]
        done = subprocess.run(list(map(str, words)), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return out

    return build


def images(blob: Callable[[str], bytes], index: str) -> dict[str, Image]:
    """`os/architecture` -> what stands in the image once all its layers lie on each other, and how it is run."""
    found = {}
    for entry in json.loads(blob(index))["manifests"]:
        platform = entry.get("platform", {})
        if platform.get("os") == "linux":
            manifest = json.loads(blob(entry["digest"]))
            content = {path: each for layer in manifest["layers"] for path, each in tree(blob(layer["digest"])).items()}
            run = json.loads(blob(manifest["config"]["digest"]))["config"]
            run["Env"] = [each for each in run.get("Env") or [] if not each.startswith("PATH=")]  # BuildKit's own
            found[f"{platform['os']}/{platform['architecture']}"] = Image(content, {key: run.get(key) for key in RUN})
    return found


def tree(layer: bytes) -> Tree:
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:*") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else member.linkname
            found[member.name.rstrip("/")] = (member.type, member.mode, member.uid, member.gid, content)
    return found


def ours(project: Path) -> dict[str, Image]:
    layout = project / "dist/oci"
    entry, *_ = json.loads((layout / "index.json").read_bytes())["manifests"]
    return images(
        lambda digest: (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes(), entry["digest"]
    )


def theirs(archive: Path) -> dict[str, Image]:
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]  # regular files have content
    [entry] = json.loads(members["index.json"])["manifests"]
    return images(lambda digest: members["blobs/sha256/" + digest.removeprefix("sha256:")], entry["digest"])


def test_the_dockerfile_of_prebuilt_programs_gives_the_same_image(project: Path, solve: Solve) -> None:
    assert theirs(solve(project / "dist", project / "dist/Dockerfile.hello")) == ours(project)


def test_the_dockerfile_that_compiles_gives_the_same_image_and_the_same_program(
    project: Path, toolchain: Path, solve: Solve
) -> None:
    """Bit for bit: the same Go, flags and environment, in another folder of another root."""
    image, *_ = json.loads((toolchain / "index.json").read_bytes())["manifests"]
    named = (
        "--opt",
        f"context:toolchain=oci-layout://toolchain@{image['digest']}",
        "--opt",
        "build-arg:GO_IMAGE=toolchain",
    )
    made = solve(project, project / "dist/Dockerfile.hello.source", *named, "--oci-layout", f"toolchain={toolchain}")
    assert theirs(made) == ours(project)


HOSTILE = 'x y$z ${HOME} $(id) `id` "q\' \\ \\n \\" # <<EOF %{x} é'
STRANGE = {
    "sub dir/go.mod": "module example.org/app\n\ngo 1.24\n",
    "sub dir/main.go": "package main\n\nvar said string\n\nfunc main() { println(said) }\n",
    "imagekit.yaml": json.dumps(
        {
            "version": 1,
            "builds": [
                {
                    "id": "app",
                    "main": ".",
                    "dir": "sub dir",
                    "platforms": list(TWO),
                    "ldflags": {"set": {"main.said": "it's $1 `id` <<EOF"}},
                }
            ],
            "images": [
                {
                    "id": "app",
                    "build": "app",
                    "env": {"A": HOSTILE, "B": "ends with\\", "C": '\\\\"'},
                    "labels": {"a.b": HOSTILE},
                    "workdir": "/a b/$c",
                    "entrypoint": ["/app", HOSTILE],
                }
            ],
        }
    ),
}


@pytest.mark.parametrize("source", [False, True], ids=["prebuilt", "source"])
def test_strange_values_mean_the_same_to_buildkit(
    imagekit: Callable[..., Any], tmp_path: Path, toolchain: Path, solve: Solve, source: bool
) -> None:
    for name, content in STRANGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    done = imagekit("build", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = ours(tmp_path)
    assert f"A={HOSTILE}" in expected[TWO[0]].run["Env"]
    if source:
        image, *_ = json.loads((toolchain / "index.json").read_bytes())["manifests"]
        named = ("--opt", f"context:toolchain=oci-layout://toolchain@{image['digest']}")
        given = ("--opt", "build-arg:GO_IMAGE=toolchain", "--oci-layout", f"toolchain={toolchain}")
        made = solve(tmp_path, tmp_path / "dist/Dockerfile.app.source", *named, *given)
    else:
        made = solve(tmp_path / "dist", tmp_path / "dist/Dockerfile.app")
    made_there = theirs(made)
    for platform in TWO:
        assert made_there[platform].run == expected[platform].run
        assert made_there[platform].tree["app"] == expected[platform].tree["app"]


def test_bake_builds_every_image_of_the_file(
    project: Path, buildkit: str, peer: Callable[[str], Path], tmp_path: Path
) -> None:
    environment = os.environ | {"BUILDX_CONFIG": str(tmp_path / "buildx"), "DOCKER_CONFIG": str(tmp_path)}

    def buildx(*words: str | Path) -> None:
        done = subprocess.run(
            [peer("buildx"), *words], check=False, capture_output=True, text=True, env=environment, cwd=project / "dist"
        )
        assert done.returncode == 0, done.stderr

    buildx("create", "--name", "own", "--driver", "remote", buildkit)
    out = tmp_path / "hello.tar"
    buildx(
        "bake", "--builder", "own", "--allow", "fs=*", "--provenance=false", "--set", f"*.output=type=oci,dest={out}"
    )
    assert theirs(out) == ours(project)


@pytest.mark.parametrize("name", ["Dockerfile.hello", "Dockerfile.hello.source"])
def test_hadolint_finds_nothing(project: Path, name: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, project / "dist" / name], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
