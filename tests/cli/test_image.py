"""`imagekit image …` on layouts and archives: exit codes, what stdout gets, and words that mean the same again."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import msgspec
import pytest
import zstandard

from imagekit import content as bytes_of
from imagekit.cancellation import Cancellation
from imagekit.cli.main import main
from imagekit.oci import documents as doc
from imagekit.oci.blobs import BlobStore, put, read_verified
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.opening import open_images
from imagekit.oci.store import Layout
from imagekit.oci.trees import walk
from imagekit.oci.words import parse
from imagekit.platform import Platform

SCHEMAS = Path(__file__).resolve().parents[2] / "docs/schema"
LAST = re.compile(r"imagekit: exit (\d+): (.*)")


class Ended(NamedTuple):
    """A command that ran: its exit code, the lines of stdout, all of stderr."""

    code: int
    out: list[str]
    err: str

    @property
    def last(self) -> str:
        """What the line says that ends stderr."""
        found = LAST.fullmatch(self.err.splitlines()[-1])
        assert found, self.err
        assert int(found[1]) == self.code
        return found[2]


Image = Callable[..., Ended]


@pytest.fixture
def image(capsys: pytest.CaptureFixture[str]) -> Image:
    """Run `imagekit image …`."""

    def run(*words: str | Path) -> Ended:
        capsys.readouterr()
        code = main(["image", *map(str, words)])
        said = capsys.readouterr()
        return Ended(code, said.out.splitlines(), said.err)

    return run


def shown_by(command: str, done: Ended) -> Any:
    """What is in the document that a command printed, which fits its schema; of `validate` all of it."""
    found = json.loads("\n".join(done.out))
    assert found["schema"] == f"urn:imagekit:image-{command}:v1"
    jsonschema.validate(found, json.loads((SCHEMAS / f"image-{command}.schema.json").read_bytes()))
    return found if command == "validate" else found["images"]


def manifest(store: BlobStore, platform: str, content: bytes = b"program") -> doc.Descriptor:
    """An image of one layer for one platform."""
    named = Platform.parse(platform)
    layer = write_layer(store, [Entry("app", mode=0o555, content=content + platform.encode())], mtime=0)
    config = doc.ImageConfig(
        created="1970-01-01T00:00:00Z",
        architecture=named.architecture,
        os=named.os,
        variant=named.variant,
        config=doc.RuntimeConfig(entrypoint=("/app",)),
        rootfs=doc.RootFS(diff_ids=(layer.diff_id,)),
    )
    kept = put(store, doc.encode(config), doc.CONFIG)
    content = doc.encode(doc.Manifest(config=kept, layers=(layer.descriptor,)))
    return put(store, content, doc.MANIFEST, platform=doc.PlatformObject.of(named))


def index(store: BlobStore, *manifests: doc.Descriptor) -> doc.Descriptor:
    return put(store, doc.encode(doc.Index(manifests=manifests)), doc.INDEX)


def named(layout: Layout, **images: doc.Descriptor) -> Layout:
    """Write the layout's list."""
    entries = [msgspec.structs.replace(one, annotations={doc.REF_NAME: name}) for name, one in images.items()]
    layout.set_index(doc.Index(manifests=tuple(entries)))
    return layout


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_layer(layout: BlobStore, content: bytes, media_type: str, tar: bytes | None = None) -> doc.Descriptor:
    """An image of one layer, whose tar is `tar` where `content` is that compressed."""
    layer = put(layout, content, media_type)
    rootfs = doc.RootFS(diff_ids=(bytes_of.digest_of(content if tar is None else tar),))
    config = put(layout, doc.encode(doc.ImageConfig(architecture="amd64", os="linux", rootfs=rootfs)), doc.CONFIG)
    return put(layout, doc.encode(doc.Manifest(config=config, layers=(layer,))), doc.MANIFEST)


@pytest.fixture
def two(here: Path) -> Layout:
    """`oci:two`, with the images `a` (two platforms) and `b`."""
    layout = Layout.create(here / "two", durable=False)
    both = index(layout, manifest(layout, "linux/amd64"), manifest(layout, "linux/arm64"))
    return named(layout, a=both, b=index(layout, manifest(layout, "linux/amd64", b"another")))


