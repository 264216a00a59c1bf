"""One contract, every store; and what a layout adds to it."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import Digest, digest_of
from imagekit.errors import IntegrityError, UnreadableError, UsageError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import BlobStore, MissingBlobError, VerifyingReader, open_verified, put, read_verified
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected
from imagekit.oci.store import Layout, Memory

CONTENT = b"some bytes" * 300_000
PROMISED = doc.Descriptor("text/plain", digest_of(CONTENT), len(CONTENT))
EMPTY = doc.Descriptor("text/plain", digest_of(b""), 0)


def make_memory(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    yield Memory()


def make_layout(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    yield Layout.create(request.getfixturevalue("tmp_path") / "layout")


def make_hasty_layout(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    yield Layout.create(request.getfixturevalue("tmp_path") / "layout", durable=False)


def make_bare_layout(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    """As other tools leave an empty one: no folder for blobs."""
    layout = Layout.create(request.getfixturevalue("tmp_path") / "layout")
    for folder in ("blobs/sha256", "blobs"):
        (layout.path / folder).rmdir()
    yield layout


def make_little_registry(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    reference = Reference.parse(f"{request.getfixturevalue('little').host}/team/store")
    with connected(reference, actions="pull,push", cancellation=Cancellation()) as repository:
        yield repository


def make_registry(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    """One of its own for each test: go-containerregistry's shares blobs among repositories."""
    reference = Reference.parse(f"{request.getfixturevalue('fresh_registry')}/team/store")
    with connected(reference, actions="pull,push", cancellation=Cancellation()) as repository:
        yield repository


STORES = {
    "memory": make_memory,
    "layout": make_layout,
    "hasty layout": make_hasty_layout,
    "bare layout": make_bare_layout,
    "little registry": make_little_registry,
}


@pytest.fixture(
    params=[*STORES.values(), pytest.param(make_registry, marks=pytest.mark.real)], ids=[*STORES, "registry"]
)
def store(request: pytest.FixtureRequest) -> Iterator[BlobStore]:
    yield from request.param(request)


class Pieces(io.RawIOBase):
    """A stream that gives little at a time, cannot go back, and counts what was taken."""

    def __init__(self, content: bytes) -> None:
        self.rest, self.taken = content, 0

    def read(self, size: int | None = -1, /) -> bytes:
        count = min(70_001, len(self.rest) if size is None or size < 0 else size)
        piece, self.rest = self.rest[:count], self.rest[count:]
        self.taken += len(piece)
        return piece


@pytest.mark.parametrize("content", [CONTENT, b"", b"x"], ids=["large", "empty", "one byte"])
@pytest.mark.parametrize("expected", [True, False], ids=["expected", "unknown"])
def test_what_was_added_is_there(store, content, expected):
    promised = doc.Descriptor("text/plain", digest_of(content), len(content))
    assert not store.has(promised.digest)
    assert store.add(Pieces(content), promised if expected else None) == (promised.digest, promised.size)
    assert store.has(promised.digest)
    assert read_verified(store, promised) == content
    with store.open(promised.digest) as stream:
        assert b"".join(iter(lambda: stream.read(1000), b"")) == content


def test_the_second_time_changes_nothing(store):
    for _ in range(2):
        assert store.add(io.BytesIO(CONTENT), PROMISED) == (PROMISED.digest, PROMISED.size)
    assert store.add(io.BytesIO(CONTENT)) == (PROMISED.digest, PROMISED.size)
    assert read_verified(store, PROMISED) == CONTENT


