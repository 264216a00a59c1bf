"""Who uses the cache directory: commands hold it together, `cache prune` asks whether it is alone. Touches disk.

The lock is `<cache>/in-use` (flock): shared by whoever reads or writes there, exclusive for who removes things that a
running command could still need. The kernel lets go of it when a process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILE = "in-use"
_HELD: dict[Path, int] = {}


def hold(cache: Path) -> None:
    """Use the cache until this process ends; waits while another one prunes. Nothing where locks do not work."""
    if cache in _HELD:
        return
    try:
        descriptor = _opened(cache)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:
        return
    _HELD[cache] = descriptor


@contextmanager
def alone(cache: Path) -> Iterator[bool]:
    """Whether no other process uses the cache; if so, none begins to before the block ends."""
    if cache in _HELD:
        os.close(_HELD.pop(cache))
    try:
        descriptor = _opened(cache)
    except OSError:
        yield False
        return
    try:
        yield _is_ours(descriptor)
    finally:
        os.close(descriptor)


def _opened(cache: Path) -> int:
    return os.open(cache / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_ours(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
