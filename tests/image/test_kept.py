"""The cache of packed layers: hit, miss, and bytes that somebody changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from imagekit.content import digest_of
from imagekit.image.assemble import Assembled
from imagekit.image.kept import LayerCache
from imagekit.image.recipe import Recipe
from imagekit.oci import layers
from imagekit.oci.layers import Compression, Entry
from imagekit.oci.store import Layout, Memory

RECIPE = Recipe(id="app", build="app")
ENTRIES = (Entry("a", content=b"a" * 5000),)


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for every layer that is really packed."""
    seen: list[int] = []
    original = layers.write_layer

    def counted(*args: object, **kwargs: object) -> object:
        seen.append(1)
        return original(*args, **kwargs)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr("imagekit.image.kept.write_layer", counted)
    return seen


def blob(folder: Path, digest: str) -> Path:
    return folder / "packed/blobs/sha256" / digest.removeprefix("sha256:")


def test_a_warm_build_packs_nothing(tmp_path: Path, image: Callable[..., Assembled], packings: list[int]) -> None:
    cold = image(Layout.create(tmp_path / "one"), RECIPE)
    packed = len(packings)
    warm = image(Layout.create(tmp_path / "two"), RECIPE)
    assert packed == 7
    assert len(packings) == packed
    assert cold.index == warm.index


@pytest.mark.parametrize("store", ["layout", "memory"])
def test_changed_bytes_are_packed_again(tmp_path: Path, packings: list[int], store: str) -> None:
    cache = LayerCache(tmp_path / "cache")
    first = cache.layer(Memory(), ENTRIES, mtime=0, compression=Compression())
    kept = blob(tmp_path / "cache", first.descriptor.digest)
    content = bytearray(kept.read_bytes())
    content[20] ^= 1
    kept.write_bytes(content)
    target = Memory() if store == "memory" else Layout.create(tmp_path / "oci")
    again = cache.layer(target, ENTRIES, mtime=0, compression=Compression())
    assert again == first
    assert len(packings) == 2
    assert cache.rebuilt
    assert digest_of(target.open(again.descriptor.digest).read()) == first.descriptor.digest
    assert digest_of(kept.read_bytes()) == first.descriptor.digest


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(b"{"), id="no JSON"),
        pytest.param(lambda path: path.write_bytes(b'{"media_type":"","digest":"../../x","size":1}'), id="no digest"),
        pytest.param(lambda path: path.unlink(), id="missing"),
    ],
)
def test_a_record_that_cannot_be_used(tmp_path: Path, packings: list[int], spoil: Callable[[Path], object]) -> None:
    cache = LayerCache(tmp_path / "cache")
    first = cache.layer(Memory(), ENTRIES, mtime=0, compression=Compression())
    (record,) = (tmp_path / "cache/keys").iterdir()
    spoil(record)
    assert cache.layer(Memory(), ENTRIES, mtime=0, compression=Compression()) == first
    assert len(packings) == 2


@pytest.mark.parametrize(
    ("entries", "mtime", "compression"),
    [
        pytest.param((Entry("a", content=b"b" * 5000),), 0, Compression(), id="content"),
        pytest.param((Entry("b", content=b"a" * 5000),), 0, Compression(), id="path"),
        pytest.param((Entry("a", mode=0o600, content=b"a" * 5000),), 0, Compression(), id="mode"),
        pytest.param((Entry("a", uid=1, content=b"a" * 5000),), 0, Compression(), id="owner"),
        pytest.param(ENTRIES, 1, Compression(), id="time"),
        pytest.param(ENTRIES, 0, Compression(level=1), id="level"),
        pytest.param(ENTRIES, 0, Compression("none"), id="algorithm"),
    ],
)
def test_everything_that_decides_the_bytes_is_in_the_key(
    tmp_path: Path, packings: list[int], entries: tuple[Entry, ...], mtime: int, compression: Compression
) -> None:
    cache = LayerCache(tmp_path / "cache")
    cache.layer(Memory(), ENTRIES, mtime=0, compression=Compression())
    cache.layer(Memory(), entries, mtime=mtime, compression=compression)
    assert len(packings) == 2


def test_a_changed_layout_does_not_change_the_cache_unseen(tmp_path: Path) -> None:
    """Blobs in dist/ may share their file with the cache; whoever writes into dist/ is found out."""
    cache = LayerCache(tmp_path / "cache")
    one = Layout.create(tmp_path / "one")
    layer = cache.layer(one, ENTRIES, mtime=0, compression=Compression())
    with one.blob_path(layer.descriptor.digest).open("r+b") as stream:
        stream.write(b"changed")
    two = Layout.create(tmp_path / "two")
    assert cache.layer(two, ENTRIES, mtime=0, compression=Compression()) == layer
    assert digest_of(two.open(layer.descriptor.digest).read()) == layer.descriptor.digest


class Counter:
    """Writes the same bytes, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, stream: BinaryIO) -> None:
        self.calls += 1
        stream.write(b"content")


def test_files_are_written_once_and_checked(tmp_path: Path) -> None:
    cache, write = LayerCache(tmp_path / "cache"), Counter()
    digest, size = cache.file(tmp_path / "one", "x", write)
    assert cache.file(tmp_path / "two", "x", write) == (digest, size) == (digest_of(b"content"), 7)
    assert write.calls == 1
    blob(tmp_path / "cache", digest).chmod(0o600)
    cache.file(tmp_path / "three", "x", write)
    assert write.calls == 1
    blob(tmp_path / "cache", digest).write_bytes(b"CONTENT")
    cache.file(tmp_path / "four", "x", write)
    assert write.calls == 2
    for name in ("three", "four"):
        assert (tmp_path / name).read_bytes() == b"content"
        assert (tmp_path / name).stat().st_mode & 0o7777 == 0o644
    with pytest.raises(FileExistsError):
        cache.file(tmp_path / "one", "x", write)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    def fail(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        LayerCache(tmp_path / "cache").file(tmp_path / "one", "x", fail)
    assert not (tmp_path / "one").exists()


def test_texts(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "cache")
    assert cache.text(["x"], lambda: "grün") == "grün"
    assert cache.text(["x"], lambda: "other") == "grün"
    assert cache.text(["y"], lambda: "other") == "other"


def test_the_cache_is_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        LayerCache(tmp_path / "new/cache")
    finally:
        os.umask(before)
    assert (tmp_path / "new/cache").stat().st_mode & 0o777 == 0o700
