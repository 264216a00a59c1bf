"""Locks on the folders of a layout, so that processes that share it do not undo each other's work. Touches disk.

They lock the folder itself (flock(2)), so nothing is left behind by a process that dies. Where a file system has no
locks, nobody waits.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagekit.cancellation import Cancellation

_TICK = 0.02


@contextmanager
def locked(folder: Path, *, shared: bool = False, cancellation: Cancellation | None = None) -> Iterator[None]:
    """While the block runs nobody else has the folder, or, if `shared`, nobody has it alone.

    Waits for that as long as it takes; raises the `StoppedError` of a thrown cancellation.
    """
    waiting = cancellation or Cancellation()
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not _taken(held, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            waiting.wait(_TICK)
            waiting.check()
        yield
    finally:
        os.close(held)


def _taken(held: int, kind: int) -> bool:
    try:
        fcntl.flock(held, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
