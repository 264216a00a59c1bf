"""Docker archives as docker and podman write them, and as nobody should."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from imagekit.content import digest_of, hash_stream
from imagekit.errors import FormatError, ImagekitError, IntegrityError, UnreadableError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, read_verified
from imagekit.oci.saved import Saved
from imagekit.oci.sealed import Opened

LAYER = bytes(10240)
CONFIG = doc.encode(doc.ImageConfig(architecture="amd64", os="linux", rootfs=doc.RootFS(diff_ids=(digest_of(LAYER),))))
LISTING: list[dict[str, Any]] = [{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l/layer.tar"]}]
FILES: dict[str, bytes | str] = {"c.json": CONFIG, "l/layer.tar": LAYER, "manifest.json": json.dumps(LISTING).encode()}


def archive(path: Path, files: dict[str, bytes | str]) -> Path:
    """A tar; text is where a link points."""
    with tarfile.open(path, "w") as out:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                out.addfile(entry)
            else:
                entry.size = len(content)
                out.addfile(entry, io.BytesIO(content))
    return path


def test_an_image_has_its_name_its_configuration_and_its_layers(tmp_path: Path) -> None:
    with Opened(archive(tmp_path / "a.tar", FILES)) as source:
        saved = Saved(source)
        (image,) = saved.images
        assert (image.ref_name, image.docker_tags) == ("app:1", ("app:1",))
        manifest = doc.decode_manifest(read_verified(saved, image.descriptor))
        assert read_verified(saved, manifest.config) == CONFIG
        assert [layer.media_type for layer in manifest.layers] == [doc.LAYER_TAR]
        with saved.open(manifest.layers[0].digest) as stream:
            assert hash_stream(stream) == (digest_of(LAYER), len(LAYER))
        assert saved.has(manifest.layers[0].digest)
        assert not saved.has(digest_of(b"other"))
        with pytest.raises(MissingBlobError):
            saved.open(digest_of(b"other"))


def test_a_compressed_layer_is_named_by_its_own_digest(tmp_path: Path) -> None:
    packed = gzip.compress(LAYER)
    with Opened(archive(tmp_path / "a.tar", {**FILES, "l/layer.tar": packed})) as source:
        saved = Saved(source)
        (layer,) = doc.decode_manifest(read_verified(saved, saved.images[0].descriptor)).layers
    assert (layer.media_type, layer.digest) == (doc.LAYER_GZIP, digest_of(packed))


def test_a_compressed_layer_that_many_images_have_is_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[object] = []
    monkeypatch.setattr(
        "imagekit.oci.saved.hash_stream", lambda stream: (hashed.append(stream), hash_stream(stream))[1]
    )
    entries = [{**LISTING[0], "RepoTags": [f"app:{number}"]} for number in range(5)]
    files = {**FILES, "l/layer.tar": gzip.compress(LAYER), "manifest.json": json.dumps(entries).encode()}
    with Opened(archive(tmp_path / "a.tar", files)) as source:
        assert len(Saved(source).images) == 5
    assert len(hashed) == 1


def test_a_layer_may_be_a_link_to_one_in_the_archive(tmp_path: Path) -> None:
    """Docker before 25 writes a layer that two images share once."""
    files = {**FILES, "other/layer.tar": LAYER, "l/layer.tar": "../other/layer.tar"}
    with Opened(archive(tmp_path / "a.tar", files)) as source:
        saved = Saved(source)
        (layer,) = doc.decode_manifest(read_verified(saved, saved.images[0].descriptor)).layers
        with saved.open(layer.digest) as stream:
            assert stream.read() == LAYER


def test_an_image_without_a_tag_is_called_by_its_id(tmp_path: Path) -> None:
    files = {**FILES, "manifest.json": json.dumps([{**LISTING[0], "RepoTags": None}]).encode()}
    with Opened(archive(tmp_path / "a.tar", files)) as source:
        assert Saved(source).images[0].ref_name == digest_of(CONFIG)


def listing(**changes: object) -> bytes:
    return json.dumps([{**LISTING[0], **changes}]).encode()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"manifest.json": b"{"}, UnreadableError, "manifest.json"),
        ({"manifest.json": b"[]"}, UnreadableError, "lists 0 images"),
        ({"manifest.json": b"[" * 5000}, UnreadableError, "manifest.json"),
        ({"manifest.json": listing(Config="../../etc/passwd")}, UnreadableError, "holds no '../../etc/passwd'"),
        ({"manifest.json": listing(Layers=["/etc/passwd"])}, UnreadableError, "holds no '/etc/passwd'"),
        ({"manifest.json": listing(Layers=[])}, IntegrityError, "counts the layers in another way"),
        ({"l/layer.tar": "/etc/passwd"}, FormatError, "leaves the archive"),
        ({"l/layer.tar": "../../etc/passwd"}, FormatError, "leaves the archive"),
        ({"l/layer.tar": "missing"}, UnreadableError, "holds no"),
        ({"l/layer.tar": "layer.tar"}, UnreadableError, "holds no"),
        ({"../evil": b"x"}, FormatError, "leaves the archive"),
        ({"/etc/evil": b"x"}, FormatError, "leaves the archive"),
        ({"./c.json": b"{}"}, FormatError, "stands in it twice"),
        ({"c.json": b" " * (doc.DOCUMENT_LIMIT + 1)}, FormatError, "bytes"),
        ({"c.json": b"{}"}, UnreadableError, "image configuration"),
    ],
)
def test_archives_that_nobody_should_make(
    tmp_path: Path, changes: dict[str, bytes | str], error: type[ImagekitError], said: str
) -> None:
    with Opened(archive(tmp_path / "a.tar", {**FILES, **changes})) as source, pytest.raises(error, match=said):
        Saved(source)


def test_other_tars_are_told_from_docker_archives(tmp_path: Path) -> None:
    with (
        Opened(archive(tmp_path / "a.tar", {"oci-layout": b"{}"})) as source,
        pytest.raises(UnreadableError, match=r"holds no 'manifest\.json'") as caught,
    ):
        Saved(source)
    assert "oci-archive:" in caught.value.hint
