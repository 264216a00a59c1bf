"""Unfinished blobs of a layout: who may write to them, when they stay, and that nothing in them is believed."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import Digest, digest_of, hex_of
from imagekit.errors import IntegrityError, NetworkError, StoppedError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, read_verified
from imagekit.oci.copy import copy
from imagekit.oci.looking import examine
from imagekit.oci.parcel import Parcel
from imagekit.oci.parts import WORTH, begun, sweep
from imagekit.oci.removing import from_layout
from imagekit.oci.store import Layout, Memory

CONTENT = bytes(range(256)) * (5 * WORTH // 256) + b"end"
BLOB = doc.Descriptor("x/y", digest_of(CONTENT), len(CONTENT))
HEX = hex_of(BLOB.digest)


class Source(io.RawIOBase):
    """A stream that can go anywhere, and remembers from where to where it was read; `error` comes at an offset."""

    def __init__(self, content: bytes = CONTENT, error: BaseException | None = None, at: int = 0) -> None:
        self.content, self.error, self.at, self.offset = content, error, at, 0
        self.read_from: list[int] = []
        self.gave = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.offset

    def seek(self, offset: int, _whence: int = 0, /) -> int:
        self.offset = offset
        return offset

    def read(self, size: int | None = -1, /) -> bytes:
        if self.error is not None and self.offset >= self.at:
            raise self.error
        if not self.read_from or self.offset != self.gave:
            self.read_from.append(self.offset)
        end = len(self.content) if size is None or size < 0 else self.offset + size
        if self.error is not None:
            end = min(end, self.at)
        piece = self.content[self.offset : end]
        self.offset = self.gave = self.offset + len(piece)
        return piece


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "layout", durable=False)


def part_of(layout: Layout, digest: str = BLOB.digest) -> Path:
    return layout.path / f".{hex_of(Digest(digest))}.part"


def left(layout: Layout) -> list[str]:
    """What stands in the layout and is none of it."""
    return sorted({path.name for path in layout.path.iterdir()} - {"blobs", "index.json", "oci-layout"})


KEPT = {
    "nothing": (None, [0]),
    "the right beginning": (CONTENT[: 2 * WORTH + 7], [2 * WORTH + 7]),
    "all of it": (CONTENT, []),
    "all but a byte": (CONTENT[:-1], [len(CONTENT) - 1]),
    "just enough": (CONTENT[:WORTH], [WORTH]),
    "less than is worth it": (CONTENT[: WORTH - 1], [0]),
    "no byte": (b"", [0]),
    "other bytes": (b"x" * 2 * WORTH, [2 * WORTH, 0]),
    "all of it, and other bytes": (b"x" * len(CONTENT), [0]),
    "zeros at its end, as a power cut leaves them": (CONTENT[: 2 * WORTH] + bytes(WORTH), [3 * WORTH, 0]),
    "more than all of it": (CONTENT + b"x", [0]),
}


@pytest.mark.parametrize(("kept", "read_from"), KEPT.values(), ids=KEPT)
def test_what_is_there_is_gone_on_with_if_it_is_right(layout, kept, read_from):
    if kept is not None:
        part_of(layout).write_bytes(kept)
        part_of(layout).chmod(0o600)
    source = Source()
    assert layout.add(source, BLOB) == (BLOB.digest, BLOB.size)
    assert source.read_from == read_from
    assert layout.blob_path(BLOB.digest).read_bytes() == CONTENT
    assert layout.blob_path(BLOB.digest).stat().st_mode & 0o777 == 0o644
    assert left(layout) == []


def reserved(path: Path, written: bytes) -> None:
    """A part as kill -9 leaves it: as large as the blob, with nothing behind what was written."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, BLOB.size)
        file.write(written)


