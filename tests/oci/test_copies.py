"""The matrix of copies: from every place to every other, digests compared; others read them in e2e/test_readers.py."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import UnreadableError, UsageError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.inspecting import inspect
from imagekit.oci.looking import examine, explain
from imagekit.oci.opening import open_parcel
from imagekit.oci.parcel import Parcel
from imagekit.oci.removing import from_layout
from imagekit.oci.sending import send
from imagekit.oci.store import Layout
from imagekit.oci.trees import runnables
from imagekit.oci.words import parse

pytestmark = pytest.mark.real
SBOM = "application/spdx+json"
KEEPING = ("layout", "oci-archive", "hybrid", "registry", "referrers", "distribution", "docker-registry")
"""Places that keep manifests, and so digests and referrers; a hybrid is written as a docker archive and read as OCI."""
FLAT = ("docker-archive", "docker", "podman")
"""Places that keep one platform, and only what its configuration promises."""


class Kinds(NamedTuple):
    """Words for a new image in each kind of place."""

    word: Callable[[str], str]
    source: Layout
    image: doc.Descriptor
    sbom: doc.Descriptor


@pytest.fixture(scope="module")
def places(
    registry_of: Callable[[str], str],
    docker_engine: str,
    podman_engine: str,
    build_image: Callable[..., doc.Descriptor],
    tmp_path_factory: pytest.TempPathFactory,
) -> Kinds:
    """A layout with an index of two platforms and an SBOM that refers to it, and every kind of place."""
    home = tmp_path_factory.mktemp("places")
    layout = Layout.create(home / "source", durable=False)
    image = build_image(layout, "linux/amd64", "linux/arm64")
    empty = put(layout, b"{}", "application/vnd.oci.empty.v1+json")
    content = put(layout, b'{"spdxVersion": "SPDX-2.3"}', SBOM)
    manifest = doc.Manifest(config=empty, layers=(content,), artifact_type=SBOM, subject=image.bare())
    sbom = put(layout, doc.encode(manifest), doc.MANIFEST)
    named = msgspec.structs.replace(image, annotations={doc.REF_NAME: "app"})
    layout.set_index(doc.Index(manifests=(named, sbom.bare())))

    def word(kind: str) -> str:
        name = f"copy-{secrets.token_hex(4)}"
        match kind:
            case "layout":
                return f"oci:{home}/{name}:app"
            case "oci-archive" | "docker-archive":
                return f"{kind}:{home}/{name}.tar"
            case "hybrid":
                return f"docker-archive:{home}/{name}.hybrid"
            case "docker" | "podman":
                return f"{kind}:registry.example/{name}:1"
        return f"{registry_of(kind)}/team/{name}:1"

    return Kinds(word, layout, image, sbom)


def copied(source: str, to: str) -> list[str]:
    with ExitStack() as opened:
        sent = send(open_parcel(parse(source), opened, Cancellation()), parse(to), Cancellation())
        return [one.where for one in sent]


def read_as(word: str) -> str:
    """The word to read by what was written under another: a hybrid as the OCI archive that it is too."""
    return word.replace("docker-archive:", "oci-archive:") if word.endswith(".hybrid") else word


def broken(parcel: Parcel) -> list[str]:
    """A sentence for every promise that is not kept."""
    return [sentence for check in examine(parcel, Cancellation()) for sentence in check.broken]


def read(word: str) -> tuple[str, list[str], list[str], list[str]]:
    """Digests of image, of configuration and unpacked layers for linux/amd64, of referrers; what is wrong with it."""
    with ExitStack() as opened:
        parcel = open_parcel(parse(read_as(word)), opened, Cancellation())
        [image] = parcel.images
        one = next(one for one in runnables(parcel.store, image.descriptor) if one.config.architecture == "amd64")
        wrong = broken(parcel)
        return (
            image.descriptor.digest,
            [one.manifest.config.digest, *one.config.rootfs.diff_ids],
            [each.digest for each in parcel.referrers],
            wrong,
        )


@pytest.mark.parametrize("to", [*KEEPING, *FLAT])
@pytest.mark.parametrize("source", [*KEEPING, *FLAT])
def test_a_copy_is_the_same_image(places: Kinds, source: str, to: str) -> None:
    first, second = places.word(source), places.word(to)
    copied(f"oci:{places.source.path}:app", first)
    before = read(first)
    copied(read_as(first), second)
    after = read(second)
    assert before[3] == after[3] == []
    assert before[1] == after[1], "the same configuration, which is an engine's image id, and bytes in every layer"
    if source in KEEPING and to in KEEPING:
        assert after[0] == places.image.digest
        assert after[2] == [places.sbom.digest], "what refers to it came along"


def test_a_second_copy_moves_nothing(places: Kinds) -> None:
    word = places.word("layout")
    copied(f"oci:{places.source.path}:app", word)
    place = Path(word.split(":")[1])
    before = {path: path.stat().st_mtime_ns for path in (place / "blobs/sha256").iterdir()}
    copied(f"oci:{places.source.path}:app", word)
    assert {path: path.stat().st_mtime_ns for path in (place / "blobs/sha256").iterdir()} == before
    assert len(Layout(place).index().manifests) == 2


def test_an_archive_is_the_same_bytes_every_time(places: Kinds) -> None:
    words = [places.word("oci-archive") for _ in range(2)]
    for word in words:
        copied(f"oci:{places.source.path}:app", word)
    one, other = (Path(word.partition(":")[2]).read_bytes() for word in words)
    assert one == other


@pytest.mark.parametrize("kind", ["registry", "referrers", "distribution", "docker-registry"])
def test_crane_accepts_what_is_pushed(places: Kinds, kind: str, peer: Callable[[str], Path]) -> None:
    to = places.word(kind)
    copied(f"oci:{places.source.path}:app", to)
    done = subprocess.run([peer("crane"), "validate", "--remote", to], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([peer("crane"), "digest", to], check=True, capture_output=True, text=True).stdout
    assert said.strip() == places.image.digest


# --- looking at it ----------------------------------------------------------------------------------------------------


def test_what_is_broken_is_said(places: Kinds, tmp_path: Path) -> None:
    copied(f"oci:{places.source.path}:app", f"oci:{tmp_path}/broken:app")
    layout = Layout(tmp_path / "broken")
    with ExitStack() as opened:
        parcel = open_parcel(parse(f"oci:{tmp_path}/broken:app"), opened, Cancellation())
        one = next(runnables(parcel.store, parcel.images[0].descriptor))
        path = layout.blob_path(one.manifest.layers[0].digest)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        said = broken(parcel)
    assert said
    assert all(one.manifest.layers[0].digest in sentence for sentence in said)


def test_a_diff_id_that_does_not_fit_is_said(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "wrong")
    layer = put(layout, b"\0" * 1024, doc.LAYER_TAR)
    rootfs = doc.RootFS(diff_ids=("sha256:" + "0" * 64,))
    config = put(layout, doc.encode(doc.ImageConfig(architecture="amd64", os="linux", rootfs=rootfs)), doc.CONFIG)
    image = put(layout, doc.encode(doc.Manifest(config=config, layers=(layer,))), doc.MANIFEST)
    layout.set_index(doc.Index(manifests=(msgspec.structs.replace(image, annotations={doc.REF_NAME: "app"}),)))
    with ExitStack() as opened:
        [said] = broken(open_parcel(parse(f"oci:{tmp_path}/wrong"), opened, Cancellation()))
    assert "unpacks to" in said


def test_inspect_names_platforms_layers_and_referrers(places: Kinds) -> None:
    with ExitStack() as opened:
        [found] = inspect(open_parcel(parse(f"oci:{places.source.path}:app"), opened, Cancellation()))
    assert found.digest == places.image.digest
    assert [one.platform for one in found.platforms] == ["linux/amd64", "linux/arm64"]
    assert [one.artifact_type for one in found.referrers] == [SBOM]


def test_explain_names_the_layer_of_each_file(places: Kinds) -> None:
    one = next(runnables(places.source, places.image))
    [entry] = explain(places.source, one)
    assert (entry.path, entry.kind, entry.mode) == ("/app", "file", "0555")
    assert entry.layer == one.manifest.layers[0].digest


def test_delete_frees_what_nobody_else_needs(places: Kinds, tmp_path: Path) -> None:
    for name in ("one", "two"):
        copied(f"oci:{places.source.path}:app", f"oci:{tmp_path}/all:{name}")
    layout = Layout(tmp_path / "all")
    removed = from_layout(layout.path, "one")
    assert (removed.digest, removed.freed) == (places.image.digest, 0), "the other name needs every blob"
    freed = from_layout(layout.path, "two").freed
    assert freed > 0
    assert list((layout.path / "blobs/sha256").iterdir()) == []
    assert layout.index().manifests == ()
    with pytest.raises(UnreadableError, match="holds no image 'two'"):
        from_layout(layout.path, "two")


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_several_images_do_not_go_under_one_name(places: Kinds, tmp_path: Path) -> None:
    parcel = Parcel(places.source, ())
    with pytest.raises(UsageError, match="there are 0: none"):
        send(parcel, parse(places.word("registry")), Cancellation())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/todo").write_text("mine")
    with pytest.raises(UsageError, match="is no OCI layout"):
        copied(f"oci:{places.source.path}:app", f"oci:{tmp_path}/notes")
    with pytest.raises(UsageError, match="is no place for an image"):
        copied(f"oci:{places.source.path}:app", f"{tmp_path}/notes")
