"""What two outputs do not have in common is said in words of what it is: an entry, a key, a line, an image."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import Layout
from imagekit.pipeline.differing import changed_sources, explained, telling


@pytest.fixture
def said(tmp_path: Path):
    """What is said of a file with the first content in one output and the second in the other."""

    def explain(path: str, *contents: bytes | None) -> list[str]:
        for side, content in zip(("one", "other"), contents, strict=True):
            place = tmp_path / side / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                place.write_bytes(content)
        return list(explained(tmp_path / "one", tmp_path / "other", path, Cancellation()))

    return explain


def tar(*entries: tuple[str, dict, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, fields, content in entries:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o444
            for key, value in fields.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def compressed(*entries: tuple[str, dict, bytes]) -> bytes:
    return gzip.compress(tar(*entries), mtime=0)


def zipped(*entries: tuple[str, dict, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, fields, content in entries:
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.external_attr = (0o100000 | fields.get("mode", 0o444)) << 16
            archive.writestr(member, content)
    return made.getvalue()


KINDS = {"rootfs/app.tar": tar, "archives/app.tar.gz": compressed, "archives/app.zip": zipped}
FILE = ("srv/f", {}, b"one")


@pytest.mark.parametrize("path", KINDS)
def test_a_changed_mode_is_that_of_its_entry(said, path):
    pack = KINDS[path]
    lines = said(path, pack(("a", {}, b""), FILE), pack(("a", {}, b""), ("srv/f", {"mode": 0o555}, b"one")))
    assert "srv/f: mode 0444 then 0555" in lines
    assert "\0" not in "".join(lines)


@pytest.mark.parametrize("path", KINDS)
def test_a_changed_content_is_that_of_its_entry(said, path):
    pack = KINDS[path]
    lines = said(path, pack(FILE, ("z", {}, b"")), pack(("srv/f", {}, b"two"), ("z", {}, b"")))
    assert "srv/f: content differs" in lines
    assert not [each for each in lines if each.startswith("z:")]


@pytest.mark.parametrize("path", KINDS)
def test_an_entry_that_one_lacks_is_named(said, path):
    pack = KINDS[path]
    assert "srv/f: only in the first" in said(path, pack(FILE), pack())
    assert "srv/f: only in the second" in said(path, pack(), pack(FILE))


FIELDS = {
    "owner": ({"uid": 7}, "srv/f: uid 0 then 7"),
    "name": ({"uname": "me"}, "srv/f: uname nothing then me"),
    "time": ({"mtime": 60}, "srv/f: mtime 1970-01-01T00:00:00Z (0) then 1970-01-01T00:01:00Z (60)"),
}


@pytest.mark.parametrize(("fields", "line"), FIELDS.values(), ids=FIELDS)
def test_a_field_of_a_tar_is_named(said, fields, line):
    assert line in said("rootfs/app.tar", tar(FILE), tar(("srv/f", fields, b"one")))


def test_the_same_entries_in_another_order_are_said_to_be(said):
    other = ("b", {}, b"")
    lines = said("rootfs/app.tar", tar(FILE, other), tar(other, FILE))
    assert lines == ["the same entries in another order, from /srv/f on"]


def test_the_same_tar_compressed_otherwise_is_said_to_be(said):
    [line] = said("archives/a.tar.gz", gzip.compress(tar(FILE), mtime=0), gzip.compress(tar(FILE), mtime=60))
    assert line.startswith("the same content, compressed otherwise")


def test_a_hostile_name_is_shown_and_not_obeyed(said):
    lines = said("rootfs/app.tar", tar(("\x1b[31m\n::error::", {}, b"")), tar())
    assert not [each for each in lines if "\x1b" in each or "\n" in each or each.startswith("::")]


def test_a_document_is_compared_key_by_key(said):
    one, other = b'{"a": [1, {"b": "x"}], "c": 1}', b'{"a": [1, {"b": "y"}], "d": 1}'
    lines = said("sbom/app.cdx.json", one, other)
    assert lines == ['a[1].b: "x" then "y"', "c: 1 then nothing", "d: nothing then 1"]


TEXTS = {
    "a line": (b"a\nb\nc\n", b"a\nB\nc\n", ["line 2: b", "     then: B"]),
    "one more": (b"a\n", b"a\nb\n", ["line 2: (the end)", "     then: b"]),
    "line ends": (b"a\nb\n", b"a\r\nb\n", ["only its line ends differ"]),
    "bytes": (b"\0\xff\n", b"\0\xfe\n", ["line 1: \\x00\\xff", "     then: \\x00\\xfe"]),
}


@pytest.mark.parametrize(("one", "other", "lines"), TEXTS.values(), ids=TEXTS)
def test_a_text_is_compared_line_by_line(said, one, other, lines):
    assert said("Dockerfile.app", one, other) == lines


def test_a_file_that_one_lacks_is_said_to_lack(said):
    assert said("sbom/x.json", b"{}", None) == ["only the first build has it"]
    assert said("sbom/y.json", None, b"{}") == ["only the second build has it"]


def layout(place: Path, name: str, content: bytes, label: str) -> None:
    store = Layout.create(place, durable=False)
    layer = write_layer(store, [Entry("srv/f", mode=0o444, content=content)], mtime=0)
    config = doc.ImageConfig(
        architecture="amd64",
        os="linux",
        config=doc.RuntimeConfig(labels={"stage": label}),
        rootfs=doc.RootFS(diff_ids=(layer.diff_id,)),
    )
    kept = put(store, doc.encode(config), doc.CONFIG)
    manifest = doc.encode(doc.Manifest(config=kept, layers=(layer.descriptor,)))
    store.set_index(doc.Index(manifests=(put(store, manifest, doc.MANIFEST, annotations={doc.REF_NAME: name}),)))


def images(place: Path, path: str) -> list[str]:
    return list(explained(place / "one", place / "other", path, Cancellation()))


def test_a_file_of_an_image_layout_is_explained_by_its_image(tmp_path):
    layout(tmp_path / "one/oci", "app", b"x", "1")
    layout(tmp_path / "other/oci", "app", b"y", "2")
    blob = next((tmp_path / "one/oci/blobs/sha256").iterdir())
    lines = images(tmp_path, f"oci/blobs/sha256/{blob.name}")
    assert any("label stage: =1 -> =2" in each for each in lines)
    assert any("/srv/f" in each for each in lines)


def test_an_image_of_another_name_is_named(tmp_path):
    layout(tmp_path / "one/oci", "app", b"x", "1")
    layout(tmp_path / "other/oci", "debug", b"x", "1")
    assert images(tmp_path, "oci/index.json") == ["only the first build has the image app"]


def test_what_refers_to_equal_images_is_found_in_the_index(tmp_path):
    for side in ("one", "other"):
        layout(tmp_path / side / "oci", "app", b"x", "1")
        store = Layout(tmp_path / side / "oci", durable=False)
        beside = put(store, side.encode(), "text/plain")
        store.set_index(doc.Index(manifests=(*store.index().manifests, beside)))
    lines = images(tmp_path, "oci/index.json")
    assert lines[0].startswith('manifests[1].digest: "sha256:')


def test_programs_come_first():
    paths = ["Dockerfile.app", "sbom/a", "oci/index.json", "rootfs/a.tar", "archives/a.zip", "bin/b/b", "bin/a/a"]
    order = ["bin/a/a", "bin/b/b", "rootfs/a.tar", "oci/index.json", "archives/a.zip", "sbom/a", "Dockerfile.app"]
    assert sorted(paths, key=telling) == order


def test_a_source_that_was_written_to_is_named(tmp_path):
    for side in ("one", "other"):
        for path in ("same", "text", "mode", ".git/index", "dist/made"):
            (tmp_path / side / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / side / path).write_text("x")
    for path in ("text", ".git/index", "dist/made", "new"):
        (tmp_path / "other" / path).write_text("y")
    (tmp_path / "one/mode").chmod(0o644)
    (tmp_path / "other/mode").chmod(0o755)
    (tmp_path / "other/link").symlink_to("nowhere")
    found = list(changed_sources(tmp_path / "one", tmp_path / "other", {tmp_path / "other/dist"}))
    assert found == [
        "in the source too: link: only in the second build's copy",
        "in the source too: mode: mode 0644 then 0755",
        "in the source too: new: only in the second build's copy",
        "in the source too: text: content differs",
    ]
