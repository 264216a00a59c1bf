from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from imagekit.content import Digest
from imagekit.errors import ImagekitError, IntegrityError, UnreadableError, UsageError
from imagekit.oci import documents as doc
from imagekit.oci import hybrid
from imagekit.oci.blobs import MissingBlobError, put
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.parcel import NamedImage
from imagekit.oci.store import Memory
from imagekit.platform import Platform

TAG = "registry.example/team/app:1.0"


def image(store: Memory, platform: str = "linux/amd64", content: bytes = b"program") -> doc.Descriptor:
    layer = write_layer(store, [Entry("app", mode=0o755, content=content)], mtime=0)
    parsed = Platform.parse(platform)
    config = doc.ImageConfig(
        architecture=parsed.architecture,
        os=parsed.os,
        variant=parsed.variant,
        config=doc.RuntimeConfig(entrypoint=("/app",)),
        rootfs=doc.RootFS(diff_ids=(layer.diff_id,)),
    )
    described = put(store, doc.encode(config), doc.CONFIG)
    manifest = doc.Manifest(config=described, layers=(layer.descriptor,))
    return put(store, doc.encode(manifest), doc.MANIFEST, platform=doc.PlatformObject.of(parsed))


def index(store: Memory, platforms: Sequence[str]) -> doc.Descriptor:
    children = tuple(image(store, platform, platform.encode()) for platform in platforms)
    return put(store, doc.encode(doc.Index(manifests=children)), doc.INDEX)


def referrer(store: Memory, subject: doc.Descriptor) -> doc.Descriptor:
    put(store, doc.EMPTY_JSON, doc.EMPTY)
    layer = put(store, b'{"bomFormat":"CycloneDX"}', "application/vnd.cyclonedx+json")
    manifest = doc.Manifest(
        artifact_type="application/vnd.cyclonedx+json",
        config=doc.EMPTY_DESCRIPTOR,
        layers=(layer,),
        subject=subject.bare(),
    )
    return put(store, doc.encode(manifest), doc.MANIFEST, artifact_type="application/vnd.cyclonedx+json")


def tar_of(store: Memory, images: Sequence[NamedImage], **options: object) -> bytes:
    planned = hybrid.plan(store, images, **options)  # type: ignore[arg-type]
    return b"".join(hybrid.pieces(planned, store))


def opened(content: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(content))


def member(content: bytes, path: str) -> bytes:
    stream = opened(content).extractfile(path)
    assert stream is not None
    return stream.read()


def test_headers_say_nothing_but_path_and_size() -> None:
    store = Memory()
    made = opened(tar_of(store, [NamedImage(image(store), "app", (TAG,))]))
    for entry in made.getmembers():
        assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, 0, "", "")
        assert (entry.mode, entry.type, entry.pax_headers) == (0o644, tarfile.REGTYPE, {})


def test_documents_come_first_by_path_then_blobs_by_size() -> None:
    store = Memory()
    images = [NamedImage(index(store, ["linux/amd64", "linux/arm64"]), "app", (TAG,))]
    entries = opened(tar_of(store, images, extra_files={"imagekit/bundle.json": b"{}\n"})).getmembers()
    names = [entry.name for entry in entries]
    assert names[:5] == ["SHA256SUMS", "imagekit/bundle.json", "index.json", "manifest.json", "oci-layout"]
    blobs = [(entry.size, entry.name) for entry in entries[5:]]
    assert blobs == sorted(blobs)
    assert all(name.startswith("blobs/sha256/") for _, name in blobs)


def test_sums_list_every_file_but_themselves(tmp_path: Path) -> None:
    store = Memory()
    content = tar_of(store, [NamedImage(image(store), "app", (TAG,))])
    opened(content).extractall(tmp_path, filter="data")
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path, check=True)
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    listed = [line.split("  ")[1] for line in lines]
    assert listed == sorted(set(opened(content).getnames()) - {"SHA256SUMS"})


def test_the_same_images_give_the_same_bytes_whatever_the_store_kept_before() -> None:
    one, other = Memory(), Memory()
    put(other, b"something else", "text/plain")
    first = tar_of(one, [NamedImage(index(one, ["linux/amd64", "linux/arm64"]), "app", (TAG,))])
    index(other, ["linux/arm64", "linux/amd64"])
    again = index(other, ["linux/amd64", "linux/arm64"])
    assert tar_of(other, [NamedImage(again, "app", (TAG,))]) == first


