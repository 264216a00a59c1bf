"""What `imagekit image copy` writes, as others read it: each names the image by the digest or id that we know it by.

The image is that of fixtures/hello, with an SBOM that refers to it: a reader must pass over what is no image.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imagekit.cli.main import main
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.store import Layout

Run = Callable[..., str]
SBOM = "application/spdx+json"
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
"""Podman asks for more than this machine may allow."""


class Written(NamedTuple):
    """One image in every form that is written, and its digests; `name` is what engines call it."""

    layout: Path
    one: Path
    archive: Path
    docker_archive: Path
    name: str
    index: str
    manifest: str
    config: str


@pytest.fixture(scope="module")
def written(hello: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Copies of fixtures/hello; `one` is a layout of linux/amd64 alone."""
    home = tmp_path_factory.mktemp("written")
    layout, one, archive, docker_archive = (home / name for name in ("layout", "one", "oci.tar", "docker.tar"))
    source = Layout(Path(shutil.copytree(hello / "dist/oci", home / "source")))
    image, provenance = source.index().manifests
    source.set_index(doc.Index(manifests=(image, provenance, sbom_of(source, image))))
    copy = ["image", "copy", f"oci:{source.path}:hello"]
    for word in (f"oci:{layout}:app", f"oci-archive:{archive}", f"docker-archive:{docker_archive}"):
        assert main([*copy, word]) == 0
    assert main([*copy, f"oci:{one}:app", "--platform", "linux/amd64"]) == 0
    [manifest] = Layout(one).index().manifests
    config = json.loads(Layout(one).blob_path(manifest.digest).read_bytes())["config"]["digest"]
    name = image.annotations[doc.CONTAINERD_NAME]
    return Written(layout, one, archive, docker_archive, name, image.digest, manifest.digest, config)


def sbom_of(layout: Layout, image: doc.Descriptor) -> doc.Descriptor:
    """A manifest whose subject is the image, and which has no name."""
    empty, content = put(layout, doc.EMPTY_JSON, doc.EMPTY), put(layout, b'{"spdxVersion": "SPDX-2.3"}', SBOM)
    manifest = doc.Manifest(config=empty, layers=(content,), artifact_type=SBOM, subject=image.bare())
    return put(layout, doc.encode(manifest), doc.MANIFEST).bare()


def ran(*words: str | Path, **options: Any) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def told(output: str) -> bool:
    """Whether the program in the image ran and found all that it needs."""
    return output.startswith("hello 0.0.0-") and "user: nonroot (65532)" in output


def test_both_archives_are_the_same_file(written: Written) -> None:
    """So what reads one reads the other: below, it is read as either."""
    assert written.archive.read_bytes() == written.docker_archive.read_bytes()


# --- skopeo and crane -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["oci:{layout}:app", "oci-archive:{archive}:hello", "docker-archive:{archive}"])
def test_skopeo(written: Written, word: str) -> None:
    word = word.format_map(written._asdict())
    assert digest(ran("skopeo", "inspect", "--config", "--raw", word)) == written.config
    if not word.startswith("docker"):
        assert digest(ran("skopeo", "inspect", "--raw", word)) == written.index


@pytest.fixture(scope="module")
def registry(contained: Callable[..., Any]) -> Iterator[str]:
    with contained("registry") as served:
        yield served.host


def test_crane_reads_the_archive(written: Written, registry: str, peer: Callable[[str], Path]) -> None:
    assert ran(peer("crane"), "validate", "--tarball", written.archive) == f"PASS: {written.archive}\n"
    ran(peer("crane"), "push", written.archive, f"{registry}/crane/archive:1")
    assert digest(ran(peer("crane"), "config", f"{registry}/crane/archive:1")) == written.config


def test_crane_reads_the_layout(written: Written, registry: str, peer: Callable[[str], Path]) -> None:
    ran(peer("crane"), "push", written.one, f"{registry}/crane/layout:1")
    assert ran(peer("crane"), "digest", f"{registry}/crane/layout:1").strip() == written.manifest


def test_crane_reads_what_is_pushed(written: Written, registry: str, peer: Callable[[str], Path]) -> None:
    name = f"{registry}/crane/pushed:1"
    assert main(["image", "copy", f"oci:{written.layout}:app", name]) == 0
    assert ran(peer("crane"), "validate", "--remote", name).startswith(f"PASS: {name}")
    assert ran(peer("crane"), "digest", name).strip() == written.index


# --- oras -------------------------------------------------------------------------------------------------------------


