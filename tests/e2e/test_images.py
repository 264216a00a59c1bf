"""The image of fixtures/hello: docker runs it, skopeo and crane accept it, and its layers hold what was promised."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Tree = dict[str, tuple[str, int, int, int, str]]
"""Path -> kind, mode, uid, gid, and the content's SHA-256 or a link's target."""

FOUND = ("certificates: found", "time zones: found Europe/Zurich", "user: nonroot (65532)", "temporary files: yes")
INDEX = "application/vnd.oci.image.index.v1+json"
COMMIT_TIME = "2023-11-14T22:13:20Z"
KINDS = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "hard link"}


def ran(*words: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """What a foreign tool prints; what it complains of, if it fails."""
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def blob(dist: Path, digest: str) -> bytes:
    content = (dist / "oci/blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


def image_blobs(dist: Path) -> set[str]:
    """The names of the blobs that the image consists of; what refers to it is not among them."""
    entry = json.loads((dist / "oci/index.json").read_bytes())["manifests"][0]
    manifests = index_of(dist)["manifests"]
    inside = [each for one in manifests for each in _children(json.loads(blob(dist, one["digest"])))]
    return {each["digest"].removeprefix("sha256:") for each in (entry, *manifests, *inside)}


def _children(manifest: Any) -> list[Any]:
    return [manifest["config"], *manifest["layers"]]


def index_of(dist: Path, name: str = "hello") -> Any:
    entries = json.loads((dist / "oci/index.json").read_bytes())["manifests"]
    [entry] = [each for each in entries if each.get("annotations", {}).get("org.opencontainers.image.ref.name") == name]
    return json.loads(blob(dist, entry["digest"]))


def manifests_of(dist: Path, name: str = "hello") -> dict[str, Any]:
    """`os/architecture[/variant]` -> manifest, in the order of the index."""
    return {
        "/".join(entry["platform"][key] for key in ("os", "architecture", "variant") if key in entry["platform"]): (
            json.loads(blob(dist, entry["digest"]))
        )
        for entry in index_of(dist, name)["manifests"]
    }


def config_of(dist: Path, manifest: Any) -> Any:
    return json.loads(blob(dist, manifest["config"]["digest"]))


def pieces_of(dist: Path, manifest: Any) -> dict[str, str]:
    """What each layer is, as the history says -> its digest."""
    history = config_of(dist, manifest)["history"]
    names = [entry["created_by"].removeprefix("imagekit: ") for entry in history]
    return dict(zip(names, (layer["digest"] for layer in manifest["layers"]), strict=True))


def tree_of(stream: io.BufferedIOBase) -> Tree:
    """What stands in a tar; a path that stands there twice is an error."""
    found: Tree = {}
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else member.linkname
            assert member.name not in found, member.name
            found[member.name] = (KINDS[member.type], member.mode, member.uid, member.gid, content)
    return found


def sha256(content: bytes | Path) -> str:
    return hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()


@contextmanager
def container(image: str) -> Iterator[str]:
    """A container that never runs."""
    identity = ran("docker", "create", image).strip()
    try:
        yield identity
    finally:
        ran("docker", "rm", "--force", identity)


def exported(image: str) -> Tree:
    """The file system that a container of an image has, as the engine exports it."""
    with container(image) as identity:
        tar = subprocess.run(["docker", "export", identity], check=True, capture_output=True).stdout
    return tree_of(io.BytesIO(tar))


@pytest.fixture(scope="module")
def tarball(hello: Path, imagekit: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `--tarball` writes for fixtures/hello."""
    path = tmp_path_factory.mktemp("tarball") / "hello.tar"
    done = imagekit("build", "--tarball", path, cwd=hello)
    assert done.returncode == 0, done.stderr
    return path


# --- it runs --------------------------------------------------------------------------------------------------------


def test_docker_runs_what_load_prints(loaded):
    assert "\n" not in loaded, "one line"
    lines = ran("docker", "run", "--rm", loaded).splitlines()
    assert lines[0].startswith("hello 0.0.0-20231114221320-")
    assert lines[0].endswith(" from linux/amd64")
    assert tuple(lines[1:]) == FOUND


def test_docker_runs_it_read_only_without_any_privilege(loaded):
    words = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--tmpfs=/tmp"]
    assert tuple(ran("docker", "run", "--rm", *words, loaded).splitlines()[1:]) == FOUND


def test_the_tarball_is_a_docker_archive(tarball, loaded, own_name):
    said = ran("docker", "load", "--input", tarball)
    tag = said.removeprefix("Loaded image: ").strip()
    assert tag.startswith(f"registry.example/{own_name}/hello:0.0.0-2023")
    assert ran("docker", "inspect", "--format", "{{.Id}}", tag).strip() == loaded
    assert tuple(ran("docker", "run", "--rm", "--network=none", tag).splitlines()[1:]) == FOUND