LIES = {
    "other bytes": bytes(len(CONTENT)),
    "one byte less": CONTENT[:-1],
    "one byte more": CONTENT + b"x",
    "nothing": b"",
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
def test_bytes_that_are_not_what_was_promised_are_not_kept(store, content):
    with pytest.raises(IntegrityError, match=PROMISED.digest):
        store.add(io.BytesIO(content), PROMISED)
    assert not store.has(PROMISED.digest)
    assert not store.has(digest_of(content))


def test_at_most_one_byte_too_many_is_taken(store):
    stream = Pieces(CONTENT * 3)
    with pytest.raises(IntegrityError):
        store.add(stream, PROMISED)
    assert stream.taken <= PROMISED.size + 1


def test_a_stream_that_breaks_leaves_nothing(store):
    class Breaking(Pieces):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.taken > 1_000_000:
                raise IntegrityError("broke")
            return super().read(size)

    for expected in (PROMISED, None):
        with pytest.raises(IntegrityError, match="broke"):
            store.add(Breaking(CONTENT), expected)
    assert not store.has(PROMISED.digest)


def test_what_is_not_there_is_missing(store):
    assert not store.has(EMPTY.digest)
    with pytest.raises(MissingBlobError, match=str(store)):
        store.open(EMPTY.digest)


def test_put_describes_what_it_kept(store):
    kept = put(store, b"{}", "application/json", annotations={"a": "b"})
    assert kept == doc.Descriptor("application/json", digest_of(b"{}"), 2, annotations={"a": "b"})
    assert read_verified(store, kept) == b"{}"


# Verification.


def test_a_promise_beyond_the_limit_is_not_read(store):
    with pytest.raises(UnreadableError, match="not read here"):
        read_verified(store, doc.Descriptor("x", PROMISED.digest, 11), limit=10)


def test_the_last_byte_is_handed_out_only_after_the_check():
    reader = VerifyingReader(io.BytesIO(b"abX"), doc.Descriptor("x", digest_of(b"abc"), 3))
    assert reader.read(2) == b"ab"
    with pytest.raises(IntegrityError, match="holds bytes of"):
        reader.read(1)


def test_a_verified_stream_can_fill_buffers_and_closes_its_source():
    source = io.BytesIO(b"abc")
    with VerifyingReader(source, doc.Descriptor("x", digest_of(b"abc"), 3)) as reader:
        assert io.BufferedReader(reader).read() == b"abc"
    assert source.closed


# A layout.


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_modes_do_not_depend_on_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        layout = Layout.create(tmp_path / "a/layout")
        put(layout, b"x", "text/plain")
        (tmp_path / "file").write_bytes(b"y")
        layout.add_file(tmp_path / "file")
    finally:
        os.umask(before)
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in [layout.path, *layout.path.rglob("*")]}
    assert modes == {True: 0o755, False: 0o644}


