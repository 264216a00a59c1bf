"""A folder that changes whole or not at all: it is written beside its place and swapped in.

Touches disk. While a build writes, `.dist.imagekit/` stands beside `dist`: its own `.gitignore` comes first, then
`new/`. On Linux (`renameat2`, RENAME_EXCHANGE) and macOS (`renamex_np`, RENAME_SWAP) one system call exchanges the two.
Where the kernel or the file system has no exchange, a journal is written first: `dist` moves to `old`, `new` moves to
`dist`; the next build finishes what a crash left between the two.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from imagekit.content import write_whole
from imagekit.errors import UsageError
from imagekit.unfinished import remove_tree, uncut, unfinished

GITIGNORE = b"*\n"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)

Exchange = Callable[[Path, Path], bool]
"""Swap two existing paths in one step; False where that cannot be done here."""


def wrapper_of(output: Path) -> Path:
    """The folder beside `output` that holds what is being written: `.dist.imagekit`."""
    return output.parent / f".{output.name}.imagekit"


@contextmanager
def staged(output: Path, *, exchange: Exchange | None = None) -> Iterator[Path]:
    """An empty folder that takes the place of `output` when the block ends well, and is removed when it does not.

    What `output` held before is deleted after the swap. A second process waits for the first. Raises `UsageError` if
    `output` is there and is neither empty nor a folder that imagekit wrote (it has no `.gitignore` of `*`).
    """
    wrapper = wrapper_of(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    refuse_foreign(output)
    with _locked(wrapper):
        _recover(output)
        new = wrapper / "new"
        _remove(new)
        new.mkdir(mode=0o755)
        new.chmod(0o755)
        write_whole(new / ".gitignore", GITIGNORE)
        try:
            yield new
            with uncut():
                _swap(wrapper, output, exchange or exchange_paths)
        finally:
            _remove(new)


def refuse_foreign(output: Path) -> None:
    """Raise `UsageError` where replacing `output` would delete files that are not imagekit's."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UsageError(f"{output} is not a folder", hint="name another with --output")
    if output.is_dir() and any(output.iterdir()):
        marker = output / ".gitignore"
        if not marker.is_file() or marker.read_bytes() != GITIGNORE:
            raise UsageError(
                f"{output} holds files that imagekit did not write",
                hint="name another folder with --output, or empty it",
            )


def _recover(output: Path) -> None:
    """Finish what a killed run began: after this `output` is the old whole or the new whole."""
    wrapper = wrapper_of(output)
    journal, old, new = wrapper / "journal", wrapper / "old", wrapper / "new"
    if journal.exists():
        if not output.exists():
            (new if new.exists() else old).rename(output)
        journal.unlink()
    _remove(old)


def finish(output: Path) -> None:
    """Finish what a killed run began, and take away what it left beside `output`; waits for a run that is writing.

    The wrapper's `.gitignore` goes last: a run that is killed here leaves nothing that makes the tree dirty.
    """
    wrapper = wrapper_of(output)
    if wrapper.is_dir():
        with _locked(wrapper):
            _recover(output)
            _remove(wrapper / "new")


@contextmanager
def _locked(wrapper: Path) -> Iterator[None]:
    """The wrapper exists, ignores itself in git and is ours alone; it is gone afterwards."""
    while True:
        wrapper.mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(wrapper, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _same_folder(descriptor, wrapper):
            break
        os.close(descriptor)
    try:
        with unfinished(lambda: wrapper, _given_up):
            # not flushed: whoever is killed meanwhile leaves a file that git sees
            write_whole(wrapper / ".gitignore", GITIGNORE, durable=False)
            yield
    finally:
        _left(wrapper)
        os.close(descriptor)


def _given_up(wrapper: Path) -> None:
    if not (wrapper / "journal").exists():
        remove_tree(wrapper / "new")
        remove_tree(wrapper)


def _left(wrapper: Path) -> None:
    """Remove the wrapper, unless whoever comes next has something to finish in it."""
    if not (wrapper / "journal").exists():
        _remove(wrapper)


def _same_folder(descriptor: int, path: Path) -> bool:
    """Whether the folder that was locked is still the one at `path` (its last owner removes it)."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _swap(wrapper: Path, output: Path, exchange: Exchange) -> None:
    new, old, journal = wrapper / "new", wrapper / "old", wrapper / "journal"
    if not output.exists():
        new.rename(output)
        return
    if exchange(new, output):
        return
    write_whole(journal, b"new takes the place of the output, old is what it replaces\n")
    output.rename(old)
    new.rename(output)
    journal.unlink()
    _remove(old)


def exchange_paths(one: Path, other: Path) -> bool:
    """Swap two paths by the system call that this kernel has for it; False if it or the file system has none."""
    call = _exchange_call()
    if call is None:
        return False
    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


@cache
def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        return lambda one, other: int(library.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE))
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return lambda one, other: int(library.renamex_np(one, other, _RENAME_SWAP))
    return None


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