def tags(archive: str) -> list[list[str]]:
    """The tags of each image in a docker archive."""
    with tarfile.open(archive) as opened:
        stream = opened.extractfile("manifest.json")
        assert stream
        return [entry["RepoTags"] for entry in json.load(stream)]


# --- words ------------------------------------------------------------------------------------------------------------


def digest_of(layout: Layout, name: str) -> str:
    return layout.resolve(name).digest


@pytest.mark.parametrize("name", ["app", "t/h:latest", "127.0.0.1:5000/team/app:1.4", "sha256:" + "1" * 64])
@pytest.mark.parametrize("kind", ["oci", "oci-archive"])
def test_every_word_that_copy_prints_is_one_that_commands_take(two: Layout, image: Image, kind: str, name: str) -> None:
    done = image("copy", "oci:two:a", f"{kind}:o/dh:{name}")
    assert (done.code, done.out) == (0, [f"{kind}:o/dh:{name}@{digest_of(two, 'a')}"])
    for word in (done.out[0], done.out[0].partition("@")[0]):
        shown = image("inspect", word)
        assert shown.code == 0, shown.err
        assert digest_of(two, "a") in "\n".join(shown.out)
        assert image("copy", word, "oci:again:x").out == [f"oci:again:x@{digest_of(two, 'a')}"]
    if kind == "oci":
        assert image("delete", done.out[0]).out == [digest_of(two, "a")]
        assert image("inspect", done.out[0]).code == 4


def test_a_digest_that_a_name_no_longer_has_is_not_deleted(two: Layout, image: Image) -> None:
    old = image("copy", "oci:two:a", "oci:to:app").out[0]
    image("copy", "oci:two:b", "oci:to:app")
    done = image("delete", old)
    assert (done.code, done.out) == (4, [])
    assert f"is {digest_of(two, 'b')}, not {digest_of(two, 'a')}" in done.last


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
def test_a_digest_is_not_where_a_copy_goes(two: Layout, image: Image, here: Path, kind: str) -> None:
    done = image("copy", "oci:two:a", f"{kind}:x1@{digest_of(two, 'a')}")
    assert (done.code, done.out) == (2, [])
    assert "a digest is what a copy gives, not where it goes" in done.last
    assert not (here / "x1").exists()


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_an_archive_is_a_file(two: Layout, image: Image, here: Path, kind: str) -> None:
    (here / "o").mkdir()
    done = image("copy", "oci:two:b", f"{kind}:o")
    assert (done.code, done.out) == (2, [])
    assert "o is a folder" in done.last
    assert f"{kind}:o/image.tar" in done.last
    assert ".part" not in done.err


# --- docker archives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("team/app:1.4", "docker.io/team/app:1.4"),
        ("registry.example/team/app", "registry.example/team/app:latest"),
        ("localhost:5000/app:2", "localhost:5000/app:2"),
    ],
)
def test_the_name_behind_a_docker_archive_becomes_its_tag(two: Layout, image: Image, name: str, tag: str) -> None:
    done = image("copy", "oci:two:b", f"docker-archive:named.tar:{name}")
    assert done.code == 0, done.err
    assert tags("named.tar") == [[tag]]
    [word] = done.out
    assert word.startswith(f"docker-archive:named.tar:{tag}@sha256:")
    for each in (word, f"docker-archive:named.tar:{name}", f"docker-archive:named.tar@{word.partition('@')[2]}"):
        again = image("copy", each, "oci:again:b")
        assert again.code == 0, again.err


def test_one_image_of_a_docker_archive_is_chosen_by_name(two: Layout, image: Image) -> None:
    done = image("copy", "oci:two", "docker-archive:two.tar")
    assert [word.partition("@")[0] for word in done.out] == [
        "docker-archive:two.tar:imagekit.local/a:latest",
        "docker-archive:two.tar:imagekit.local/b:latest",
    ]
    for name in ("b", "b:latest", "imagekit.local/b", "imagekit.local/b:latest"):
        assert image("copy", f"docker-archive:two.tar:{name}", "docker-archive:one.tar").code == 0
        assert tags("one.tar") == [["imagekit.local/b:latest"]]
    assert image("copy", done.out[1], "docker-archive:one.tar").out == [done.out[1].replace("two.tar", "one.tar")]
    missing = image("copy", "docker-archive:two.tar:c", "oci:to")
    assert (missing.code, missing.out) == (4, [])
    assert "two.tar holds no image 'c'; it holds imagekit.local/a:latest, imagekit.local/b:latest" in missing.last