def test_a_new_layout_is_what_the_spec_says(tmp_path):
    layout = Layout.create(tmp_path / "layout")
    files = {path.name: path.read_bytes() for path in layout.path.iterdir() if path.is_file()}
    index = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    assert files == {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    assert not list(layout.path.glob("blobs/sha256/*"))


def test_creating_again_keeps_what_is_there(tmp_path):
    layout = Layout.create(tmp_path)
    kept = put(layout, b"x", doc.MANIFEST)
    layout.set_index(doc.Index(manifests=(kept,)))
    assert Layout.create(tmp_path).index().manifests == (kept,)


def test_a_blob_that_a_crash_cut_short_is_written_again(tmp_path):
    layout = Layout.create(tmp_path)
    layout.blob_path(PROMISED.digest).write_bytes(CONTENT[:100])
    layout.add(io.BytesIO(CONTENT), PROMISED)
    assert read_verified(layout, PROMISED) == CONTENT


def test_a_flipped_bit_is_noticed_while_reading(tmp_path):
    layout = Layout.create(tmp_path)
    kept = put(layout, b"bytes", "text/plain")
    layout.blob_path(kept.digest).write_bytes(b"bytez")
    with pytest.raises(IntegrityError, match=str(layout.path)), open_verified(layout, kept) as stream:
        stream.read()


@pytest.mark.parametrize("link", [False, True], ids=["copy", "link"])
def test_a_file_becomes_a_blob(tmp_path, link):
    source = tmp_path / "file"
    source.write_bytes(CONTENT)
    source.chmod(0o644)
    layout = Layout.create(tmp_path / "layout")
    for digest in (PROMISED.digest, None):
        assert layout.add_file(source, digest, link=link) == (PROMISED.digest, PROMISED.size)
    assert read_verified(layout, PROMISED) == CONTENT
    assert source.samefile(layout.blob_path(PROMISED.digest)) is link


def test_a_file_of_another_mode_is_copied_not_linked(tmp_path):
    source = tmp_path / "file"
    source.write_bytes(b"x")
    source.chmod(0o755)
    layout = Layout.create(tmp_path / "layout")
    digest, _ = layout.add_file(source, link=True)
    assert stat.S_IMODE(layout.blob_path(digest).stat().st_mode) == 0o644
    assert stat.S_IMODE(source.stat().st_mode) == 0o755


@pytest.mark.parametrize("link", [False, True], ids=["copy", "link"])
def test_a_file_of_other_bytes_is_not_kept(tmp_path, link):
    (tmp_path / "file").write_bytes(b"other")
    layout = Layout.create(tmp_path / "layout")
    with pytest.raises(IntegrityError, match="sha256:"):
        layout.add_file(tmp_path / "file", PROMISED.digest, link=link)
    assert sorted(path.name for path in layout.path.iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert not list(layout.path.glob("blobs/sha256/*"))


def test_a_pipe_is_not_waited_for(tmp_path):
    layout = Layout.create(tmp_path)
    os.mkfifo(layout.blob_path(PROMISED.digest))
    assert not layout.has(PROMISED.digest)
    with pytest.raises(UnreadableError, match="not a regular file"):
        layout.open(PROMISED.digest)


def test_a_digest_never_becomes_a_path(tmp_path):
    layout = Layout.create(tmp_path)
    with pytest.raises(IntegrityError):
        layout.open(Digest("sha256:../../../etc/passwd"))


NO_LAYOUTS = {
    "nothing there": {},
    "another version": {"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'},
    "not JSON": {"oci-layout": b"\xff"},
    "deep": {"oci-layout": b'{"x":' + b"[" * 100_000},
    "huge": {"oci-layout": b" " * (doc.DOCUMENT_LIMIT + 1)},
}


@pytest.mark.parametrize("files", NO_LAYOUTS.values(), ids=NO_LAYOUTS)
def test_what_is_no_layout_is_refused(tmp_path: Path, files):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=str(tmp_path)):
        Layout(tmp_path)


# Names in a layout.


@pytest.fixture
def named(tmp_path, build_image) -> tuple[Layout, doc.Descriptor, doc.Descriptor]:
    layout = Layout.create(tmp_path / "named")
    entries = tuple(called(build_image(layout, "linux/amd64", content=name.encode()), name) for name in ("app", "tool"))
    referrer = put(layout, b"{}", doc.MANIFEST)
    layout.set_index(doc.Index(manifests=(*entries, referrer)))
    return layout, *entries


def called(image: doc.Descriptor, name: str) -> doc.Descriptor:
    names = {doc.REF_NAME: name, doc.CONTAINERD_NAME: f"registry.example/{name}:1"}
    return doc.Descriptor(image.media_type, image.digest, image.size, annotations=names)


def test_an_image_is_found_by_each_of_its_names(named):
    layout, app, tool = named
    for name in ("tool", "registry.example/tool:1", tool.digest):
        assert layout.resolve(name) == tool
    assert layout.resolve("app") == app


def test_a_name_that_is_not_there_lists_those_that_are(named):
    layout, *_ = named
    for name, message in (("none", "no image 'none'"), ("", "more than one image")):
        with pytest.raises(UnreadableError, match=message) as raised:
            layout.resolve(name)
        assert "app, tool" in raised.value.hint


def test_no_list_is_written_that_could_not_be_read_again(named):
    layout, app, _ = named
    before = layout.index()
    long = msgspec.structs.replace(app, annotations={doc.REF_NAME: "x" * doc.DOCUMENT_LIMIT})
    with pytest.raises(UsageError, match=r"index\.json would have \d+ bytes"):
        layout.change_index(lambda entries: (*entries, long))
    assert layout.index() == before


def test_the_only_named_image_needs_no_name(named):
    layout, app, _ = named
    layout.set_index(doc.Index(manifests=(app, *layout.index().manifests[2:])))
    assert layout.resolve() == app


@pytest.mark.real
def test_foreign_tools_read_the_layout(named, peer):
    layout, app, _ = named
    shown = subprocess.run(
        [peer("skopeo"), "inspect", "--raw", f"oci:{layout.path}:app"], check=True, capture_output=True
    )
    assert digest_of(shown.stdout) == app.digest
    subprocess.run([peer("umoci"), "list", "--layout", layout.path], check=True)
