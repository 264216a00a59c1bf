"""Pushes to a registry that runs in a container of an image that imagekit itself built from a published module."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REGISTRY = "github.com/google/go-containerregistry/cmd/registry@v0.22.1"
SENT = re.compile(r"(POST|PUT|PATCH) (\S+)")


class Registry:
    """`address` is `localhost:port`; `sent()` gives what was written to it since it was last asked."""

    def __init__(self, served: Any) -> None:
        self.address = f"localhost:{served.port}"
        self._served = served
        self._seen = 0

    def sent(self) -> list[tuple[str, str]]:
        found = SENT.findall(self._served.log())
        new, self._seen = found[self._seen :], len(found)
        return new


def ran(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def registry(
    imagekit: Callable[..., Any], contained: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """A registry on loopback, from an image of the program as its module is published."""
    done = imagekit("build", "--target", "linux/amd64", "--load", REGISTRY, cwd=tmp_path_factory.mktemp("registry"))
    assert done.returncode == 0, done.stderr
    with contained("registry", image=done.stdout.strip()) as served:
        yield Registry(served)


@pytest.fixture
def push(hello: Path, imagekit: Callable[..., Any]) -> Callable[..., str]:
    """Push fixtures/hello somewhere; what stands on stdout."""

    def run(*words: str) -> str:
        done = imagekit("build", *words, cwd=hello)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    return run


def test_what_is_printed_is_what_the_registry_has(registry, push, hello, peer):
    [printed] = push("--push", f"{registry.address}/app:1.0").splitlines()
    name, _, digest = printed.partition("@")
    assert name == f"{registry.address}/app"
    entry = json.loads((hello / "dist/oci/index.json").read_text())["manifests"][0]
    assert entry["digest"] == digest == ran(peer("crane"), "digest", f"{registry.address}/app:1.0").strip()


def test_crane_and_skopeo_accept_the_copy(registry, push, peer):
    [printed] = push("--push", f"{registry.address}/accepted:1.0").splitlines()
    for name in (printed, f"{registry.address}/accepted:1.0"):
        assert ran(peer("crane"), "validate", "--remote", name).startswith(f"PASS: {name}")
    for architecture in ("amd64", "arm64"):
        words = ["--override-os=linux", f"--override-arch={architecture}", "inspect", "--tls-verify=false"]
        told = json.loads(ran("skopeo", *words, f"docker://{printed}"))
        assert (told["Os"], told["Architecture"]) == ("linux", architecture)


def test_docker_pulls_and_runs_it(registry, push):
    [printed] = push("--push", f"{registry.address}/pulled:1.0").splitlines()
    ran("docker", "pull", "--quiet", printed)
    assert "user: nonroot (65532)" in ran("docker", "run", "--rm", "--network=none", printed)
    ran("docker", "rmi", printed)


def test_the_copy_has_the_bytes_of_the_layout(registry, push, hello, tmp_path):
    [printed] = push("--push", f"{registry.address}/bytes:1.0").splitlines()
    words = ["--insecure-policy", "copy", "-q", "--all", "--src-tls-verify=false"]
    ran("skopeo", *words, f"docker://{printed}", f"oci:{tmp_path}/copy:hello")
    there = {path.name: path.read_bytes() for path in (tmp_path / "copy/blobs/sha256").iterdir()}
    [index] = json.loads((tmp_path / "copy/index.json").read_text())["manifests"]
    assert index["digest"] == json.loads((hello / "dist/oci/index.json").read_text())["manifests"][0]["digest"]
    assert there == {name: (hello / "dist/oci/blobs/sha256" / name).read_bytes() for name in there}


def test_a_second_push_sends_nothing_new(registry, push):
    first = push("--push", f"{registry.address}/twice:1.0")
    sent = registry.sent()
    assert any(method == "POST" for method, _ in sent)
    assert push("--push", f"{registry.address}/twice:1.0") == first
    assert [(method, path) for method, path in registry.sent() if "/blobs/" in path or "@" in path] == []


def test_another_tag_sends_one_manifest(registry, push):
    push("--push", f"{registry.address}/retagged:1.0")
    registry.sent()
    push("--push", f"{registry.address}/retagged:2.0")
    assert registry.sent() == [("PUT", "/v2/retagged/manifests/2.0")]


def test_tags_are_the_configured_ones_or_those_given(registry, push, peer):
    push("--push", f"{registry.address}/tags")
    [configured] = ran(peer("crane"), "ls", f"{registry.address}/tags").split()
    assert configured.startswith("0.0.0-20231114221320-")
    [printed] = push("--push", f"{registry.address}/given", "--tag", "stable", "--tag", "7").splitlines()
    assert set(ran(peer("crane"), "ls", f"{registry.address}/given").split()) == {"stable", "7"}
    push("--push", f"{registry.address}/both:1.0", "--tag", "stable")
    assert set(ran(peer("crane"), "ls", f"{registry.address}/both").split()) == {"1.0", "stable"}
    digest = printed.partition("@")[2]
    for tag in ("stable", "7"):
        assert ran(peer("crane"), "digest", f"{registry.address}/given:{tag}").strip() == digest


def test_nobody_listens(hello, imagekit):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"localhost:{probe.getsockname()[1]}"
        done = imagekit("build", "--push", f"{host}/app:1.0", cwd=hello)
    assert (done.returncode, done.stdout) == (6, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("imagekit: exit 6: ")
    assert host in last


IMPOSSIBLE = {
    "no reference": ["--push", "registry.example/App:1"],
    "a digest": ["--push", "localhost:5000/app:1@sha256:" + "0" * 64],
    "no tag": ["--push", "localhost:5000/app", "--tag", "a b"],
    "no image": ["--push", "localhost:5000/app", "--target", "windows/*"],
}


@pytest.mark.parametrize("words", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_push_is_refused_before_anything_is_compiled(module, imagekit, words: list[str]):
    place = module("hello")
    done = imagekit("build", *words, cwd=place)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert not (place / "dist").exists()