def test_what_reports_call_an_image_is_a_word_for_it(two: Layout, image: Image) -> None:
    image("copy", "oci:two", "docker-archive:two.tar")
    with ExitStack() as opened:
        for word in ("docker-archive:two.tar", "oci-archive:two.tar", "oci:two"):
            for label, found in open_images(parse(word), opened, Cancellation()).images:
                assert open_images(parse(label), opened, Cancellation()).images == ((label, found),)


def test_docker_archives_do_not_take_what_is_not_for_linux(image: Image, here: Path) -> None:
    layout = Layout.create(here / "windows", durable=False)
    named(layout, app=index(layout, manifest(layout, "windows/amd64")))
    done = image("copy", "oci:windows:app", "docker-archive:app.tar")
    assert (done.code, done.out) == (2, [])
    assert "app holds windows/amd64 only; docker archives take linux" in done.last
    assert not (here / "app.tar").exists()
    assert image("copy", "oci:windows:app", "oci-archive:app.tar").code == 0
    assert image("inspect", "oci-archive:app.tar").code == 0


def test_skopeo_reads_the_same_names(two: Layout, image: Image) -> None:
    image("copy", "oci:two:b", "docker-archive:named.tar:team/app:1.4")
    image("copy", "oci:two:b", "oci:o/dh:t/h:latest")
    for word in ("docker-archive:named.tar:team/app:1.4", "oci:o/dh:t/h:latest"):
        subprocess.run(["skopeo", "inspect", "--config", word], check=True, capture_output=True)


