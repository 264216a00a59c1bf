"""Copies between stores: everything, once, children first."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import IntegrityError, StoppedError, UnreadableError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, put, read_verified
from imagekit.oci.copy import copy, missing
from imagekit.oci.store import Layout, Memory
from imagekit.oci.trees import runnables, walk
from imagekit.workers import Workers

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


class Watched(Memory):
    """A memory that remembers the order in which it got things."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []

    def add(self, stream, expected=None):
        self.got.append(expected.digest)
        return super().add(stream, expected)


@pytest.fixture
def image(build_image) -> tuple[Memory, doc.Descriptor]:
    store = Memory()
    return store, build_image(store, *PLATFORMS)


def test_everything_arrives_once_and_children_first(image):
    source, root = image
    destination = Watched()
    moved = copy(source, destination, root)
    assert sorted(destination.got) == sorted(each.digest for each in moved)
    assert destination.got[-1] == root.digest
    tree = walk(source, (root,))
    last = len(tree.blobs)
    assert set(destination.got[:last]) == set(tree.blobs)
    assert destination.got[last:] == list(tree.documents)
    assert all(read_verified(destination, each) == read_verified(source, each) for each in moved)


def test_the_second_time_nothing_moves(image):
    source, root = image
    destination = Memory()
    assert len(copy(source, destination, root)) == 10
    assert copy(source, destination, root) == frozenset()


def test_many_at_a_time_is_the_same(image):
    source, root = image
    workers = Workers(4, Cancellation())
    assert copy(source, Memory(), root, workers=workers) == copy(source, Memory(), root)


def test_between_layouts_blobs_are_the_same_bytes(tmp_path: Path, build_image):
    source, destination = Layout.create(tmp_path / "a"), Layout.create(tmp_path / "b")
    root = build_image(source, *PLATFORMS)
    copy(source, destination, root)
    names = [sorted(path.name for path in (each.path / "blobs/sha256").iterdir()) for each in (source, destination)]
    assert names[0] == names[1]
    assert not missing_digests(destination, root)


def missing_digests(store, root) -> list[str]:
    return [each.digest for each in missing(store, root)]


def test_a_blob_that_was_changed_stops_the_copy_before_its_manifest(tmp_path: Path, build_image):
    source, destination = Layout.create(tmp_path / "a"), Layout.create(tmp_path / "b")
    root = build_image(source, "linux/amd64")
    layer = next(blob for blob in walk(source, (root,)).blobs.values() if blob.media_type == doc.LAYER_GZIP)
    source.blob_path(layer.digest).write_bytes(b"changed")
    with pytest.raises(IntegrityError):
        copy(source, destination, root)
    assert not destination.has(root.digest)
    assert not destination.has(layer.digest)


def test_a_manifest_that_was_changed_stops_the_copy_before_it_begins(tmp_path: Path, build_image):
    source, destination = Layout.create(tmp_path / "a"), Watched()
    root = build_image(source, "linux/amd64")
    path = source.blob_path(root.digest)
    path.write_bytes(path.read_bytes().replace(b"amd64", b"arm64"))
    with pytest.raises(IntegrityError):
        copy(source, destination, root)
    assert destination.got == []


def test_what_the_source_lacks_is_named(image):
    source, root = image
    layer = list(walk(source, (root,)).blobs.values())[1]
    partial = Memory()
    for node in walk(source, (root,)).documents.values():
        partial.add(io.BytesIO(node.raw), node.descriptor)
    assert layer.digest in missing_digests(partial, root)
    with pytest.raises(MissingBlobError, match="sha256:"):
        copy(partial, Memory(), root)


def test_a_foreign_layer_is_passed_over_unless_it_is_there():
    source, destination = Memory(), Memory()
    config = put(source, b"{}", doc.CONFIG)
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    there = put(source, b"there", kind, urls=("http://192.0.2.1/there",))
    elsewhere = put(Memory(), b"elsewhere", kind, urls=("http://192.0.2.1/elsewhere",))
    root = put(source, doc.encode(doc.Manifest(config=config, layers=(there, elsewhere))), doc.MANIFEST)
    copy(source, destination, root)
    assert destination.has(there.digest)
    assert not destination.has(elsewhere.digest)


def test_nesting_has_an_end():
    store = Memory()
    inner = put(store, doc.encode(doc.Index(manifests=())), doc.INDEX)
    for _ in range(20):
        inner = put(store, doc.encode(doc.Index(manifests=(inner,))), doc.INDEX)
    with pytest.raises(UnreadableError, match="nested too deep"):
        walk(store, (inner,))


def test_documents_together_have_a_limit():
    store = Memory()
    config = put(store, b"{}", doc.CONFIG)
    padded = [
        put(
            store,
            doc.encode(doc.Manifest(config=config, layers=(), annotations={"n": f"{number}" + "x" * (3 << 20)})),
            doc.MANIFEST,
        )
        for number in range(12)
    ]
    root = put(store, doc.encode(doc.Index(manifests=tuple(padded))), doc.INDEX)
    with pytest.raises(UnreadableError, match="too many manifests"):
        walk(store, (root,))


def test_a_thrown_switch_stops_between_blobs(image):
    source, root = image
    cancellation = Cancellation()
    cancellation.stop(StoppedError("interrupted", exit_code=130))
    destination = Watched()
    with pytest.raises(StoppedError):
        copy(source, destination, root, workers=Workers(2, cancellation))
    assert destination.got == []


def test_indexes_that_name_each_other_again_and_again_are_gone_through_once(build_image):
    store = Memory()
    image = build_image(store, "linux/amd64")
    inner = image
    for _ in range(6):
        inner = put(store, doc.encode(doc.Index(manifests=(inner,) * 1000)), doc.INDEX)
    assert [str(one.config.platform) for one in runnables(store, inner)] == ["linux/amd64"]


def test_one_digest_of_two_sizes_is_no_image(image):
    source, root = image
    entry = doc.decode_index(read_verified(source, root)).manifests[0]
    lie = msgspec.structs.replace(entry, size=entry.size + 1)
    liar = put(source, doc.encode(doc.Index(manifests=(entry, lie))), doc.INDEX)
    with pytest.raises(IntegrityError, match="is promised with"):
        walk(source, (liar,))


def test_a_layout_lacks_a_blob_or_promises_another_size_of_it(tmp_path: Path) -> None:
    """Between layouts, where files are copied, as anywhere else."""
    source, to = Layout.create(tmp_path / "source"), Layout.create(tmp_path / "to")
    layer = put(source, bytes(1024), doc.LAYER_TAR)
    config = put(source, b"{}", doc.CONFIG)
    longer = msgspec.structs.replace(layer, size=layer.size + 1)
    wrong = put(source, doc.encode(doc.Manifest(config=config, layers=(longer,))), doc.MANIFEST)
    with pytest.raises(IntegrityError, match="ends after 1024 bytes, 1025 were promised"):
        copy(source, to, wrong)
    image = put(source, doc.encode(doc.Manifest(config=config, layers=(layer,))), doc.MANIFEST)
    source.blob_path(layer.digest).unlink()
    with pytest.raises(MissingBlobError, match=f"blob {layer.digest} is not in oci:"):
        copy(source, to, image)
