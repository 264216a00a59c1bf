"""What is begun and must not stay if this process ends in the middle: files without their name, folders, children.

Whoever stops early cleans up behind itself. Where the process cannot wait for that, it ends all the same, and `undo`
cleans up for everybody. Touches disk in `temporary_folder`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

T = TypeVar("T")
_STEP = 1.0
"""Seconds that a step which must not be cut may take when the process ends."""
_ROUNDS, _PAUSE = 10, 0.02
"""How often, and how many seconds apart, a folder is removed in which somebody may still make files."""

_LOCK = threading.RLock()
_UNDO: dict[object, Callable[[], object]] = {}


@contextmanager
def unfinished(begin: Callable[[], T], undo: Callable[[T], object]) -> Iterator[T]:
    """What `begin` makes; if the process ends before the block does, `undo` is called with it, from another thread.

    Nothing is begun once the process is ending. `begin` is short: nobody else begins anything meanwhile.
    """
    key = object()
    with _LOCK:
        made = begin()
        _UNDO[key] = partial(undo, made)
    try:
        yield made
    finally:
        with _LOCK:
            _UNDO.pop(key, None)  # a fork has none of its parent's


@contextmanager
def uncut() -> Iterator[None]:
    """A short block that is not run beside `undo`: it is over before, or nothing is undone."""
    with _LOCK:
        yield


def undo() -> None:
    """Undo all that is unfinished, the newest first; the process must end next.

    From here on, whoever begins or finishes something waits for that end.
    """
    if not _LOCK.acquire(timeout=_STEP):
        return
    for action in reversed(tuple(_UNDO.values())):
        with suppress(Exception):
            action()


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """An empty folder of our own, in the system's folder for such or in `parent`; gone afterwards."""
    from tempfile import TemporaryDirectory

    begin = partial(TemporaryDirectory, prefix=prefix, dir=parent, ignore_cleanup_errors=True)
    with unfinished(begin, _removed) as folder, folder as name:
        yield Path(name)


def remove_tree(path: Path) -> None:
    """Remove a folder in which others, who are ending, may still make files; what cannot be removed stays."""
    import shutil

    for _ in range(_ROUNDS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_PAUSE)


def _removed(folder: TemporaryDirectory[str]) -> None:
    for _ in range(_ROUNDS):
        with suppress(OSError):
            folder.cleanup()
        if not os.path.lexists(folder.name):
            return
        time.sleep(_PAUSE)


def _forget() -> None:
    """A fork begins with nothing, and with a lock that no thread of its parent has."""
    global _LOCK
    _LOCK = threading.RLock()
    _UNDO.clear()


os.register_at_fork(after_in_child=_forget)