@pytest.mark.parametrize("packer", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_an_archive_that_is_compressed_as_a_whole(
    two: Layout, image: Image, here: Path, packer: str, kind: str
) -> None:
    image("copy", "oci:two:b", f"{kind}:whole.tar")
    packed = subprocess.run([packer, "-c", "whole.tar"], check=True, capture_output=True).stdout
    (here / "packed").write_bytes(packed)
    done = image("copy", f"{kind}:packed", "oci:to")
    assert (done.code, done.out) == (4, [])
    assert done.last == f"packed is compressed with {packer}; unpack it first, with {packer} -dc"
    unpacked = subprocess.run([packer, "-dc"], input=packed, check=True, capture_output=True).stdout
    (here / "unpacked").write_bytes(unpacked)
    assert image("copy", f"{kind}:unpacked", "oci:to").code == 0


# --- platforms --------------------------------------------------------------------------------------------------------


@pytest.fixture
def single(here: Path) -> Layout:
    """`oci:single`, with the image `app`: a manifest for linux/amd64, no index."""
    layout = Layout.create(here / "single", durable=False)
    return named(layout, app=manifest(layout, "linux/amd64").bare())


@pytest.mark.parametrize("source", ["oci:single", "docker-archive:single.tar"])
@pytest.mark.parametrize("to", ["oci:to", "docker-archive:to.tar"])
def test_a_platform_that_a_single_image_is_not_for(
    single: Layout, image: Image, here: Path, source: str, to: str
) -> None:
    image("copy", "oci:single", "docker-archive:single.tar")
    done = image("copy", "--platform", "linux/s390x", source, to)
    assert (done.code, done.out) == (4, [])
    assert "has no linux/s390x; it offers linux/amd64" in done.last
    assert not (here / to.partition(":")[2]).exists()
    assert image("copy", "--platform", "linux/amd64/v1", source, to).code == 0


def test_platforms_can_be_several(two: Layout, image: Image) -> None:
    every = image("copy", "--platform", "linux/arm64/v8", "--platform", "linux/amd64", "oci:two:a", "oci:every")
    assert every.out == [f"oci:every:a@{digest_of(two, 'a')}"]
    one = image("copy", "--platform", "linux/arm64/v8", "oci:two:a", "oci:one")
    assert one.code == 0
    [shown] = shown_by("inspect", image("inspect", one.out[0]))
    assert [each["platform"] for each in shown["platforms"]] == ["linux/arm64"]
    files = image("explain", "--platform", "linux/arm64", "--platform", "linux/amd64", "oci:two:a").out
    assert [line.split()[0] for line in files] == ["a:linux/amd64", "a:linux/arm64"]
    wrong = image("copy", "--platform", "linux", "oci:two:a", "oci:one")
    assert (wrong.code, wrong.out) == (2, [])


# --- layers that live elsewhere ---------------------------------------------------------------------------------------

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


@pytest.fixture
def foreign(here: Path) -> Layout:
    """`oci:foreign`, with the image `app` for linux: a layer that is there, and one that is not."""
    layout = Layout.create(here / "foreign", durable=False)
    there, elsewhere = (
        write_layer(store, [Entry("app", mode=0o555, content=content)], mtime=0)
        for store, content in ((layout, b"here"), (Layout.create(here / "elsewhere"), b"there"))
    )
    layer = doc.Descriptor(FOREIGN, elsewhere.descriptor.digest, elsewhere.descriptor.size, ("https://192.0.2.1/x",))
    rootfs = doc.RootFS(diff_ids=(there.diff_id, elsewhere.diff_id))
    config = put(layout, doc.encode(doc.ImageConfig(architecture="amd64", os="linux", rootfs=rootfs)), doc.CONFIG)
    content = doc.encode(doc.Manifest(config=config, layers=(there.descriptor, layer)))
    return named(layout, app=put(layout, content, doc.MANIFEST))


def test_a_layer_that_lives_elsewhere_is_done_without_where_a_format_can(foreign: Layout, image: Image) -> None:
    for word in ("oci-archive:to.tar", "oci:to"):
        done = image("copy", "oci:foreign:app", word)
        assert done.code == 0, done.err
        assert image("copy", done.out[0], "oci:again:app").code == 0
        assert image("validate", done.out[0])[:2] == (0, [])
        files = image("explain", done.out[0])
        assert (files.code, len(files.out)) == (0, 1)
    assert tags("to.tar") == []


def test_docker_archives_take_no_image_that_lacks_a_layer(foreign: Layout, image: Image, here: Path) -> None:
    done = image("copy", "oci:foreign:app", "docker-archive:to.tar")
    assert (done.code, done.out) == (2, [])
    assert "app has layers that are not distributed with it and not in oci:foreign" in done.last
    assert not (here / "to.tar").exists()
    [_, layer] = doc.decode_manifest(read_verified(foreign, foreign.resolve("app"))).layers
    with Layout(here / "elsewhere").open(layer.digest) as stream:
        foreign.add(stream, layer.bare())
    assert image("copy", "oci:foreign:app", "docker-archive:to.tar").code == 0
    assert image("validate", "docker-archive:to.tar").code == 0


# --- copy as JSON -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "names"),
    [
        ("oci:to", ["a", "b"]),
        ("oci-archive:to.tar", ["a", "b"]),
        ("docker-archive:to.tar", ["imagekit.local/a:latest", "imagekit.local/b:latest"]),
    ],
)
def test_copy_says_as_json_what_it_says_as_words(two: Layout, image: Image, to: str, names: list[str]) -> None:
    words = image("copy", "oci:two", to).out
    shown = shown_by("copy", image("copy", "--format", "json", "oci:two", to))
    assert [one["image"] for one in shown] == words
    assert [one["name"] for one in shown] == names
    assert [one["image"] for one in shown] == [f"{to}:{one['name']}@{one['digest']}" for one in shown]


# --- list -------------------------------------------------------------------------------------------------------------


def test_an_empty_layout_has_no_images_and_that_is_no_error(image: Image, here: Path) -> None:
    Layout.create(here / "empty")
    assert image("list", "oci:empty") == Ended(0, [], "")
    assert shown_by("list", image("list", "oci:empty", "--format", "json")) == []
    assert image("list", "oci:empty:app").code == 4
    nothing = image("list", "oci:none")
    assert (nothing.code, nothing.out) == (4, [])
    assert "none is not an OCI layout" in nothing.last


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive"])
def test_every_image_of_a_list_is_a_word(two: Layout, image: Image, kind: str) -> None:
    words = image("copy", "oci:two", f"{kind}:all").out
    lines = image("list", f"{kind}:all").out
    assert lines == [word.removeprefix(f"{kind}:all:").replace("@", " ") for word in words]
    shown = shown_by("list", image("list", f"{kind}:all", "--format", "json"))
    assert [one["image"] for one in shown] == words
    assert image("list", words[1]).out == lines[1:]