def test_only_images_are_named() -> None:
    store = Memory()
    found = image(store)
    sbom = msgspec.structs.replace(
        referrer(store, found), annotations={doc.REF_NAME: f"sha256-{found.digest[7:]}", "kept": "yes"}
    )
    content = tar_of(store, [NamedImage(found, "app", (TAG,))], referrers=[sbom])
    entries = json.loads(member(content, "index.json"))["manifests"]
    assert entries[0]["annotations"] == {doc.REF_NAME: "app", doc.CONTAINERD_NAME: TAG}
    assert entries[1]["annotations"] == {"kept": "yes"}
    assert f"blobs/sha256/{sbom.digest[7:]}" in opened(content).getnames()


@pytest.mark.parametrize(
    ("platforms", "prefer", "chosen"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["linux/arm64", "linux/s390x"], "linux/amd64", "linux/arm64"),
        (["windows/amd64", "linux/riscv64"], "linux/amd64", "linux/riscv64"),
        (["linux/amd64", "linux/arm64"], "linux/arm64", "linux/arm64"),
        (["linux/amd64/v3", "linux/amd64"], "linux/amd64", "linux/amd64"),
        (["linux/amd64/v3", "linux/arm64"], "linux/amd64", "linux/amd64/v3"),
        (["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7", "linux/arm/v7"),
    ],
)
def test_docker_gets_one_platform(platforms: list[str], prefer: str, chosen: str) -> None:
    store = Memory()
    images = [NamedImage(index(store, platforms), "app", (TAG,))]
    content = tar_of(store, images, prefer=Platform.parse(prefer))
    (entry,) = json.loads(member(content, "manifest.json"))
    config = doc.decode_config(member(content, entry["Config"]))
    assert str(config.platform) == chosen
    assert entry["RepoTags"] == [TAG]
    assert all(layer in opened(content).getnames() for layer in entry["Layers"])


def test_an_image_without_linux_is_in_the_layout_only() -> None:
    store = Memory()
    content = tar_of(store, [NamedImage(index(store, ["freebsd/amd64"]), "app", (TAG,))])
    assert json.loads(member(content, "manifest.json")) == []
    assert len(json.loads(member(content, "index.json"))["manifests"]) == 1


def test_a_blob_of_more_than_eight_gibibytes_has_a_header_that_others_read() -> None:
    size = (8 << 30) + 1
    raw = hybrid.header("blobs/sha256/" + "a" * 64, size)
    entry = opened(raw + bytes(1024)).next()
    assert entry is not None
    assert (entry.name, entry.size, entry.type) == ("blobs/sha256/" + "a" * 64, size, tarfile.REGTYPE)


class Lying(Memory):
    """Gives other bytes for one blob."""

    def __init__(self, lie: bytes) -> None:
        super().__init__()
        self.about: Digest | None = None
        self.lie = lie

    def open(self, digest: Digest, /) -> io.BytesIO:  # type: ignore[override]
        return io.BytesIO(self.lie) if digest == self.about else io.BytesIO(super().open(digest).read())


@pytest.mark.parametrize("lie", [b"", b"x", b"x" * 4096], ids=["empty", "short", "long"])
def test_a_blob_that_is_not_what_was_promised_stops_the_tar(lie: bytes) -> None:
    store = Lying(lie)
    found = image(store)
    planned = hybrid.plan(store, [NamedImage(found, "app", (TAG,))])
    store.about = doc.decode_manifest(store.open(found.digest).read()).layers[0].digest
    with pytest.raises(IntegrityError):
        list(hybrid.pieces(planned, store))


def test_a_missing_blob() -> None:
    store = Memory()
    found = put(
        store,
        doc.encode(doc.Manifest(config=doc.EMPTY_DESCRIPTOR, layers=())),
        doc.MANIFEST,
    )
    planned = hybrid.plan(store, [NamedImage(found, "app", ())])
    with pytest.raises(MissingBlobError):
        list(hybrid.pieces(planned, store))