def test_the_tarball_is_what_a_copy_of_the_layout_is(hello, tarball, imagekit, tmp_path):
    """So all that reads a copy (test_readers.py) reads what is built."""
    done = imagekit("image", "copy", "oci:dist/oci:hello", f"oci-archive:{tmp_path}/copy.tar", cwd=hello)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy.tar").read_bytes() == tarball.read_bytes()


# --- foreign tools read it --------------------------------------------------------------------------------------------


def test_skopeo_reads_the_layout(hello):
    raw = ran("skopeo", "inspect", "--raw", "oci:dist/oci:hello", cwd=hello)
    entry = json.loads((hello / "dist/oci/index.json").read_text())["manifests"][0]
    assert f"sha256:{sha256(raw.encode())}" == entry["digest"]
    for architecture in ("amd64", "arm64"):
        words = ["--override-os=linux", f"--override-arch={architecture}", "inspect", "oci:dist/oci:hello"]
        told = json.loads(ran("skopeo", *words, cwd=hello))
        assert (told["Os"], told["Architecture"], told["Created"]) == ("linux", architecture, COMMIT_TIME)
        assert told["Labels"]["org.opencontainers.image.title"] == "hello"


def test_skopeo_copies_every_platform_of_the_layout(hello, tmp_path):
    ran(
        "skopeo",
        "--insecure-policy",
        "copy",
        "--all",
        "-q",
        "oci:dist/oci:hello",
        f"oci:{tmp_path}/copy:hello",
        cwd=hello,
    )
    assert {path.name for path in (tmp_path / "copy/blobs/sha256").iterdir()} == image_blobs(hello / "dist")


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_skopeo_reads_the_tarball(hello, tarball, transport: str):
    entry = json.loads((hello / "dist/oci/index.json").read_text())["manifests"][0]
    name = "hello" if transport == "oci-archive" else entry["annotations"]["io.containerd.image.name"]
    told = json.loads(ran("skopeo", "inspect", f"{transport}:{tarball}:{name}"))
    assert (told["Os"], told["Architecture"], told["Created"]) == ("linux", "amd64", COMMIT_TIME)
    assert len(told["Layers"]) == 5


def test_crane_validates_the_tarball(peer, tarball):
    assert ran(peer("crane"), "validate", "--tarball", tarball) == f"PASS: {tarball}\n"


def test_umoci_unpacks_each_platform(hello, tmp_path):
    """umoci takes no index: skopeo picks the platform."""
    for architecture in ("amd64", "arm64"):
        one = f"oci:{tmp_path}/{architecture}:hello"
        words = ["--insecure-policy", f"--override-arch={architecture}", "copy", "-q", "oci:dist/oci:hello", one]
        ran("skopeo", *words, cwd=hello)
        ran("umoci", "raw", "unpack", "--image", one.removeprefix("oci:"), tmp_path / f"{architecture}-rootfs")
        program = tmp_path / f"{architecture}-rootfs/hello"
        assert sha256(program) == sha256(hello / f"dist/bin/linux_{architecture}/hello")


# --- documents --------------------------------------------------------------------------------------------------------


def test_the_index_states_every_linux_platform_once(hello):
    index = index_of(hello / "dist")
    assert index["mediaType"] == INDEX
    assert [entry["platform"] for entry in index["manifests"]] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
    ]


def test_levels_are_stated_by_the_index(module, imagekit):
    place = module("hello")
    config = place / "imagekit.yaml"
    platforms = "platforms: [linux/amd64, linux/amd64/v3]"
    lines = [platforms if "platforms:" in line else line.strip("\n") for line in config.read_text().splitlines()]
    config.write_text("\n".join(lines).replace(platforms, f"    {platforms}") + "\n")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert list(manifests_of(place / "dist")) == ["linux/amd64", "linux/amd64/v3"]
    assert (place / "dist/bin/linux_amd64_v3/hello").is_file()