def test_images_without_a_name_are_listed_and_what_refers_to_them_is_not(image: Image, here: Path) -> None:
    layout = Layout.create(here / "bare", durable=False)
    one = manifest(layout, "linux/amd64").bare()
    sbom = doc.Manifest(config=put(layout, b"{}", doc.EMPTY), layers=(), artifact_type="text/sbom", subject=one)
    layout.set_index(doc.Index(manifests=(one, put(layout, doc.encode(sbom), doc.MANIFEST).bare())))
    assert image("list", "oci:bare").out == [f"- {one.digest}"]
    [shown] = shown_by("list", image("list", "oci:bare", "--format", "json"))
    assert shown == {"image": f"oci:bare@{one.digest}", "name": None, "digest": one.digest}
    assert image("inspect", shown["image"]).code == 0
    assert image("copy", "oci:bare", "oci:to").code == 0
    assert len(Layout(here / "to").index().manifests) == 2, "what refers to it came along"


def test_a_list_of_an_engine_is_the_engines_own(image: Image) -> None:
    done = image("list", "docker:app")
    assert (done.code, done.out) == (2, [])
    assert "docker:app has no list of images" in done.last


# --- inspect ----------------------------------------------------------------------------------------------------------


def test_inspect_prints_what_the_image_says(two: Layout, image: Image) -> None:
    done = image("inspect", "oci:two:a")
    assert (done.code, done.err) == (0, "")
    [shown] = shown_by("inspect", done)
    assert (shown["name"], shown["digest"]) == ("a", digest_of(two, "a"))
    assert [one["platform"] for one in shown["platforms"]] == ["linux/amd64", "linux/arm64"]
    assert shown["platforms"][0]["entrypoint"] == ["/app"]


