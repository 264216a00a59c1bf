"""`imagekit image …` at registries: what is asked, what is named, and what happens where a registry refuses."""

from __future__ import annotations

import json
import secrets
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from imagekit.bundle.create import create
from imagekit.cancellation import Cancellation
from imagekit.cli.main import main
from imagekit.content import digest_of
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put, read_verified
from imagekit.oci.reference import Reference
from imagekit.oci.referrers import TAG
from imagekit.oci.registry import push
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
    """`oci:source:app`: an index of linux/amd64 and linux/arm64, which no engine has under another name."""
    made = Layout.create(tmp_path / "source", durable=False)
    root = build_image(made, "linux/amd64", "linux/arm64", content=secrets.token_bytes(8))
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


# --- what cosign keeps under tags -------------------------------------------------------------------------------------

SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


def cosign_tag(digest: str, kind: str) -> str:
    return digest.replace(":", "-") + kind


def attach(store: Layout, host: str, subject: str, kind: str) -> str:
    """Push what `cosign sign` and its kin push for an image: a manifest under a tag, with no subject. Its tag."""
    content = put(store, f"{kind} of {subject}".encode(), SIGNING)
    rootfs = doc.RootFS(diff_ids=(content.digest,))
    config = put(store, doc.encode(doc.ImageConfig(architecture="", os="", rootfs=rootfs)), doc.CONFIG)
    made = put(store, doc.encode(doc.Manifest(config=config, layers=(content,))), doc.MANIFEST)
    tag = cosign_tag(subject, kind)
    push(store, made, Reference.parse(f"{host}/team/hello:{tag}"), cancellation=Cancellation())
    return tag


@pytest.fixture
def signed(layout: Layout, image: Image, little, tmp_path: Path) -> dict[str, list[str]]:
    """`team/hello:1.0` in the registry, signed, with a signature of its SBOM. What is of what, by digest."""
    [word] = image("copy", "oci:source:app", f"{little.host}/team/hello:1.0").out
    root = word.partition("@")[2]
    _, arm64 = doc.decode_index(read_verified(layout, layout.resolve("app"))).manifests
    aside = Layout.create(tmp_path / "aside", durable=False)
    said = {root: (".sig", ".att", ".sbom"), arm64.digest: (".sig",)}
    made = {one: [attach(aside, little.host, one, kind) for kind in kinds] for one, kinds in said.items()}
    sbom = digest_of(little.manifests[cosign_tag(root, ".sbom")][1])
    return made | {sbom: [attach(aside, little.host, sbom, ".sig")]}


@pytest.mark.parametrize(
    "through", ["", "oci:between:app", "oci-archive:between.tar", "docker-archive:between.tar", "bundle"]
)
def test_what_cosign_says_of_an_image_goes_wherever_the_image_goes(
    signed: dict[str, list[str]], image: Image, little, little_registry, through: str
) -> None:
    word = f"{little.host}/team/hello:1.0"
    if through == "bundle":
        image("copy", word, "oci:between:app")
        create(["oci:between:app"], Path("release.tar"))
        word = "bundle:release.tar"
    elif through:
        assert image("copy", word, through).code == 0
        word = through.replace("docker-archive", "oci-archive")
    other = little_registry()
    done = image("copy", word, f"{other.host}/other/hello:1.0")
    assert done.code == 0, done.err
    for tag in (tag for tags in signed.values() for tag in tags):
        assert other.manifests[tag] == little.manifests[tag]


def test_a_list_of_images_names_no_signature(signed: dict[str, list[str]], image: Image, little) -> None:
    for _ in range(2):
        assert image("copy", f"{little.host}/team/hello:1.0", "oci:to:app").code == 0
    entries = Layout(Path("to")).index().manifests
    assert [entry.annotations[doc.REF_NAME] for entry in entries if doc.REF_NAME in entry.annotations] == ["app"]
    tags = [tag for tags in signed.values() for tag in tags]
    assert sorted(entry.annotations[TAG] for entry in entries if TAG in entry.annotations) == sorted(tags)
    assert len(entries) == 1 + len(tags)
    assert image("validate", "oci:to:app")[:2] == (0, [])
    [shown] = json.loads("\n".join(image("inspect", "oci:to:app").out))["images"]
    assert sorted(one["tag"] for one in shown["referrers"]) == sorted(tags)
    assert {one["subject"] for one in shown["referrers"]} == set(signed)


def test_one_platform_goes_with_its_own_signature(signed: dict[str, list[str]], image: Image, little) -> None:
    done = image("copy", "--platform", "linux/arm64", f"{little.host}/team/hello:1.0", "oci:to:app")
    assert done.code == 0
    [tag] = [entry.annotations[TAG] for entry in Layout(Path("to")).index().manifests if TAG in entry.annotations]
    assert tag == cosign_tag(done.out[0].partition("@")[2], ".sig")


