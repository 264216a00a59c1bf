"""One regular file: a program with its facts, some other file, or trouble. Touches disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from imagekit.audit.subjects.program import HEAD, Program, Wishes, look, promising, startable
from imagekit.errors import UnreadableError

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class Seen(msgspec.Struct, frozen=True):
    """What a file turned out to be: a program, or why it could not be read; with neither it is another file."""

    program: Program | None = None
    trouble: str | None = None


def see(path: str, wishes: Wishes, *, named: bool = False) -> Seen:
    """Look at a file; nothing is waited for, and no link followed unless the file is `named` by the user.

    A named file is a program whatever it is: one in no format gives facts that say so.
    """
    try:
        descriptor = os.open(path, _FLAGS if named else _FLAGS | os.O_NOFOLLOW)
    except OSError as error:
        return Seen(trouble=error.strerror or str(error))
    try:
        return _seen(descriptor, path, wishes, named=named)
    except OSError as error:
        return Seen(trouble=error.strerror or str(error))
    except UnreadableError as error:
        return Seen(trouble=error.message)
    finally:
        os.close(descriptor)


def _seen(descriptor: int, path: str, wishes: Wishes, *, named: bool) -> Seen:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return Seen(trouble="it is not a regular file" if named else None)
    head = os.pread(descriptor, HEAD, 0)
    if not named and not promising(head, wishes):
        return Seen()
    return Seen(look(descriptor, wishes, Path(path), might_start=named or startable(head, status.st_mode)))