@pytest.mark.parametrize(
    ("word", "code", "says"),
    [
        ("oci:two:c", 4, "oci:two:c is no image; add :NAME; it holds a, b"),
        ("oci:none", 4, "none is not an OCI layout"),
        ("docker-archive:none.tar", 4, "none.tar"),
        ("nowhere", 4, "'nowhere' is not there"),
        ("two", 2, "write oci:two for a layout"),
        ("oci:", 2, "names nothing behind the colon"),
        ("UPPER.example/a:b:c", 2, "is not an image reference"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "validate", "explain", "copy"])
def test_words_that_mean_no_image(two: Layout, image: Image, command: str, word: str, code: int, says: str) -> None:
    done = image(command, word, *(["oci:to"] if command == "copy" else []))
    assert (done.code, done.out) == (code, [])
    assert says in done.last


# --- validate ---------------------------------------------------------------------------------------------------------


def test_an_image_that_keeps_its_promises(two: Layout, image: Image) -> None:
    assert image("validate", "oci:two:a") == Ended(0, [], "")
    found = shown_by("validate", image("validate", "oci:two:a", "--format", "json"))
    assert (found["valid"], found["image"]) == (True, "oci:two:a")
    blobs = set(walk(two, [two.resolve("a")]).blobs) | {digest_of(two, "a")}
    assert blobs <= {one["digest"] for one in found["checked"]}
    assert {(one["read"], tuple(one["broken"])) for one in found["checked"]} == {(True, ())}


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


BREAKS = {"it is missing": Path.unlink, "a byte is another": change}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("what", ["index", "manifest", "config", "layer"])
def test_a_broken_promise_is_exit_5_and_does_not_hide_the_rest(two: Layout, image: Image, what: str, how: str) -> None:
    root = two.resolve("a")
    entries = doc.decode_index(read_verified(two, root)).manifests
    first = doc.decode_manifest(read_verified(two, entries[0]))
    [_, layer] = doc.decode_manifest(read_verified(two, entries[1])).children
    broken = {"index": root, "manifest": entries[0], "config": first.config, "layer": first.layers[0]}[what].digest
    BREAKS[how](two.blob_path(broken))
    change(two.blob_path(layer.digest))
    done = image("validate", "oci:two:a")
    assert (done.code, done.out) == (5, [])
    expected = [broken] if what == "index" else [broken, layer.digest]
    sentences = done.err.splitlines()[:-1]
    assert len(sentences) == len(expected)
    assert all(digest in "".join(sentences) for digest in expected)
    assert "oci:two:a breaks " + ("a promise" if what == "index" else "2 promises") in done.last
    found = shown_by("validate", image("validate", "oci:two:a", "--format", "json"))
    assert {one["digest"] for one in found["checked"] if one["broken"]} == set(expected)
    assert found["valid"] is False


def test_what_refers_to_an_image_is_validated_with_it(two: Layout, image: Image) -> None:
    entries = two.index().manifests
    text = put(two, b"text", "text/sbom")
    sbom = doc.Manifest(config=put(two, b"{}", doc.EMPTY), layers=(text,), subject=two.resolve("a").bare())
    two.set_index(doc.Index(manifests=(*entries, put(two, doc.encode(sbom), doc.MANIFEST).bare())))
    assert image("validate", "oci:two:a").code == 0
    change(two.blob_path(text.digest))
    assert image("validate", "oci:two:a").code == 5
    assert image("validate", "oci:two:b").code == 0
    assert image("validate", "--no-referrers", "oci:two:a").code == 0
    change(two.blob_path(digest_of(two, "a")))
    two.blob_path(two.index().manifests[-1].digest).unlink()
    assert image("validate", "oci:two:b").code == 5, "nobody can tell what a list's entry is of that is not there"


def test_a_layer_that_is_not_distributed_is_said_not_to_be_looked_at(foreign: Layout, image: Image) -> None:
    done = image("validate", "oci:foreign", "--format", "json")
    assert done.code == 0
    [one] = [one for one in shown_by("validate", done)["checked"] if not one["read"]]
    assert one["media_type"] == FOREIGN
    assert f"{one['digest']} is not distributed with its image" in done.err


TAR = bytes(1024)
LAYERS = {
    "gzip": (gzip.compress(TAR), doc.LAYER_GZIP),
    "gzip of docker": (gzip.compress(TAR), doc.DOCKER_LAYER),
    "gzip in pieces": (gzip.compress(TAR[:512]) + gzip.compress(TAR[512:]), doc.LAYER_GZIP),
    "zstd": (zstandard.compress(TAR), doc.LAYER_ZSTD),
    "zstd of docker": (zstandard.compress(TAR), "application/vnd.docker.image.rootfs.diff.tar.zstd"),
    "a tar": (TAR, doc.LAYER_TAR),
    "a tar of docker": (TAR, "application/vnd.docker.image.rootfs.diff.tar"),
}


@pytest.mark.parametrize(("content", "media_type"), LAYERS.values(), ids=LAYERS)
def test_layers_are_compressed_as_their_media_types_say(
    here: Path, image: Image, content: bytes, media_type: str
) -> None:
    layout = Layout.create(here / "packed", durable=False)
    named(layout, a=of_layer(layout, content, media_type, TAR))
    assert image("validate", "oci:packed:a") == (0, [], "")
    named(layout, a=of_layer(layout, content, f"{media_type}.zip", TAR))
    assert image("validate", "oci:packed:a").code == 5


def test_an_image_without_layers_as_buildkit_writes_it_goes_everywhere(here: Path, image: Image) -> None:
    layout = Layout.create(here / "empty", durable=False)
    rootfs = {"type": "layers", "diff_ids": None}
    config = put(layout, json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), doc.CONFIG)
    told = {"mediaType": config.media_type, "digest": config.digest, "size": config.size}
    raw = json.dumps({"schemaVersion": 2, "mediaType": doc.MANIFEST, "config": told, "layers": None}).encode()
    made = put(layout, raw, doc.MANIFEST)
    named(layout, a=made)
    for word in ("oci:to", "oci-archive:to.tar", "docker-archive:to.saved:registry.example/a:1"):
        done = image("copy", "oci:empty:a", word)
        assert (done.code, done.err) == (0, "")
        assert image("validate", done.out[0]) == (0, [], "")
    assert Layout(here / "to").resolve().digest == made.digest
    assert json.loads("".join(image("inspect", "oci:empty:a").out))["images"][0]["platforms"][0]["layers"] == []


CONFIGURATIONS = {
    "no JSON": b"hello",
    "without a root": b'{"architecture":"amd64","os":"linux"}',
    "longer than any is read": b'{"architecture":"amd64"}' + b" " * doc.DOCUMENT_LIMIT,
}


