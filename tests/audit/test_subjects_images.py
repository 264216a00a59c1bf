"""Images in layouts: every platform, every layer, the file that starts, and what cannot be read."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from imagekit.audit.finding import Finding, Skip
from imagekit.audit.subjects import Examined, Options, Wishes, examine
from imagekit.cancellation import Cancellation
from imagekit.content import Digest, digest_of
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.store import Layout
from imagekit.platform import Platform

PROGRAM = Path("/bin/true").resolve().read_bytes()
IN_TOTO = "application/vnd.in-toto+json"
Layer = tuple[bytes, str]
"""Its tar, and its media type."""


def examined(*words: str, jobs: int = 1) -> Examined:
    pieces = list(examine(words, Options(jobs=jobs, wishes=Wishes()), Cancellation()))
    return Examined(
        subjects=tuple(one for piece in pieces for one in piece.subjects),
        skips=tuple(one for piece in pieces for one in piece.skips),
        other=sum(piece.other for piece in pieces),
        findings=tuple(one for piece in pieces for one in piece.findings),
        errors=tuple(one for piece in pieces for one in piece.errors),
    )


def tar(*entries: tuple[str, bytes | str]) -> Layer:
    """A layer: bytes are a file's content, text is where a link points; what ends in / is a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in entries:
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mode = 0o755
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                made.addfile(entry)
            elif name.endswith("/"):
                entry.type = tarfile.DIRTYPE
                made.addfile(entry)
            else:
                entry.size = len(content)
                made.addfile(entry, io.BytesIO(content))
    return out.getvalue(), doc.LAYER_TAR


class Images:
    """A layout that is written image by image."""

    def __init__(self, path: Path) -> None:
        self.store = Layout.create(path)
        self.word = f"oci:{path}"

    def manifest(
        self,
        layers: Sequence[Layer],
        *,
        platform: str = "linux/amd64",
        entrypoint: tuple[str, ...] = ("/app",),
        config_type: str = doc.CONFIG,
        diff_ids: Sequence[Digest] | None = None,
    ) -> doc.Descriptor:
        parsed = Platform.parse(platform)
        config = doc.ImageConfig(
            architecture=parsed.architecture,
            os=parsed.os,
            variant=parsed.variant,
            config=doc.RuntimeConfig(entrypoint=entrypoint),
            rootfs=doc.RootFS(diff_ids=tuple(diff_ids or (digest_of(raw) for raw, _ in layers))),
        )
        kept = tuple(put(self.store, *self._packed(layer)) for layer in layers)
        manifest = doc.Manifest(config=put(self.store, doc.encode(config), config_type), layers=kept)
        return put(self.store, doc.encode(manifest), doc.MANIFEST, platform=doc.PlatformObject.of(parsed))

    def named(self, name: str, *manifests: doc.Descriptor) -> str:
        """An index of the manifests; the argument that means it."""
        index = put(self.store, doc.encode(doc.Index(manifests=manifests)), doc.INDEX, annotations={doc.REF_NAME: name})
        self.store.set_index(doc.Index(manifests=(*self.store.index().manifests, index)))
        return f"{self.word}:{name}"

    def lose(self, digest: Digest) -> None:
        self.store.blob_path(digest).unlink()

    @staticmethod
    def _packed(layer: Layer) -> Layer:
        raw, media_type = layer
        return (gzip.compress(raw), media_type) if media_type.endswith("gzip") else layer


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "oci")


APP = tar(("app", PROGRAM))