def test_one_digest_with_two_sizes() -> None:
    store = Memory()
    found = image(store)
    liar = msgspec.structs.replace(found, size=found.size + 1)
    with pytest.raises(IntegrityError):
        hybrid.plan(store, [NamedImage(found, "a"), NamedImage(liar, "b")])


def test_indexes_in_indexes_have_an_end() -> None:
    store = Memory()
    nested = image(store)
    for _ in range(8):
        nested = put(store, doc.encode(doc.Index(manifests=(nested,))), doc.INDEX)
    assert hybrid.plan(store, [NamedImage(nested, "app", (TAG,))]).blobs
    nested = put(store, doc.encode(doc.Index(manifests=(nested,))), doc.INDEX)
    with pytest.raises(UnreadableError, match="nested too deep"):
        hybrid.plan(store, [NamedImage(nested, "app", (TAG,))])


@pytest.mark.parametrize(
    "path",
    ["index.json", "SHA256SUMS", "SHA256SUMS.asc", "blobs/sha256/x", "/etc/passwd", "a/../b", "../a", "a//b", "a/", "é",
     "a" * 101, ""],
)  # fmt: skip
def test_extra_files_stand_beside_what_is_there(path: str) -> None:
    store = Memory()
    with pytest.raises(UsageError, match="extra file"):
        hybrid.plan(store, [NamedImage(image(store), "app")], extra_files={path: b""})


@pytest.mark.parametrize(
    ("names", "tags"), [(("app", "app"), (TAG, "b:1")), (("a", "b"), (TAG, TAG))], ids=["name", "tag"]
)
def test_two_images_cannot_have_one_name(names: tuple[str, str], tags: tuple[str, str]) -> None:
    store = Memory()
    images = [
        NamedImage(image(store, content=name.encode()), name, (tag,)) for name, tag in zip(names, tags, strict=True)
    ]
    with pytest.raises(UsageError, match="two images have the") as raised:
        hybrid.plan(store, images)
    assert isinstance(raised.value, ImagekitError)


def test_an_image_without_any_name_has_none_for_any_reader() -> None:
    store = Memory()
    content = tar_of(store, [NamedImage(image(store), "")])
    [entry] = json.loads(member(content, "index.json"))["manifests"]
    assert "annotations" not in entry
    assert [one["RepoTags"] for one in json.loads(member(content, "manifest.json"))] == [[]]


def test_a_registry_may_be_named_by_its_ipv6_address() -> None:
    store = Memory()
    tag = "[2001:db8::1]:5000/team/app:1"
    content = tar_of(store, [NamedImage(image(store), "1", (tag,))])
    assert [one["RepoTags"] for one in json.loads(member(content, "manifest.json"))] == [[tag]]


@pytest.mark.parametrize("name", ["a b", "a\nb", "[::1", "[x]/a", "-rf", "ünï", "a" * 256, "$(id)"])
def test_names_that_no_tool_could_say(name: str) -> None:
    store = Memory()
    for named in (NamedImage(image(store), name), NamedImage(image(store), "app", (name,))):
        with pytest.raises(UsageError, match="cannot be the name of an image"):
            hybrid.plan(store, [named])


@pytest.mark.real
def test_skopeo_reads_it_as_both(tmp_path: Path) -> None:
    store = Memory()
    images = [
        NamedImage(index(store, ["linux/amd64", "linux/arm64"]), "app", (TAG,)),
        NamedImage(image(store, content=b"other"), "other", ("imagekit.local/other:latest",)),
    ]
    planned = hybrid.plan(store, images, extra_files={"imagekit/bundle.json": b"{}"})
    (tmp_path / "both.tar").write_bytes(b"".join(hybrid.pieces(planned, store)))
    for source in (
        "oci-archive:both.tar:app",
        "oci-archive:both.tar:other",
        f"docker-archive:both.tar:{TAG}",
        "docker-archive:both.tar:imagekit.local/other:latest",
    ):
        target = f"oci:{hashlib.sha256(source.encode()).hexdigest()}:copy"
        words = ["skopeo", "copy", "--quiet", "--insecure-policy", source, target]
        subprocess.run(words, cwd=tmp_path, check=True)
