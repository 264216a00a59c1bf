"""Unfinished blobs of a layout: files beside `blobs`, each written by one process at a time. Touches disk.

`.<hex>.part` holds the first bytes of the blob of that digest. Nothing in it is believed: whoever goes on with it
hashes it from the start. What stands in its place and is no file of ours (a link, a pipe, a folder) is replaced. Bytes
whose digest is not known yet, or whose part another process has, stand under a random name.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from imagekit.content import CHUNK, Digest, Readable, hex_of, name_full
from imagekit.errors import IntegrityError, NetworkError
from imagekit.oci.blobs import VerifyingReader
from imagekit.oci.documents import Descriptor
from imagekit.oci.files import new_file, write_all
from imagekit.oci.streams import Chained, Limited, rewinder
from imagekit.unfinished import unfinished

WORTH = 1 << 20
"""Bytes: fewer are fetched again sooner than a file of them is kept and hashed."""
_NAME = re.compile(r"\.(?:([0-9a-f]{64})|[0-9a-f]{16})\.part")


class Part:
    """A file of a layout that is not yet a blob, open to be written and read."""

    def __init__(self, path: Path, file: io.FileIO) -> None:
        self.path, self.file = path, file

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self.file.fileno()).st_size

    @property
    def written(self) -> int:
        """Bytes from the start that were written, whole MiB where more room was reserved than they fill."""
        size, hole = self.size, os.lseek(self.file.fileno(), 0, os.SEEK_HOLE) if self.size else 0
        self.file.seek(0)
        return size if hole >= size else max(0, hole - 1) // WORTH * WORTH

    @property
    def is_there(self) -> bool:
        """Whether the file still is at its place."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self.file.fileno()))
        except FileNotFoundError:
            return False

    def lock(self) -> bool | None:
        """Whether it is ours now; None where files have no locks."""
        try:
            fcntl.flock(self.file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return self.is_there  # whoever had it before may have moved it into its place

    def fill(self, stream: Readable, expected: Descriptor, where: str) -> None:
        """Write what `stream` holds, which is what `expected` promises, behind what is there already.

        What is there is hashed first, and `stream`, if it can go there, read from its end on. If the whole is wrong it
        is written once more from the start; raises `IntegrityError` if it is wrong then.
        """
        rewind, kept = rewinder(stream), self.written
        if WORTH <= kept <= expected.size and rewind(kept):
            with suppress(IntegrityError):
                self._pour(stream if kept < expected.size else io.BytesIO(), expected, where, kept)
                return
            rewind()
        self.clear()
        self._reserve(expected.size)
        self._pour(stream, expected, where, 0)

    def clear(self) -> None:
        """Forget what is there.

        A new file is not cut to nothing: ext4 would write it to the disk before it is closed (`auto_da_alloc`).
        """
        self.file.seek(0)
        if self.size:
            self.file.truncate()

    def _reserve(self, size: int) -> None:
        """Have the file system set the room aside: a full disk says so before the bytes are fetched, not after.

        Only where that writes nothing, which a hole at the start shows; elsewhere the C library would write zeros.
        """
        if size < WORTH:
            return
        number = self.file.fileno()
        try:
            os.posix_fallocate(number, 0, 1)
            if os.lseek(number, 0, os.SEEK_HOLE) == 0:
                os.posix_fallocate(number, 0, size)
            else:
                self.file.truncate(0)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
        self.file.seek(0)

    def drop(self) -> None:
        """Take the file away, if it still is at its place."""
        if self.is_there:
            self.path.unlink()

    def _pour(self, stream: Readable, expected: Descriptor, where: str, kept: int) -> None:
        source = VerifyingReader(Chained(Limited(self.file, kept), stream), expected, where)
        while piece := source.read(CHUNK):
            if kept:
                kept -= len(piece)
            else:
                write_all(self.file, piece)


@contextmanager
def begun(folder: Path, digest: Digest | None = None) -> Iterator[Part]:
    """A part that is ours alone while the block runs; if it was not moved into its place by then, it is gone.

    With `digest` it is the one that an earlier run left, unless another process has it: waiting for that one could take
    for ever. After a `NetworkError` that part stays for the next run, and the error's hint says so.
    """
    with unfinished(partial(_begin, folder, digest), Part.drop) as part, part.file:
        try:
            yield part
        except NetworkError as error:
            part.file.truncate(part.file.tell())
            if digest is None or part.path != _place_of(folder, digest) or part.written < WORTH:
                part.drop()
            else:
                kept = f"{part.written >> 20} MiB of this blob are kept for the next run"
                error.hint = "; ".join(filter(None, (error.hint, kept)))
            raise
        except BaseException as error:
            part.drop()
            name_full(error, folder)
            raise


def sweep(folder: Path, is_over: Callable[[Digest], bool]) -> int:
    """Remove the parts that no process holds and that nobody can go on with, or need not: the bytes freed.

    `is_over` says so of a blob; bytes that never had a digest are over with the process that wrote them.
    """
    freed = 0
    for path in list(folder.iterdir()):
        found = _NAME.fullmatch(path.name)
        if found and (found[1] is None or is_over(Digest(f"sha256:{found[1]}"))):
            with suppress(OSError):
                freed += _swept(Part(path, _opened(path)))
    return freed


def _swept(part: Part) -> int:
    with part.file:
        if not part.lock():
            return 0
        size = part.size
        part.drop()
        return size


def _begin(folder: Path, digest: Digest | None) -> Part:
    return (digest and _held(folder, digest)) or _new(folder)


def _place_of(folder: Path, digest: Digest) -> Path:
    return folder / f".{hex_of(digest)}.part"


def _held(folder: Path, digest: Digest) -> Part | None:
    """The part of that digest, made if there is none; None where another process has it, or it cannot be had."""
    path = _place_of(folder, digest)
    try:
        part = Part(path, _opened(path))
    except OSError:  # a new name fares better, or says what is wrong with the folder
        return None
    ours = part.lock()
    if ours:
        return part
    if ours is None:
        part.drop()
    part.file.close()
    return None


def _new(folder: Path) -> Part:
    """A part of no digest, locked where it can be, so that who sweeps leaves it."""
    while True:
        path = folder / f".{os.urandom(8).hex()}.part"
        part = Part(path, new_file(path))
        if part.lock() is not False:
            return part
        part.file.close()


def _opened(path: Path) -> io.FileIO:
    """The file at `path`, or a new one: only what is a file of ours, under no other name, is opened to be written."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(OSError):
        file = io.FileIO(os.open(path, flags, 0o644), "r+b")
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid():
            os.fchmod(file.fileno(), 0o644)
            return file
        file.close()
    if stat.S_ISDIR(path.lstat().st_mode):
        shutil.rmtree(path)
    else:
        path.unlink()
    return new_file(path)