def test_every_platform_and_every_layer(images: Images) -> None:
    lower = tar(("usr/", b""), ("usr/lib/x.so", PROGRAM), ("etc/passwd", b"root"))
    amd64 = images.manifest([lower, APP])
    arm = images.manifest([(APP[0], doc.LAYER_GZIP)], platform="linux/arm/v7", entrypoint=())
    word = images.named("app", amd64, arm)
    found = examined(word)
    assert [one.path for one in found.subjects] == [
        f"{word}:linux/amd64:/usr/lib/x.so",
        f"{word}:linux/amd64:/app",
        f"{word}:linux/arm/v7:/app",
    ]
    source = found.subjects[1].source
    assert (source.kind, source.ref, source.path, source.platform) == ("image", word, "/app", "linux/amd64")
    assert (source.manifest, source.layer) == (amd64.digest, digest_of(APP[0]))
    assert found.subjects[1].digest == digest_of(PROGRAM)
    assert (found.other, found.skips, found.findings, found.errors) == (1, (), (), ())


def test_all_images_of_a_layout(images: Images) -> None:
    one, other = images.manifest([APP]), images.manifest([APP], entrypoint=())
    images.named("one", one)
    images.named("two", other)
    paths = [subject.path for subject in examined(images.word).subjects]
    assert paths == [f"{images.word}:{name}:linux/amd64:/app" for name in ("one", "two")]


def test_images_without_a_name_are_called_by_their_digest_if_they_are_several(images: Images) -> None:
    one, other = images.manifest([APP]), images.manifest([APP], entrypoint=())
    images.store.set_index(doc.Index(manifests=(one,)))
    assert [subject.path for subject in examined(images.word).subjects] == [f"{images.word}:linux/amd64:/app"]
    images.store.set_index(doc.Index(manifests=(one, other)))
    assert [subject.path for subject in examined(images.word).subjects] == [
        f"{images.word}@{digest}:linux/amd64:/app" for digest in (one.digest, other.digest)
    ]


# --- the file that the image starts ----------------------------------------------------------------------------------

SCRIPT = tar(("app", b"#!/bin/sh\n"))
NOT_A_PROGRAM, NO_FILE = "is not an ELF, PE or Mach-O program", "is no file in its layers"


@pytest.mark.parametrize(
    ("layers", "entrypoint", "said"),
    [
        ([APP], "/app", ""),
        ([tar(("bin/app", PROGRAM), ("app", "bin/app"))], "/app", ""),
        ([tar(("bin", "usr/bin"), ("usr/bin/app", PROGRAM))], "app", ""),
        ([APP], "/other", NO_FILE),
        ([APP, tar((".wh.app", b""))], "/app", NO_FILE),
        ([SCRIPT], "/app", NOT_A_PROGRAM),
        ([APP, SCRIPT], "/app", NOT_A_PROGRAM),
        ([SCRIPT, APP], "/app", ""),
        ([tar(("app", PROGRAM), ("app", b"#!/bin/sh\n"))], "/app", NOT_A_PROGRAM),
        ([tar(("app", b"#!/bin/sh\n"), ("app", PROGRAM))], "/app", ""),
        ([tar(("app", b"MZ" + bytes(100)))], "/app", NOT_A_PROGRAM),
    ],
    ids=["file", "link", "path", "missing", "deleted", "script", "covered", "covers", "twice", "again", "dos"],
)
def test_the_entrypoint(images: Images, layers: list[Layer], entrypoint: str, said: str) -> None:
    word = images.named("app", images.manifest(layers, entrypoint=(entrypoint,)))
    skips = [skip.reason for skip in examined(word).skips]
    assert [said in reason for reason in skips] == ([True] if said else [])


def test_an_entrypoint_for_another_platform(images: Images) -> None:
    found = examined(images.named("app", images.manifest([APP], platform="linux/riscv64")))
    assert [finding.rule for finding in found.findings] == ["mismatch"]
    assert "the image says linux/riscv64" in found.findings[0].message


