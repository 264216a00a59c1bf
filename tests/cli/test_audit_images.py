"""`imagekit audit` of one real image, wherever it is kept: layout, archives, bundle, registry, docker, podman."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
LINUX = ("linux/amd64", "linux/arm64", "linux/arm/v7")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fixtures/hello, committed and built by imagekit; `dist/` is complete. Read only: a file more is a dirty tree."""
    place = tmp_path_factory.mktemp("audited") / "hello"
    shutil.copytree(ROOT / "fixtures/hello", place, ignore=shutil.ignore_patterns("dist", ".dist.imagekit"))
    own = os.environ.get("PYTEST_XDIST_WORKER", "main")
    config = place / "imagekit.yaml"
    config.write_text(config.read_text().replace("registry.example/team/hello", f"registry.example/audit-{own}/hello"))
    for words in ("init -q -b main", "add -A", "-c user.name=t -c user.email=t@localhost commit -qm all"):
        subprocess.run(["git", "-C", str(place), *words.split()], check=True)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagekit-tests"
    run("build", "--cache-dir", cache, cwd=place)
    return place


def run(*words: str | Path, cwd: Path) -> str:
    argv = [sys.executable, "-m", "imagekit", *map(str, words)]
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def audited(word: str, cwd: Path) -> dict[str, Any]:
    """The report of a clean audit."""
    loaded: dict[str, Any] = json.loads(run("audit", word, "--format", "json", cwd=cwd))
    return loaded


def digests(report: dict[str, Any]) -> dict[str, str]:
    """Platform -> the digest of the one program in it."""
    assert (report["skips"], report["summary"]["errors"]) == ([], 0)
    return {one["source"]["platform"]: one["digest"] for one in report["subjects"]}


@pytest.fixture(scope="module")
def programs(built: Path) -> dict[str, str]:
    """What the build says: platform -> digest of its program."""
    report = json.loads((built / "dist/audit.json").read_text())
    found = {one["facts"]["platform"]: one["digest"] for one in report["subjects"]}
    return {platform: found[platform] for platform in LINUX}


def test_a_layout(built: Path, programs: dict[str, str]) -> None:
    report = audited("oci:dist/oci:hello", built)
    assert digests(report) == programs
    assert [one["path"] for one in report["subjects"]] == [f"oci:dist/oci:hello:{name}:/hello" for name in LINUX]
    assert {one["source"]["kind"] for one in report["subjects"]} == {"image"}
    assert digests(audited("oci:dist/oci", built)) == programs


def test_an_archive_of_skopeo(built: Path, programs: dict[str, str], peer: Callable[[str], Path]) -> None:
    words = [peer("skopeo"), "copy", "-q", "--all", "oci:dist/oci:hello", "oci-archive:../image.tar"]
    subprocess.run(words, cwd=built, check=True)
    assert digests(audited("oci-archive:../image.tar", built)) == programs


def test_a_docker_archive_of_skopeo(built: Path, programs: dict[str, str], peer: Callable[[str], Path]) -> None:
    words = [
        peer("skopeo"),
        "copy",
        "-q",
        "--override-arch=arm64",
        "oci:dist/oci:hello",
        "docker-archive:../saved.tar:a:1",
    ]
    subprocess.run(words, cwd=built, check=True)
    assert digests(audited("docker-archive:../saved.tar", built)) == {"linux/arm64": programs["linux/arm64"]}


def test_our_own_tarball_is_both_archives(built: Path, programs: dict[str, str]) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagekit-tests"
    run("build", "--cache-dir", cache, "--tarball", "../both.tar", "--output", "other", cwd=built)
    assert digests(audited("oci-archive:../both.tar", built)) == programs
    assert digests(audited("docker-archive:../both.tar", built)) == {"linux/amd64": programs["linux/amd64"]}


def test_a_bundle(built: Path, programs: dict[str, str]) -> None:
    run("bundle", "create", "oci:dist/oci:hello", "-o", "../bundle.tar", cwd=built)
    report = audited("bundle:../bundle.tar", built)
    assert digests(report) == programs
    assert {one["source"]["kind"] for one in report["subjects"]} == {"bundle"}


@pytest.fixture(scope="module")
def registry(contained: Callable[..., Any]) -> Iterator[str]:
    """`localhost:port` of an empty registry."""
    with contained("registry") as served:
        yield f"localhost:{served.port}"


