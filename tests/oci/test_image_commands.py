"""`imagekit image …` at registries: what is asked, what is named, and what happens where a registry refuses."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from imagekit.cli.main import main
from imagekit.oci import documents as doc
from imagekit.oci.store import Layout


class Ended(NamedTuple):
    """A command that ran: its exit code, the lines of stdout, all of stderr."""

    code: int
    out: list[str]
    err: str


Image = Callable[..., Ended]


@pytest.fixture
def image(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """Run `imagekit image …` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Ended:
        capsys.readouterr()
        code = main(["image", *map(str, words)])
        said = capsys.readouterr()
        return Ended(code, said.out.splitlines(), said.err)

    return run


@pytest.fixture
def layout(tmp_path: Path, build_image: Callable[..., doc.Descriptor]) -> Layout:
    """`oci:source:app`: an index of linux/amd64 and linux/arm64."""
    made = Layout.create(tmp_path / "source", durable=False)
    root = build_image(made, "linux/amd64", "linux/arm64")
    made.set_index(doc.Index(manifests=(msgspec.structs.replace(root, annotations={doc.REF_NAME: "app"}),)))
    return made


# --- names ------------------------------------------------------------------------------------------------------------


def listing(archive: str) -> list[dict[str, Any]]:
    """manifest.json of a docker archive."""
    with tarfile.open(archive) as opened:
        stream = opened.extractfile("manifest.json")
        assert stream
        found: list[dict[str, Any]] = json.load(stream)
        return found


def test_a_digest_has_no_tag_that_a_load_could_take_from_another_image(layout: Layout, image: Image, little) -> None:
    [pushed] = image("copy", "oci:source:app", f"{little.host}/team/hello:1.0").out
    for word, tags in (
        (pushed, []),
        (f"{little.host}/team/hello:1.0", [f"{little.host}/team/hello:1.0"]),
        (pushed.replace("@", ":1.0@"), [f"{little.host}/team/hello:1.0"]),
    ):
        done = image("copy", word, "docker-archive:hello.tar")
        assert done.code == 0, done.err
        assert [entry["RepoTags"] for entry in listing("hello.tar")] == [tags]
        assert image("copy", *done.out, "docker-archive:again.tar").out == [
            done.out[0].replace("hello.tar", "again.tar")
        ]


@pytest.mark.real
def test_engines_and_skopeo_load_an_image_without_a_tag(
    layout: Layout, image: Image, little, docker_engine: str, podman_engine: str, peer: Callable[[str], Path]
) -> None:
    [pushed] = image("copy", "oci:source:app", f"{little.host}/team/hello:1.0").out
    [word] = image("copy", pushed, "docker-archive:hello.tar").out
    identity = word.partition("@")[2]
    podman = (peer("podman"), "--remote", f"--url={podman_engine}")
    for engine in (("docker",), podman):
        subprocess.run([*engine, "load", "--input", "hello.tar"], check=True, capture_output=True)
        shown = subprocess.run(
            [*engine, "inspect", "--format", "{{.Id}} {{.RepoTags}}", identity],
            check=True,
            capture_output=True,
            text=True,
        )
        assert shown.stdout.removeprefix("sha256:").strip() == f"{identity.removeprefix('sha256:')} []"
        subprocess.run([*engine, "rmi", identity], check=True, capture_output=True)
    subprocess.run(["skopeo", "inspect", "docker-archive:hello.tar"], check=True, capture_output=True)


# --- what a registry is asked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["copy", "--no-referrers", "IMAGE", "oci:to"],
        ["copy", "--no-referrers", "IMAGE", "docker-archive:to.tar"],
        ["inspect", "--no-referrers", "IMAGE"],
        ["validate", "--no-referrers", "IMAGE"],
        ["explain", "IMAGE"],
        ["list", "IMAGE"],
    ],
    ids=lambda words: words[0],
)
def test_referrers_that_nobody_wants_are_not_asked_for(
    layout: Layout, image: Image, little, answers, words: list[str]
) -> None:
    image("copy", "oci:source:app", f"{little.host}/team/hello:1.0")
    little.seen.clear()
    little.fail("GET", "/referrers/", answers.of(403), times=100)
    done = image(*(word.replace("IMAGE", f"{little.host}/team/hello:1.0") for word in words))
    assert done.code == 0, done.err
    assert little.calls("GET", "/referrers/") == []


@pytest.mark.parametrize("words", [["copy", "IMAGE", "oci:to"], ["inspect", "IMAGE"], ["validate", "IMAGE"]])
def test_a_registry_that_does_not_tell_referrers_can_do_without(
    layout: Layout, image: Image, little, answers, words: list[str]
) -> None:
    image("copy", "oci:source:app", f"{little.host}/team/hello:1.0")
    little.fail("GET", "/referrers/", answers.of(403), times=100)
    done = image(*(word.replace("IMAGE", f"{little.host}/team/hello:1.0") for word in words))
    assert (done.code, done.out) == (6, [])
    assert "--no-referrers" in done.err.splitlines()[-1]
