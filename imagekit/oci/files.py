"""Regular files: opened without waiting, made with one mode, shared where the file system can. Touches disk."""

from __future__ import annotations

import fcntl
import io
import os
import stat
from pathlib import Path

from imagekit.errors import UnreadableError

_FICLONE = 0x40049409
"""`ioctl` of linux/fs.h: share the other file's extents (btrfs, xfs); other file systems refuse at once."""


def open_regular(path: Path) -> io.FileIO:
    """The file, unbuffered; the caller closes.

    Raises `OSError`, and `UnreadableError` for a pipe or a device, which would be waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableError(f"{path} is not a regular file")
    return io.FileIO(descriptor, "rb")


def new_file(path: Path) -> io.FileIO:
    """A new file of mode 0644, whatever the umask, unbuffered, to write and read."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.fchmod(descriptor, 0o644)
    return io.FileIO(descriptor, "w+b")


def write_all(file: io.FileIO, piece: bytes) -> None:
    """Write all of `piece`: an unbuffered file may take less than it is given."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def linked(path: Path, new: Path) -> bool:
    """Whether `new` became a hard link of `path`: a regular file of mode 0644 in the same file system."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != 0o644:
        return False
    try:
        new.hardlink_to(path)
    except OSError:
        return False
    return True


def cloned(source: io.FileIO, file: io.FileIO) -> bool:
    """Whether `file` now shares all extents of `source`; nothing is written where the file system cannot."""
    try:
        fcntl.ioctl(file.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True