def test_a_layout_in_which_others_named_a_signature_by_its_tag(layout: Layout, image: Image, little) -> None:
    """skopeo and crane do so."""
    root = layout.resolve("app")
    tag = cosign_tag(root.digest, ".sig")
    content = put(layout, b"signature", SIGNING)
    made = put(layout, doc.encode(doc.Manifest(config=put(layout, b"{}", doc.EMPTY), layers=(content,))), doc.MANIFEST)
    named = msgspec.structs.replace(made, annotations={doc.REF_NAME: tag})
    layout.set_index(doc.Index(manifests=(root, named)))
    assert image("copy", "oci:source", f"{little.host}/team/hello:1.0").code == 0
    assert tag in little.manifests
    image("copy", "oci:source", "oci:to")
    assert [entry.annotations for entry in Layout(Path("to")).index().manifests[1:]] == [{TAG: tag}]


# --- lists, and what is missing ---------------------------------------------------------------------------------------


def test_a_repository_lists_its_tags_and_no_bookkeeping(signed: dict[str, list[str]], image: Image, little) -> None:
    image("copy", "--platform", "linux/amd64", "oci:source:app", f"{little.host}/team/hello:2.0")
    place = f"{little.host}/team/hello"
    little.seen.clear()
    assert image("list", place) == Ended(0, ["1.0", "2.0"], "")
    assert little.calls("HEAD", "/manifests/") == [], "a list of names needs no digests"
    assert image("list", f"{place}:2.0").out == ["2.0"]
    shown = json.loads("\n".join(image("list", place, "--format", "json").out))["images"]
    assert [(one["image"], one["name"]) for one in shown] == [(f"{place}:{tag}", tag) for tag in ("1.0", "2.0")]
    assert shown[0]["digest"] == next(iter(signed))
    assert image("list", f"{place}:3.0").code == 4
    assert image("list", f"{place}@{shown[0]['digest']}").code == 2


def test_digests_are_asked_for_as_far_as_there_are_not_too_many(
    layout: Layout, image: Image, little, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagekit.oci.listing._MOST_ASKED", 1)
    for tag in ("1.0", "2.0"):
        image("copy", "oci:source:app", f"{little.host}/team/hello:{tag}")
    shown = json.loads("\n".join(image("list", f"{little.host}/team/hello", "--format", "json").out))["images"]
    assert [one["digest"] is None for one in shown] == [False, True]


def test_a_manifest_that_a_registry_lacks_is_a_broken_promise(layout: Layout, image: Image, little) -> None:
    word = f"{little.host}/team/hello:1.0"
    image("copy", "oci:source:app", word)
    gone = doc.decode_index(read_verified(layout, layout.resolve("app"))).manifests[0].digest
    del little.manifests[gone]
    done = image("validate", word)
    assert (done.code, done.out) == (5, [])
    assert gone in done.err
    copied = image("copy", word, "oci:to")
    assert (copied.code, copied.out) == (4, [])
    assert image("validate", f"{word}-none").code == 4, "an image that is not there promises nothing"


def test_a_registry_that_does_not_answer_breaks_no_promise(
    layout: Layout, image: Image, little, answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagekit.oci.transport._BACKOFF", 0.001)
    word = f"{little.host}/team/hello:1.0"
    image("copy", "oci:source:app", word)
    little.fail("GET", "/blobs/", answers.of(403), times=100)
    assert image("validate", word).code == 6


# --- engines ----------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_an_engine_is_not_given_what_it_cannot_start(
    image: Image, tmp_path: Path, build_image: Callable[..., doc.Descriptor], docker_engine: str
) -> None:
    made = Layout.create(tmp_path / "windows", durable=False)
    root = build_image(made, "windows/amd64")
    made.set_index(doc.Index(manifests=(msgspec.structs.replace(root, annotations={doc.REF_NAME: "app"}),)))
    done = image("copy", "oci:windows:app", "docker:registry.example/windows:1")
    assert (done.code, done.out) == (2, [])
    assert "app holds windows/amd64 only; the docker engine takes linux" in done.err.splitlines()[-1]
    refused = image("copy", "oci:windows:app", f"docker:registry.example/windows@{root.digest}")
    assert (refused.code, refused.out) == (2, [])
    assert "a digest is what a copy gives" in refused.err


@pytest.mark.real
def test_what_an_engine_has_is_named_by_its_id_and_by_a_word(layout: Layout, image: Image, docker_engine: str) -> None:
    name = f"registry.example/copied-{secrets.token_hex(4)}:1"
    [identity] = image("copy", "oci:source:app", f"docker:{name}").out
    [shown] = json.loads("\n".join(image("copy", "oci:source:app", f"docker:{name}", "--format", "json").out))["images"]
    assert shown == {"image": f"docker:{name}", "name": name, "digest": identity}
    assert image("copy", shown["image"], "oci:t/h").out[0].startswith(f"oci:t/h:{name}@sha256:")
    assert image("list", "oci:t/h").out[0].startswith(f"{name} sha256:")
