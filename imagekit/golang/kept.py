"""Kept outputs: the files that Go may reuse, each with the SHA-256 it had after its link.

Go decides by the build id inside a file whether it is up to date and believes the rest unread, so a changed file would
be shipped. Each kept output has a folder of its own (mode 0700) under an exclusive lock:

    <cache>/kept/<key>/lock            locked while one process works here; not empty while it links
    <cache>/kept/<key>/<program>       what `go build -o` writes
    <cache>/kept/<key>/<program>.json  its digest and size, written whole after the link
    <cache>/kept/<key>/tmp/            Go's work folder; emptied by whoever has the lock

Touches disk.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import Digest, canonical_json, digest_of, hash_file, hash_stream, hex_of, parse_json, write_whole
from imagekit.targets.target import Target
from imagekit.unfinished import remove_tree, unfinished

_TICK = 0.02
_MODE = 0o755


class Record(msgspec.Struct, frozen=True):
    """The digest and the size in bytes that a file had after its link."""

    digest: Digest
    size: int


class Kept(msgspec.Struct, frozen=True):
    """A kept output that this process has locked."""

    folder: Path
    filename: str
    was_linking: bool
    """Whether the process that had the lock before ended in the middle of its work."""

    @property
    def path(self) -> Path:
        return self.folder / self.filename

    @property
    def temporary(self) -> Path:
        """Go's work folder: on the same file system, so that Go renames its result into place."""
        return self.folder / "tmp"

    @property
    def _record(self) -> Path:
        return self.folder / f"{self.filename}.json"

    def recorded(self) -> Record | None:
        """What was written after the last link; None if nothing readable is there."""
        try:
            return parse_json(self._record.read_bytes(), Record)
        except (OSError, msgspec.DecodeError):
            return None

    def distrusted(self, stream: BinaryIO) -> str:
        """Hash the file once more; why it must not be reused, '' if it is what was recorded."""
        record = self.recorded()
        if record is None:
            return (
                "an earlier run was stopped before it recorded the digest" if self.was_linking else "it has no record"
            )
        digest, size = hash_stream(stream)
        if (digest, size) == (record.digest, record.size):
            return ""
        if self.was_linking:
            return "an earlier run was stopped while it linked"
        return f"it was changed after its link: {record.digest} became {digest}"

    def record(self) -> Record:
        """Fix the mode, hash the file that Go just wrote and write its record."""
        self.path.chmod(_MODE)
        record = Record(*hash_file(self.path))
        write_whole(self._record, canonical_json(record), 0o600)
        return record

    def discard(self) -> None:
        """Delete the file and its record."""
        for path in (self.path, self._record):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            with suppress(FileNotFoundError):
                path.unlink()


def folder_of(cache_dir: Path, directory: Path, package: str, target: Target, twin: str = "") -> Path:
    """Where the output of a build is kept: the same for every run of it, another one for another build.

    The key is the folder of the module, the package and all settings of the target except the *values* of `-X`, which
    change with every commit, and where the settings were written.
    """
    names = msgspec.structs.replace(target.ldflags, values=tuple(sorted({item.name for item in target.ldflags.values})))
    plain = msgspec.structs.replace(target, ldflags=names, origins=())
    key = digest_of(canonical_json([str(directory), package, twin, plain]))
    return cache_dir / "kept" / hex_of(key)[:32]


def is_kept(folder: Path, filename: str) -> bool:
    """Whether an output was linked and recorded here before: the next build links at most."""
    return (folder / filename).is_file() and (folder / f"{filename}.json").is_file()


@contextmanager
def held(folder: Path, filename: str, cancellation: Cancellation | None = None) -> Iterator[Kept]:
    """The kept output in `folder`, locked against every other process; waits for who has it.

    A thrown switch ends the waiting with its `StoppedError`.
    """
    descriptor = _locked(folder, cancellation)
    try:
        kept = Kept(folder, filename, os.fstat(descriptor).st_size > 0)
        with unfinished(lambda: _fresh(kept.temporary), lambda _: remove_tree(kept.temporary)):
            os.pwrite(descriptor, b"linking\n", 0)
            yield kept
        os.ftruncate(descriptor, 0)
    finally:
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        os.close(descriptor)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO | None]:
    """The file at `path`, None if there is no regular file; while it is open nobody else gets its inode number."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    with os.fdopen(descriptor, "rb") as stream:
        yield stream


def is_same_file(stream: BinaryIO, path: Path) -> bool:
    """Whether `path` is still the file that `stream` reads: a link by Go puts another one there."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.lstat())
    except OSError:
        return False


def place(source: Path, destination: Path) -> None:
    """A copy of a program at `destination`, mode 0755, whole or not at all; its folder is made if it is missing."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.part")
    with unfinished(lambda: temporary, Path.unlink):
        try:
            shutil.copyfile(source, temporary)
            temporary.chmod(_MODE)
            temporary.replace(destination)
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise


def _private(folder: Path) -> None:
    for path in (folder.parent.parent, folder.parent, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)


def _locked(folder: Path, cancellation: Cancellation | None) -> int:
    """The open lock of the folder, ours; one that `cache prune` removed while we waited for it locks nothing."""
    while True:
        _private(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor, cancellation)
            if _is_open(descriptor, folder / "lock"):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_open(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, cancellation: Cancellation | None) -> None:
    if cancellation is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while True:
        cancellation.check()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            cancellation.wait(_TICK)


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