@pytest.mark.parametrize("entrypoint", ["C:\\App\\Tool.EXE", "tool", "app/tool.exe", "/app/tool"])
def test_an_entrypoint_on_windows(images: Images, entrypoint: str) -> None:
    layer = tar(("Files/App/tool.exe", PROGRAM), ("Files/Windows/System32/tool.exe", PROGRAM))
    found = examined(images.named("app", images.manifest([layer], platform="windows/amd64", entrypoint=(entrypoint,))))
    assert found.skips == ()
    assert [finding.rule for finding in found.findings] == ["mismatch"]  # it is an ELF program


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_a_platform_that_is_not_there_leaves_the_others(images: Images) -> None:
    there, gone = images.manifest([APP]), images.manifest([APP], platform="linux/arm64")
    word = images.named("app", gone, there)
    images.lose(gone.digest)
    found = examined(word)
    assert [one.path for one in found.subjects] == [f"{word}:linux/amd64:/app"]
    assert [skip.path for skip in found.skips] == [f"{word}:linux/arm64"]
    assert [error.exit_code for error in found.errors] == [4]


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flipped(raw: bytes) -> bytes:
    return raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:]


@pytest.mark.parametrize("damage", [cut, flipped])
def test_a_damaged_layer_is_exit_5(images: Images, damage: Callable[[bytes], bytes]) -> None:
    good, bad = images.manifest([APP]), images.manifest([tar(("app", PROGRAM + b"x"))], platform="linux/arm64")
    word = images.named("app", bad, good)
    (layer,) = doc.decode_manifest(images.store.open(bad.digest).read()).layers
    path = images.store.blob_path(layer.digest)
    path.write_bytes(damage(path.read_bytes()))
    found = examined(word)
    assert [error.exit_code for error in found.errors] == [5]
    assert [skip.path for skip in found.skips] == [f"{word}:linux/arm64"]
    assert [one.path for one in found.subjects] == [f"{word}:linux/amd64:/app"]


def test_layers_that_are_not_what_the_configuration_promises(images: Images) -> None:
    other = images.manifest([APP], diff_ids=[digest_of(b"other")])
    more = images.manifest([APP], diff_ids=[digest_of(APP[0])] * 2)
    found = examined(images.named("other", other), images.named("more", more))
    assert [error.exit_code for error in found.errors] == [5, 5]
    assert found.subjects == ()


def test_layers_that_nobody_unpacks_are_skips(images: Images) -> None:
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    manifest = images.manifest([(b"base", foreign), (b"squash", "application/vnd.example.layer.squashfs"), APP])
    word = images.named("app", manifest)
    layers = doc.decode_manifest(images.store.open(manifest.digest).read()).layers
    if images.store.has(layers[0].digest):
        images.lose(layers[0].digest)
    found = examined(word)
    assert [skip.reason for skip in found.skips] == [
        "a layer whose bytes are kept elsewhere, and are not fetched from there",
        "a layer of the media type 'application/vnd.example.layer.squashfs'",
    ]
    assert [one.path for one in found.subjects] == [f"{word}:linux/amd64:/app"]


def test_statements_beside_an_image_are_no_images(images: Images) -> None:
    beside = images.manifest([(b"{}", IN_TOTO)], platform="unknown/unknown", entrypoint=())
    found = examined(images.named("app", images.manifest([APP]), beside))
    assert (len(found.subjects), found.skips, found.errors) == (1, (), ())


def test_what_no_engine_could_start_is_no_image(images: Images) -> None:
    artifact = images.manifest([(b"{}", "application/json")], config_type="application/vnd.example.config+json")
    found = examined(images.named("chart", artifact))
    assert [error.exit_code for error in found.errors] == [4]
    assert "no image that an engine could start" in found.errors[0].message