def test_a_registry(built: Path, programs: dict[str, str], registry: str, peer: Callable[[str], Path]) -> None:
    reference = f"{registry}/team/hello:1.0"
    words = [peer("skopeo"), "copy", "-q", "--all", "--dest-tls-verify=false", "oci:dist/oci:hello"]
    subprocess.run([*words, f"docker://{reference}"], cwd=built, check=True)
    report = audited(reference, built)
    assert digests(report) == programs
    assert report["subjects"][0]["path"] == f"{reference}:linux/amd64:/hello"
    manifest = report["subjects"][1]["source"]["manifest"]
    one = audited(f"{registry}/team/hello@{manifest}", built)
    assert digests(one) == {"linux/arm64": programs["linux/arm64"]}


@pytest.mark.parametrize("name", ["nothing:1", "hello:none"])
def test_a_registry_without_the_image(registry: str, name: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "imagekit", "audit", f"{registry}/team/{name}"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, done.stderr


def test_docker(built: Path, programs: dict[str, str], docker_engine: str) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagekit-tests"
    identity = run("build", "--cache-dir", cache, "--load", "--output", "loaded", cwd=built).strip()
    report = audited(f"docker:{identity}", built)
    assert digests(report) == {"linux/amd64": programs["linux/amd64"]}
    assert report["subjects"][0]["source"]["path"] == "/hello"


def test_docker_without_the_image(docker_engine: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "imagekit", "audit", "docker:no/such:image"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert "no/such:image" in done.stderr.splitlines()[-1]


def test_podman(built: Path, programs: dict[str, str], podman_engine: str, peer: Callable[[str], Path]) -> None:
    words = [peer("podman"), "--remote", f"--url={podman_engine}", "load", "-q", "-i", "../saved-amd64.tar"]
    copy = [peer("skopeo"), "copy", "-q", "oci:dist/oci:hello", "docker-archive:../saved-amd64.tar:localhost/audited:1"]
    subprocess.run(copy, cwd=built, check=True)
    subprocess.run(words, cwd=built, check=True, capture_output=True)
    assert digests(audited("podman:localhost/audited:1", built)) == {"linux/amd64": programs["linux/amd64"]}


def test_packages_are_read_where_the_policy_forbids_some(built: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nextends: scratch\nforbidden_packages: [runtime, no/such]\n")
    words = ("oci:dist/oci:hello", "dist/bin/darwin_arm64/hello", "--policy", tmp_path / "policy.yaml")
    argv = [sys.executable, "-m", "imagekit", "audit", *map(str, words), "--format", "json"]
    done = subprocess.run(argv, cwd=built, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 10, done.stderr
    found = [[one["rule"] for one in subject["findings"]] for subject in json.loads(done.stdout)["subjects"]]
    assert [rules.count("forbidden-package") for rules in found] == [1, 1, 1, 1]


def test_what_is_left_behind(built: Path, tmp_path: Path) -> None:
    """Nothing: neither in the temporary folder nor beside the image."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    argv = [sys.executable, "-m", "imagekit", "audit", "oci:dist/oci:hello"]
    done = subprocess.run(argv, cwd=built, env=os.environ | {"TMPDIR": str(scratch)}, capture_output=True, check=False)
    assert done.returncode == 0
    assert list(scratch.iterdir()) == []


MODULE = {
    "go.mod": "module example.org/chained\n\ngo 1.21\n",
    "main.go": 'package main\n\nimport "example.org/chained/inner"\n\nfunc main() { inner.Do() }\n',
    "inner/inner.go": 'package inner\n\nimport "example.org/chained/native"\n\nfunc Do() { native.Call() }\n',
    "native/native.go": "package native\n\n// int one(void) { return 1; }\n"
    'import "C"\n\nfunc Call() { println(C.one()) }\n',
}


def test_the_source_gives_the_import_chain(tmp_path: Path) -> None:
    module = tmp_path / "module"
    for name, content in MODULE.items():
        (module / name).parent.mkdir(parents=True, exist_ok=True)
        (module / name).write_text(content)
    env = os.environ | {"CGO_ENABLED": "1", "GOFLAGS": ""}
    subprocess.run(["go", "build", "-o", tmp_path / "app", "."], cwd=module, env=env, check=True)
    argv = [sys.executable, "-m", "imagekit", "audit", "app", "--source", "module", "--format", "json"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 10, done.stderr
    (subject,) = json.loads(done.stdout)["subjects"]
    chain = ["example.org/chained", "example.org/chained/inner", "example.org/chained/native"]
    assert next(one for one in subject["findings"] if one["rule"] == "linkage")["chain"] == chain
    assert subject["explanation"]["chains"] == [chain]