def test_configurations_say_how_it_runs_and_where_it_is_from(hello):
    commit = ran("git", "rev-parse", "HEAD", cwd=hello).strip()
    for platform, manifest in manifests_of(hello / "dist").items():
        config = config_of(hello / "dist", manifest)
        assert [config["os"], config["architecture"], *filter(None, [config.get("variant")])] == platform.split("/")
        assert config["created"] == COMMIT_TIME
        assert (config["config"]["User"], config["config"]["Entrypoint"]) == ("65532:65532", ["/hello"])
        labels = config["config"]["Labels"]
        assert labels["org.opencontainers.image.revision"] == commit
        assert labels == manifest["annotations"] == index_of(hello / "dist")["annotations"]
        unpacked = [sha256(gzip.decompress(blob(hello / "dist", layer["digest"]))) for layer in manifest["layers"]]
        assert config["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in unpacked]}


def test_the_history_says_why_each_piece_is_there(hello):
    manifest = manifests_of(hello / "dist")["linux/amd64"]
    said = {entry["created_by"]: entry["comment"] for entry in config_of(hello / "dist", manifest)["history"]}
    assert [name.removeprefix("imagekit: ") for name in said] == ["ca", "tzdata", "users", "tmp", "program"]
    assert "crypto/x509 is linked" in said["imagekit: ca"]
    assert "time.LoadLocation is linked" in said["imagekit: tzdata"]


# --- layers -----------------------------------------------------------------------------------------------------------


def test_constant_layers_are_the_same_on_every_architecture(hello):
    amd64, arm64, arm = (pieces_of(hello / "dist", one) for one in manifests_of(hello / "dist").values())
    for piece in ("ca", "tzdata", "users", "tmp"):
        assert amd64[piece] == arm64[piece] == arm[piece]
    assert len({amd64["program"], arm64["program"], arm["program"]}) == 3


OTHER = """package main

import (
	"crypto/x509"
	"fmt"
	"os"
)

func main() {
	_, err := x509.SystemCertPool()
	fmt.Println(os.TempDir(), err)
}
"""


def test_constant_layers_are_the_same_in_another_image(hello, project, imagekit):
    """Of another program, commit and time; only what it needs is there."""
    place = project({"go.mod": "module example.org/other\n\ngo 1.23\n", "main.go": OTHER})
    done = imagekit("build", cwd=place, SOURCE_DATE_EPOCH="1234567890")
    assert done.returncode == 0, done.stderr
    [other, _] = manifests_of(place / "dist", "other").values()
    theirs, ours = (
        pieces_of(place / "dist", other),
        pieces_of(hello / "dist", manifests_of(hello / "dist")["linux/amd64"]),
    )
    assert list(theirs) == ["ca", "tmp", "program"]
    assert (theirs["ca"], theirs["tmp"]) == (ours["ca"], ours["tmp"])


def test_layers_hold_what_was_promised(hello):
    manifest = manifests_of(hello / "dist")["linux/amd64"]
    layers = {
        piece: tree_of(io.BytesIO(gzip.decompress(blob(hello / "dist", digest))))
        for piece, digest in pieces_of(hello / "dist", manifest).items()
    }
    passwd = b"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
    assert layers["users"] == {
        "etc": ("dir", 0o755, 0, 0, ""),
        "etc/group": ("file", 0o444, 0, 0, sha256(b"root:x:0:\nnonroot:x:65532:\n")),
        "etc/passwd": ("file", 0o444, 0, 0, sha256(passwd)),
    }
    assert layers["tmp"] == {"tmp": ("dir", 0o1777, 0, 0, "")}
    assert layers["program"] == {"hello": ("file", 0o555, 0, 0, sha256(hello / "dist/bin/linux_amd64/hello"))}
    assert layers["ca"].keys() == {"etc", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt"}
    zones = layers["tzdata"]
    assert zones["usr/share/zoneinfo/Europe/Zurich"][:4] == ("file", 0o444, 0, 0)
    everything = [entry for layer in layers.values() for entry in layer.values()]
    assert {(uid, gid) for _, _, uid, gid, _ in everything} == {(0, 0)}
    assert {(kind, mode) for kind, mode, *_ in everything} <= {
        ("dir", 0o755),
        ("dir", 0o1777),
        ("file", 0o444),
        ("file", 0o555),
        ("link", 0o777),
    }


# --- the Dockerfile ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classic(hello: Path, docker_engine: str, own_name: str) -> Iterator[str]:
    """The image that the classic builder of docker makes of dist/Dockerfile.hello."""
    tag = f"imagekit.test/classic:{own_name}"
    words = ["build", "--quiet", "--file", "Dockerfile.hello", "--tag", tag, "."]
    yield ran("docker", *words, cwd=hello / "dist", DOCKER_BUILDKIT="0").strip()
    subprocess.run(["docker", "rmi", "--force", tag], check=False, capture_output=True)


def test_the_classic_builder_makes_the_same_tree_of_the_dockerfile(classic, loaded):
    theirs, ours = exported(classic), exported(loaded)
    assert "hello" in ours
    assert {
        path: (ours.get(path), theirs.get(path))
        for path in ours.keys() | theirs.keys()
        if ours.get(path) != theirs.get(path)
    } == {}


def test_the_classic_builder_makes_an_image_that_runs_the_same(classic, loaded):
    theirs, ours = (json.loads(ran("docker", "inspect", image))[0]["Config"] for image in (classic, loaded))
    for key in ("User", "Entrypoint", "Cmd", "WorkingDir", "Labels"):
        assert theirs[key] == ours[key], key
    assert ran("docker", "run", "--rm", classic) == ran("docker", "run", "--rm", loaded)


def test_a_health_check_is_said_to_be_docker_s_with_the_probe_that_does_the_same(
    project: Callable[[dict[str, str]], Path], imagekit: Callable[..., Any]
) -> None:
    place = project(
        {
            "go.mod": "module example.org/app\n\ngo 1.24\n",
            "main.go": "package main\n\nfunc main() {}\n",
            "imagekit.yaml": "version: 1\nbuilds:\n  - {id: app, main: ., platforms: [linux/amd64]}\n"
            'images:\n  - {id: app, build: app, healthcheck: ["/app", "health"]}\n',
        }
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert 'livenessProbe: {exec: {command: ["/app", "health"]}}' in done.stderr