def test_layers_read_in_processes_give_the_same(images: Images) -> None:
    """Two platforms share a layer; a third is damaged; all are too large to be read one after the other."""
    shared, own = tar(("bin/a", PROGRAM + os.urandom(9 << 20))), tar(("app", PROGRAM + os.urandom(9 << 20)))
    bad = images.manifest([tar(("app", os.urandom(2 << 20)))], platform="linux/arm64")
    word = images.named("app", images.manifest([shared, own]), bad, images.manifest([shared], platform="linux/386"))
    (layer,) = doc.decode_manifest(images.store.open(bad.digest).read()).layers
    path = images.store.blob_path(layer.digest)
    path.write_bytes(flipped(path.read_bytes()))
    one, many = examined(word), examined(word, jobs=2)
    assert [subject.path for subject in one.subjects] == [
        f"{word}:linux/amd64:/bin/a",
        f"{word}:linux/amd64:/app",
        f"{word}:linux/386:/bin/a",
    ]
    assert (many.subjects, many.skips, many.other, many.findings) == (
        one.subjects,
        one.skips,
        one.other,
        one.findings,
    )
    assert [(error.exit_code, error.message) for error in many.errors] == [
        (error.exit_code, error.message) for error in one.errors
    ]
    assert [error.exit_code for error in one.errors] == [5]


def test_indexes_in_indexes_end(images: Images) -> None:
    inner = images.manifest([APP])
    for _ in range(8):
        inner = put(images.store, doc.encode(doc.Index(manifests=(inner,))), doc.INDEX)
    found = examined(images.named("deep", inner))
    assert [error.exit_code for error in found.errors] == [4]
    assert "levels" in found.errors[0].message


def test_a_bomb_stops_at_its_limit(images: Images) -> None:
    zeros = bytes(64 << 20)
    entry = tarfile.TarInfo("app")
    entry.size = 1 << 30
    raw = entry.tobuf() + PROGRAM
    manifest = images.manifest([(raw, doc.LAYER_GZIP)])
    packed = gzip.compress(raw) + gzip.compress(zeros, 9) * 4
    described = put(images.store, packed, doc.LAYER_GZIP)
    old = doc.decode_manifest(images.store.open(manifest.digest).read())
    bomb = put(images.store, doc.encode(doc.Manifest(config=old.config, layers=(described,))), doc.MANIFEST)
    found = examined(images.named("bomb", bomb))
    assert [error.exit_code for error in found.errors] == [5]
    assert "becomes more than" in found.errors[0].message


def test_no_path_leaves_the_layer_and_no_link_is_followed(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = tmp_path / "tmp"
    unpacked.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(unpacked))
    victim = tmp_path / "victim"
    victim.write_bytes(b"safe")
    layer = tar(
        ("../../../../../../.." + str(victim), PROGRAM),
        ("link", str(tmp_path)),
        ("link/victim", PROGRAM),
        ("/abs/app", PROGRAM),
        ("app", "/link/victim"),
    )
    word = images.named("app", images.manifest([layer]))
    found = examined(word)
    assert [one.path.removeprefix(f"{word}:linux/amd64:") for one in found.subjects] == [
        str(victim),
        "/link/victim",
        "/abs/app",
    ]
    assert victim.read_bytes() == b"safe"
    assert list(unpacked.iterdir()) == []


def test_a_name_of_an_image_is_shown_as_it_can_be_written(images: Images) -> None:
    layer = tar(("bad\x1b[31m\nname\udcff", PROGRAM), ("app", PROGRAM))
    word = images.named("app", images.manifest([layer]))
    assert examined(word).subjects[0].path == f"{word}:linux/amd64:/bad\x1b[31m\nname\\xff"


def test_skips_and_findings_are_told_apart(images: Images) -> None:
    found = examined(images.named("app", images.manifest([SCRIPT], platform="linux/riscv64")))
    assert all(isinstance(skip, Skip) for skip in found.skips)
    assert all(isinstance(finding, Finding) for finding in found.findings)
    assert (len(found.skips), len(found.findings)) == (1, 0)


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "bundle", "docker-archive"])
def test_arguments_that_are_not_there(tmp_path: Path, kind: str) -> None:
    found = examined(f"{kind}:{tmp_path}/nothing")
    assert [error.exit_code for error in found.errors] == [4]
    assert [skip.path for skip in found.skips] == [f"{kind}:{tmp_path}/nothing"]
