"""The regular files below a folder, in an order of their own; no link is followed. Touches disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

_PSEUDO = frozenset(
    (
        *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs", "fusectl"),
        *("mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs"),
    )
)
"""File systems without files on any disk: what the kernel shows there may have no end, or wait for somebody."""


class Found(msgspec.Struct, frozen=True):
    """A file with its size in bytes; `trouble` for a folder or file that cannot be looked at.

    `named`: the user named it, so it is no member of a tree.
    """

    path: str
    size: int = 0
    trouble: str | None = None
    named: bool = False


def members(word: str) -> Iterator[Found]:
    """The files that an argument means: itself, or all below it. A link is followed here, where the user named it."""
    try:
        status = Path(word).stat()
    except (OSError, ValueError) as error:
        yield Found(word, trouble=getattr(error, "strerror", None) or str(error), named=True)
        return
    if stat.S_ISDIR(status.st_mode):
        yield from walk(word)
    else:
        yield Found(word, status.st_size, named=True)


def walk(root: str) -> Iterator[Found]:
    """Every regular file below `root`, folder by folder, names in the order of their bytes.

    Links, pipes, sockets and devices are passed over: nothing of the tree is in them. So are the kernel's own file
    systems (/proc, /sys) below `root`, which hold no files.
    """
    waiting, pseudo = [root], _pseudo_mounts()
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Found(folder, trouble=error.strerror or str(error), named=folder == root)
            continue
        folders = []
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield Found(entry.path, entry.stat(follow_symlinks=False).st_size)
            except OSError as error:
                yield Found(entry.path, trouble=error.strerror or str(error))
        kept = [path for path in folders if not pseudo or os.path.realpath(path) not in pseudo]
        waiting += reversed(kept)


def _pseudo_mounts() -> frozenset[str]:
    try:
        rows = [line.split() for line in Path("/proc/self/mounts").read_bytes().splitlines()]
    except OSError:
        return frozenset()
    return frozenset(os.fsdecode(row[1]) for row in rows if len(row) > 2 and os.fsdecode(row[2]) in _PSEUDO)