RESERVED = {
    "nothing was written": (b"", [0]),
    "a little was": (CONTENT[:4096], [0]),
    "some MiB and a bit": (CONTENT[: 2 * WORTH + 9], [2 * WORTH]),
    "whole MiB, which look like it": (CONTENT[: 2 * WORTH], [WORTH]),
    "other bytes": (b"x" * (2 * WORTH + 9), [2 * WORTH, 0]),
}


@pytest.mark.parametrize(("written", "read_from"), RESERVED.values(), ids=RESERVED)
def test_what_was_written_is_told_from_what_was_reserved(layout, written, read_from):
    reserved(part_of(layout), written)
    source = Source()
    layout.add(source, BLOB)
    assert source.read_from == read_from
    assert layout.blob_path(BLOB.digest).read_bytes() == CONTENT


def test_a_full_disk_says_so_before_anything_is_read(layout, monkeypatch):
    allocate = os.posix_fallocate

    def full(number: int, offset: int, size: int) -> None:
        if size > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(number, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    source = Source()
    with pytest.raises(OSError, match="No space left"):
        layout.add(source, BLOB)
    assert source.gave == 0
    assert left(layout) == []


@pytest.mark.parametrize("how", ["writes zeros", "cannot"])
def test_where_room_cannot_be_reserved_a_part_grows_as_it_is_written(layout, monkeypatch, how):
    asked = []

    def emulated(number: int, offset: int, size: int) -> None:
        asked.append(size)
        if how == "cannot":
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        os.pwrite(number, bytes(size), offset)

    monkeypatch.setattr(os, "posix_fallocate", emulated)
    with pytest.raises(NetworkError):
        layout.add(Source(error=NetworkError("broke"), at=WORTH + 5), BLOB)
    assert asked == [1]
    assert part_of(layout).read_bytes() == CONTENT[: part_of(layout).stat().st_size]
    assert layout.add(Source(), BLOB) == (BLOB.digest, BLOB.size)


def test_a_stream_is_read_from_where_it_stands(layout):
    part_of(layout).write_bytes(CONTENT[:WORTH])
    source = Source(b"head" + CONTENT)
    source.seek(4)
    layout.add(source, BLOB)
    assert source.read_from == [4 + WORTH]
    assert read_verified(layout, BLOB, limit=BLOB.size) == CONTENT


def test_a_stream_that_cannot_go_on_from_there_is_read_from_the_start(layout):
    class Once:
        read = io.BytesIO(CONTENT).read

    part_of(layout).write_bytes(CONTENT[: 2 * WORTH])
    layout.add(Once(), BLOB)
    assert layout.blob_path(BLOB.digest).read_bytes() == CONTENT
    assert left(layout) == []


def test_what_is_wrong_from_the_start_too_is_an_integrity_error(layout):
    part_of(layout).write_bytes(CONTENT[:WORTH])
    source = Source(CONTENT[:-1] + b"x")
    with pytest.raises(IntegrityError, match=BLOB.digest):
        layout.add(source, BLOB)
    assert source.read_from == [WORTH, 0], "once more, and no more"
    assert not layout.has(BLOB.digest)
    assert left(layout) == []


BREAKS = {
    "the network breaks": (NetworkError("broke", hint="try again"), 3 * WORTH, 3 * WORTH),
    "the network breaks early": (NetworkError("broke"), WORTH - 1, None),
    "the network breaks after a MiB": (NetworkError("broke"), WORTH, WORTH),
    "it is stopped": (StoppedError("interrupted", exit_code=130), 3 * WORTH, None),
    "the key is pressed": (KeyboardInterrupt(), 3 * WORTH, None),
    "the source is wrong": (IntegrityError("wrong"), 3 * WORTH, None),
    "the source is gone": (MissingBlobError("gone"), 3 * WORTH, None),
    "the disk is full": (OSError(errno.ENOSPC, "no space"), 3 * WORTH, None),
}


@pytest.mark.parametrize(("error", "at", "stays"), BREAKS.values(), ids=BREAKS)
def test_a_part_stays_only_after_the_network_broke(layout, error, at, stays):
    with pytest.raises(type(error)) as raised:
        layout.add(Source(error=error, at=at), BLOB)
    assert not layout.has(BLOB.digest)
    if stays is None:
        assert left(layout) == []
        assert "kept" not in getattr(raised.value, "hint", "")
        return
    assert left(layout) == [f".{HEX}.part"]
    assert part_of(layout).read_bytes() == CONTENT[:stays]
    assert raised.value.hint.endswith(f"{stays >> 20} MiB of this blob are kept for the next run")
    source = Source()
    layout.add(source, BLOB)
    assert source.read_from == [stays]


def test_a_part_grows_from_break_to_break(layout):
    for at in (1, 2, 4):
        with pytest.raises(NetworkError):
            layout.add(Source(error=NetworkError("broke"), at=at * WORTH), BLOB)
        assert part_of(layout).stat().st_size == at * WORTH


def test_a_small_blob_leaves_nothing(layout):
    small = CONTENT[: WORTH - 1]
    blob = doc.Descriptor("x/y", digest_of(small), len(small))
    part_of(layout, blob.digest).write_bytes(small[:100])
    with pytest.raises(NetworkError):
        layout.add(Source(small, NetworkError("broke"), 1000), blob)
    assert left(layout) == []


def test_bytes_of_no_known_digest_leave_nothing(layout):
    with pytest.raises(NetworkError):
        layout.add(Source(error=NetworkError("broke"), at=3 * WORTH))
    assert left(layout) == []


# Two at a time.


def test_two_never_write_to_the_same_part(layout):
    with begun(layout.path, BLOB.digest) as first:
        first.file.write(CONTENT[:WORTH])
        layout.add(io.BytesIO(CONTENT), BLOB)
        assert left(layout) == [f".{HEX}.part"]
        assert first.path.read_bytes() == CONTENT[:WORTH]
        first.path.unlink()
    assert read_verified(layout, BLOB, limit=BLOB.size) == CONTENT


def test_another_process_is_not_waited_for(layout):
    part_of(layout).write_bytes(CONTENT[:WORTH])
    holding = f"""
import fcntl, sys
file = open({str(part_of(layout))!r}, "r+b")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(NetworkError) as raised:
            layout.add(Source(error=NetworkError("broke"), at=3 * WORTH), BLOB)
        assert raised.value.hint == ""
        layout.add(io.BytesIO(CONTENT), BLOB)
        assert left(layout) == [f".{HEX}.part"]
        assert part_of(layout).read_bytes() == CONTENT[:WORTH]
        child.communicate()
    assert read_verified(layout, BLOB, limit=BLOB.size) == CONTENT


def test_a_part_that_became_the_blob_meanwhile_is_not_written_to(layout, monkeypatch):
    """It is opened, then whoever had it moves it into its place and lets go, then it is locked."""
    part_of(layout).write_bytes(CONTENT)
    lock = fcntl.flock

    def late(file, how):
        if part_of(layout).exists():
            part_of(layout).replace(layout.blob_path(BLOB.digest))
        lock(file, how)

    monkeypatch.setattr("imagekit.oci.parts.fcntl.flock", late)
    with begun(layout.path, BLOB.digest) as part:
        assert part.path != part_of(layout)
        part.file.write(b"x")
        part.drop()
    assert layout.blob_path(BLOB.digest).read_bytes() == CONTENT


def test_a_file_system_without_locks_keeps_nothing(layout, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("imagekit.oci.parts.fcntl.flock", refuse)
    with pytest.raises(NetworkError):
        layout.add(Source(error=NetworkError("broke"), at=3 * WORTH), BLOB)
    assert left(layout) == []
    layout.add(Source(), BLOB)
    assert left(layout) == []
    part_of(layout).write_bytes(CONTENT[:WORTH])
    assert sweep(layout.path, lambda _: True) == 0
    assert left(layout) == [f".{HEX}.part"], "nobody can say whether it is held"


# What others put there.


def link_to_a_file(part: Path, secret: Path) -> None:
    part.symlink_to(secret)


def link_to_nothing(part: Path, secret: Path) -> None:
    part.symlink_to(secret.parent / "made")


def link_to_a_folder(part: Path, secret: Path) -> None:
    part.symlink_to(secret.parent)


def other_name_of_a_file(part: Path, secret: Path) -> None:
    part.hardlink_to(secret)


def pipe(part: Path, secret: Path) -> None:
    os.mkfifo(part)


def folder(part: Path, secret: Path) -> None:
    (part / "below").mkdir(parents=True)
    (part / "below/link").symlink_to(secret.parent)
    (part / "file").write_bytes(b"x")


def listener(part: Path, secret: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        place = Path.cwd()
        os.chdir(part.parent)  # the whole path is longer than an address may be
        try:
            made.bind(part.name)
        finally:
            os.chdir(place)


ODD = [link_to_a_file, link_to_nothing, link_to_a_folder, other_name_of_a_file, pipe, folder, listener]


@pytest.mark.parametrize("put_there", ODD, ids=lambda each: each.__name__)
def test_what_is_no_part_is_replaced(layout, tmp_path, put_there):
    secret = tmp_path / "outside/secret"
    secret.parent.mkdir()
    secret.write_bytes(CONTENT[: 2 * WORTH])
    put_there(part_of(layout), secret)
    source = Source(error=NetworkError("broke"), at=3 * WORTH)
    with pytest.raises(NetworkError):
        layout.add(source, BLOB)
    assert source.read_from == [0]
    assert part_of(layout).is_file()
    assert not part_of(layout).is_symlink()
    layout.add(Source(), BLOB)
    assert left(layout) == []
    assert secret.read_bytes() == CONTENT[: 2 * WORTH]
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]


def test_a_file_of_another_user_is_replaced(layout, monkeypatch):
    part_of(layout).write_bytes(CONTENT[: 2 * WORTH])
    monkeypatch.setattr("imagekit.oci.parts.os.geteuid", lambda: os.getuid() + 1)
    source = Source()
    layout.add(source, BLOB)
    assert source.read_from == [0]
    assert left(layout) == []


def test_what_cannot_be_replaced_is_left_alone(layout, monkeypatch):
    (part_of(layout) / "busy").mkdir(parents=True)

    def refuse(path):
        raise OSError(errno.EBUSY, "a mount point", path)

    monkeypatch.setattr("imagekit.oci.parts.shutil.rmtree", refuse)
    layout.add(io.BytesIO(CONTENT), BLOB)
    assert left(layout) == [f".{HEX}.part"]
    assert read_verified(layout, BLOB, limit=BLOB.size) == CONTENT


# What becomes of them.


@pytest.fixture
def image(layout, build_image) -> doc.Descriptor:
    """An image in the layout, called `app`, with parts of one of its blobs and of another's beside it."""
    made = build_image(layout, "linux/amd64")
    layout.set_index(doc.Index(manifests=(msgspec.structs.replace(made, annotations={doc.REF_NAME: "app"}),)))
    part_of(layout).write_bytes(CONTENT[: 2 * WORTH])
    return made


def test_a_copy_leaves_no_part_of_what_is_there(layout, image, build_image):
    source = Memory()
    root = build_image(source, "linux/arm64")
    held, stale = part_of(layout, root.digest), part_of(layout, image.digest)
    for path in (held, stale):
        path.write_bytes(b"x" * WORTH)
    with held.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        copy(source, layout, root)
        assert left(layout) == sorted([f".{HEX}.part", held.name])
    copy(source, layout, root)
    assert left(layout) == [f".{HEX}.part"], "that one's blob is still to come"


def test_a_copy_leaves_no_bytes_of_killed_runs_that_have_no_digest(layout, build_image):
    source = Memory()
    root = build_image(source, "linux/arm64")
    (layout.path / ".0123456789abcdef.part").write_bytes(b"x")
    for name in (".index.json.0123abcd.part", ".part", "0123456789abcdef.part", ".0123456789abcdeX.part"):
        (layout.path / name).write_bytes(b"somebody's")
    with begun(layout.path) as running:
        copy(source, layout, root)
        assert running.is_there
        running.drop()
    others = {".index.json.0123abcd.part", ".part", "0123456789abcdef.part", ".0123456789abcdeX.part"}
    assert set(left(layout)) == others


def test_a_part_that_is_swept_before_it_is_locked_is_made_again(layout, monkeypatch):
    lock = fcntl.flock

    def late(file, how):
        monkeypatch.undo()
        sweep(layout.path, lambda _: True)
        lock(file, how)

    monkeypatch.setattr("imagekit.oci.parts.fcntl.flock", late)
    with begun(layout.path) as part:
        assert part.is_there
        part.drop()
    assert left(layout) == []


def test_deleting_an_image_takes_what_was_never_finished_along(layout, image):
    with begun(layout.path, digest_of(b"other")) as held:
        freed = from_layout(layout.path, "app").freed
        assert freed > 2 * WORTH
        assert left(layout) == [held.path.name]
        held.drop()


def test_a_layout_with_a_part_is_as_valid_as_without(layout, image, tmp_path):
    os.mkfifo(part_of(layout, digest_of(b"odd")))
    root = layout.resolve("app")
    assert not any(check.broken for check in examine(Parcel(layout, (), (root,)), Cancellation()))
    other = Layout.create(tmp_path / "other")
    copy(layout, other, root)
    assert left(other) == []
    done = subprocess.run(
        [sys.executable, "-m", "imagekit", "image", "list", f"oci:{layout.path}"], capture_output=True, text=True
    )
    assert done.stdout == f"app {image.digest}\n"


FOREIGN = {
    "skopeo": ["skopeo", "inspect", "--raw", "oci:{layout}:app"],
    "skopeo copy": ["skopeo", "--insecure-policy", "copy", "-q", "--all", "oci:{layout}:app", "oci:{layout}.copy:app"],
    "umoci": ["umoci", "list", "--layout", "{layout}"],
    "umoci gc": ["umoci", "gc", "--layout", "{layout}"],
    "crane": ["crane", "push", "--insecure", "{layout}", "{registry}/parts/app:1"],
}


@pytest.mark.real
@pytest.mark.parametrize("words", FOREIGN.values(), ids=FOREIGN)
def test_foreign_tools_pass_over_a_part(layout, image, registry, peer, words):
    program, *rest = (word.format(layout=layout.path, registry=registry) for word in words)
    done = subprocess.run([peer(program), *rest], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert part_of(layout).read_bytes() == CONTENT[: 2 * WORTH]


def test_a_blob_that_a_power_cut_left_short_is_moved_again(layout, build_image):
    source = Memory()
    root = build_image(source, "linux/amd64")
    moved = copy(source, layout, root)
    for each in moved:
        layout.blob_path(each.digest).write_bytes(b"")
    assert copy(source, layout, root) == moved
    assert not any(check.broken for check in examine(Parcel(layout, (), (root,)), Cancellation()))


def test_an_empty_folder_in_which_a_run_was_killed_becomes_a_layout(tmp_path, build_image):
    from imagekit.oci.parcel import NamedImage
    from imagekit.oci.sending import into_layout

    source = Memory()
    root = build_image(source, "linux/amd64")
    (tmp_path / "to").mkdir()
    (tmp_path / "to/.oci-layout.0123abcd.part").write_bytes(b"{")
    into_layout(Parcel(source, (NamedImage(root, "app"),)), tmp_path / "to", "", Cancellation())
    assert Layout(tmp_path / "to").resolve("app").digest == root.digest