@pytest.mark.parametrize("content", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_that_says_nothing_of_the_layers_is_a_broken_promise(
    here: Path, image: Image, content: bytes
) -> None:
    layout = Layout.create(here / "dumb", durable=False)
    config, layer = put(layout, content, doc.CONFIG), put(layout, TAR, doc.LAYER_TAR)
    named(layout, a=put(layout, doc.encode(doc.Manifest(config=config, layers=(layer,))), doc.MANIFEST))
    done = image("validate", "oci:dumb:a")
    assert (done.code, done.out) == (5, [])
    assert f"configuration {config.digest}: " in done.err


# --- names that are not UTF-8 -----------------------------------------------------------------------------------------

LATIN = "caf\udce9"
"""A name whose last byte is no UTF-8, as Python has it (os.fsdecode)."""


def test_a_file_whose_name_is_not_utf8_is_explained_as_json_too(here: Path, image: Image) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT, errors="surrogateescape") as tar:
        tar.addfile(tarfile.TarInfo(LATIN))
    layout = Layout.create(here / "latin", durable=False)
    named(layout, a=of_layer(layout, packed.getvalue(), doc.LAYER_TAR))
    [said] = image("explain", "oci:latin:a", "--format", "json").out
    assert json.loads(said)["entry"]["path"] == "/caf\\udce9"


def test_a_layout_whose_path_is_not_utf8_has_documents_too(two: Layout, here: Path, image: Image) -> None:
    two.path.rename(here / LATIN)
    for command in ("validate", "list"):
        done = image(command, f"oci:{LATIN}:a", "--format", "json")
        assert (done.code, done.err) == (0, "")
        assert "caf\\\\udce9" in "".join(done.out)
    assert image("copy", f"oci:{LATIN}:a", f"oci:{LATIN}:b", "--format", "json").code == 0


# --- explain and delete -----------------------------------------------------------------------------------------------


def test_explain_names_every_file_of_every_platform(two: Layout, image: Image) -> None:
    done = image("explain", "oci:two:a")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[:4] for line in done.out] == [
        ["a:linux/amd64", "0555", "0:0", "/app"],
        ["a:linux/arm64", "0555", "0:0", "/app"],
    ]
    as_json = [json.loads(line) for line in image("explain", "--format", "json", "oci:two:a").out]
    assert [(one["image"], one["entry"]["path"]) for one in as_json] == [
        ("a:linux/amd64", "/app"),
        ("a:linux/arm64", "/app"),
    ]


def test_delete_takes_one_image_from_a_layout(two: Layout, image: Image) -> None:
    digest = digest_of(two, "b")
    done = image("delete", "oci:two:b")
    assert (done.code, done.out) == (0, [digest])
    assert done.err.endswith(" bytes are free\n")
    assert image("list", "oci:two").out == [f"a {digest_of(two, 'a')}"]
    again = image("delete", "oci:two:b")
    assert (again.code, again.out) == (4, [])
    assert "it holds a" in again.last


def test_delete_knows_an_image_by_its_docker_name_too(two: Layout, image: Image) -> None:
    assert image("copy", "oci:two:a", "docker-archive:a.tar:registry.example/team/app:1.4").code == 0
    for number, name in enumerate(("registry.example/team/app:1.4", "1.4")):
        [word] = image("copy", "docker-archive:a.tar", f"oci:two:again{number}").out
        assert image("list", f"oci:two:{name}").out == [f"again{number} {word.rpartition('@')[2]}"]
        assert image("delete", f"oci:two:{name}").out == [word.rpartition("@")[2]]
        assert [line.split()[0] for line in image("list", "oci:two").out] == ["a", "b"]


@pytest.mark.parametrize("word", ["oci:two", "oci-archive:two.tar:a", "docker:app", "docker-archive:two.tar"])
def test_delete_wants_the_name_of_an_image_in_a_layout(two: Layout, image: Image, word: str) -> None:
    done = image("delete", word)
    assert (done.code, done.out) == (2, [])
    assert "write oci:DIR:NAME" in done.last


@pytest.mark.parametrize("command", ["copy", "validate", "list", "explain"])
def test_a_format_that_is_none(two: Layout, image: Image, command: str) -> None:
    done = image(command, "oci:two", *(["oci:to"] if command == "copy" else []), "--format", "xml")
    assert (done.code, done.out) == (2, [])
    assert "text, json" in done.last