def test_oras_takes_the_archive_with_what_refers_to_the_image(
    written: Written, registry: str, peer: Callable[[str], Path]
) -> None:
    """By its two ways to read a tar: as a backup of a repository, and as a layout."""
    ran(peer("oras"), "restore", "--plain-http", "--input", written.archive, f"{registry}/oras/restored")
    layout = ("cp", "-r", "--from-oci-layout", "--to-plain-http", f"{written.archive}:hello")
    ran(peer("oras"), *layout, f"{registry}/oras/copied:hello")
    for name in (f"{registry}/oras/restored:hello", f"{registry}/oras/copied:hello"):
        assert ran(peer("crane"), "digest", name).strip() == written.index
        found = json.loads(ran(peer("oras"), "discover", "--plain-http", "--format", "json", name))
        kinds = sorted(one["artifactType"] for one in found["referrers"])
        assert kinds == sorted([SBOM, "application/vnd.in-toto+json"])


# --- containerd -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ctr(peer: Callable[[str], Path]) -> Iterator[Run]:
    """Run `ctr …` against a containerd of our own."""
    home = Path(tempfile.mkdtemp(prefix="imagekit-containerd-"))
    (home / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    words = [peer("containerd"), "--config", home / "config.toml", "--address", home / "socket"]
    with (home / "log").open("wb") as log:
        daemon = subprocess.Popen([*words, "--root", home / "root", "--state", home / "state"], stdout=log, stderr=log)
    try:
        asked = [peer("ctr"), "--address", home / "socket", "version"]
        deadline = time.monotonic() + 60
        while subprocess.run(asked, check=False, capture_output=True).returncode != 0:
            assert daemon.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, "containerd does not answer"
            time.sleep(0.05)
        # where runc stands on Debian
        path = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        yield lambda *words: ran(peer("ctr"), "--address", home / "socket", *words, env=path)
    finally:
        daemon.terminate()
        daemon.wait(30)
        shutil.rmtree(home)


@pytest.mark.parametrize("form", ["archive", "layout"])
def test_containerd(written: Written, ctr: Run, form: str, tmp_path: Path) -> None:
    """It unpacks what is for this machine, and keeps the index with every platform; `ctr` takes a layout as a tar."""
    path = written.archive
    if form == "layout":
        path = tmp_path / "layout.tar"
        ran("tar", "-C", written.layout, "-cf", path, ".")
    ctr("images", "import", "--all-platforms", path)
    [_, *images] = ctr("images", "check").splitlines()
    [[name, _, found, *state]] = [line.split() for line in images]
    assert (name, found) == (written.name, written.index)
    assert (state[0], state[-1]) == ("complete", "true"), "every blob is there, and it is unpacked"
    assert written.config in ctr("content", "ls", "--quiet").split()
    ctr("images", "rm", "--sync", written.name)


# --- umoci and buildah ------------------------------------------------------------------------------------------------


def test_umoci(written: Written, hello: Path, tmp_path: Path) -> None:
    """It takes no index: the layout of one platform."""
    ran("umoci", "unpack", "--image", f"{written.one}:app", tmp_path / "bundle")
    walked = json.loads((tmp_path / "bundle/umoci.json").read_text())["from_descriptor_path"]["descriptor_walk"]
    assert [each["digest"] for each in walked] == [written.manifest]
    program = tmp_path / "bundle/rootfs/hello"
    assert program.read_bytes() == (hello / "dist/bin/linux_amd64/hello").read_bytes()


@pytest.mark.parametrize("word", ["oci:{layout}:app", "oci-archive:{archive}:hello", "docker-archive:{archive}"])
def test_buildah(written: Written, peer: Callable[[str], Path], word: str, tmp_path: Path) -> None:
    buildah = (peer("buildah"), "--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver=vfs")
    assert f"sha256:{ran(*buildah, 'pull', '-q', word.format_map(written._asdict())).strip()}" == written.config
    if not word.startswith("docker"):
        assert ran(*buildah, "images", "--format", "{{.Digest}}").strip() == written.index


# --- engines ----------------------------------------------------------------------------------------------------------


def test_docker_loads_and_runs_it(written: Written, docker_engine: str) -> None:
    assert ran("docker", "load", "--input", written.docker_archive) == f"Loaded image: {written.name}\n"
    assert ran("docker", "inspect", "--format", "{{.Id}}", written.name).strip() == written.config
    assert told(ran("docker", "run", "--rm", "--network=none", written.name))


def test_podman_loads_and_runs_it(written: Written, podman_engine: str, peer: Callable[[str], Path]) -> None:
    podman = (peer("podman"), "--remote", f"--url={podman_engine}")
    ran(*podman, "load", "--input", written.docker_archive)
    assert ran(*podman, "inspect", "--format", "{{.Id}}", written.name).strip() == written.config.partition(":")[2]
    assert told(ran(*podman, "run", "--rm", "--network=none", *LIMITS, written.name))
