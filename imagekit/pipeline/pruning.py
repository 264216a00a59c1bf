"""Prune: what was kept to be used again, and was not, is removed from the cache directory. Touches disk.

    kept/<key>/       a program with its lock, written at every use     the lock's time; removed only under that lock
    layers/keys/*     what was packed, touched at every use             its own time
    layers/packed/    the packed bytes                                  when no key names them
    published/        extracted modules, read-only, and their records   the records' time
    bases/            images that others are built on, touched likewise a blob's own time
    facts asked ...   answers that can be had again                     their own time
    scratch/          what a killed run left behind                     its own time
    zig/ staticcheck/ caches of other programs, whole or not at all     the last use of any file in it

The records and tiles of checksum databases (sumdb/) stay: they are the memory that a log cannot be forked against.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from imagekit.content import Digest, hex_of, parse_json
from imagekit.source import published

DAY = 86400.0
_RECORDS = ("facts", "asked", "contents", "modules", "written")
_FOREIGN = ("zig", "staticcheck")
_TRASH = ".pruned-"
"""What is removed gets this name first, so that nobody meets half of it."""


class Removed(msgspec.Struct, frozen=True):
    """How many entries of a kind went, and the bytes that the disk has back (a file with other links gives none)."""

    kind: str
    count: int = 0
    size: int = 0


class _Naming(msgspec.Struct):
    """Of a record of a packed layer (`image.kept`): which blob it names."""

    digest: Digest = Digest("")


class _Rooted(msgspec.Struct):
    """Of a record of an extracted module (`golang.published`): where it is."""

    root: str


class Pruned(msgspec.Struct, frozen=True):
    """What a pruning did; `held` entries were old enough and in use, `busy` means another imagekit used the cache."""

    removed: tuple[Removed, ...]
    held: int
    busy: bool

    @property
    def size(self) -> int:
        """Bytes freed."""
        return sum(one.size for one in self.removed)

    @property
    def count(self) -> int:
        return sum(one.count for one in self.removed)


def prune(cache: Path, *, older_than: float, now: float, alone: bool) -> Pruned:
    """Remove what was not used for `older_than` seconds before `now` (seconds since 1970).

    Unless this process is `alone` with the cache, another one may be between two steps of a build: then nothing goes
    that was used within a day, and neither extracted modules nor bases nor scratch nor other programs' caches.
    """
    before = now - (older_than if alone else max(older_than, DAY))
    kept, held = _kept(cache, before)
    removed = [kept, *_layers(cache / "layers", before), _records(cache, before)]
    if alone:
        removed += [_published(cache / "published", before), _bases(cache / "bases", before)]
        removed += [_scratch(cache, before), _foreign(cache, before)]
    return Pruned(tuple(removed), held, not alone)


def size_of(path: Path) -> int:
    """Bytes that the disk has back once this file or tree is removed."""
    return sum(_size(one) for one in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())))


def _size(path: Path) -> int:
    try:
        state = path.lstat()
    except OSError:
        return 0
    return state.st_size if state.st_nlink == 1 else 0


def _kept(cache: Path, before: float) -> tuple[Removed, int]:
    count = size = held = 0
    for folder in _entries(cache / "kept"):
        if folder.name.startswith(_TRASH):
            shutil.rmtree(folder, ignore_errors=True)
        elif _written(folder / "lock" if (folder / "lock").exists() else folder) <= before:
            freed = _unlocked_away(folder)
            count, held = count + (freed is not None), held + (freed is None)
            size += freed or 0
    return Removed("kept outputs", count, size), held


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the lock is ours now; a running build has it while it compiles."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _unlocked_away(folder: Path) -> int | None:
    """Remove a kept output under its lock; None if another process has that."""
    with _locked(folder / "lock") as ours:
        return _away(folder) if ours else None


def _away(folder: Path) -> int:
    """Renamed first, so that who waits for the lock finds a new, empty place."""
    size = size_of(folder)
    trash = folder.with_name(f"{_TRASH}{os.urandom(8).hex()}")
    folder.rename(trash)
    shutil.rmtree(trash)
    return size


def _layers(layers: Path, before: float) -> Iterator[Removed]:
    keys = [_remove(path) for path in _entries(layers / "keys") if _written(path) <= before]
    named = {_digest(path) for path in _entries(layers / "keys")}
    blobs = [
        _remove(path)
        for path in _entries(layers / "packed" / "blobs" / "sha256")
        if path.name not in named and _changed(path) <= before
    ]
    yield Removed("packed layers", len(blobs), sum(blobs))
    yield Removed("records of layers", len(keys), sum(keys))


def _digest(record: Path) -> str:
    """The blob that a record names, in hex; '' for one that cannot be read."""
    try:
        return hex_of(parse_json(record.read_bytes(), _Naming).digest)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _records(cache: Path, before: float) -> Removed:
    files = [path for name in _RECORDS for path in _entries(cache / name)]
    sizes = [_remove(path) for path in files if _read(path) <= before]
    return Removed("records", len(sizes), sum(sizes))


def _published(folder: Path, before: float) -> Removed:
    """Records first; then every tree that no record names."""
    records = [path for path in _entries(folder) if path.name.endswith(".json")]
    for record in records:
        if _read(record) <= before:
            _remove(record)
    named = {_root(record) for record in records if record.exists()}
    trees = [path for path in _entries(folder) if path.is_dir() and path not in named and _changed(path) <= before]
    sizes = [_tree_away(path) for path in trees]
    return Removed("extracted modules", len(sizes), sum(sizes))


def _root(record: Path) -> Path | None:
    try:
        return record.parent / Path(parse_json(record.read_bytes(), _Rooted).root).name
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _tree_away(tree: Path) -> int:
    size = size_of(tree)
    published.remove(tree)
    return size


def _bases(layout: Path, before: float) -> Removed:
    """Blobs that no build used, and what was left of those that never came whole."""
    blobs = [path for path in _entries(layout / "blobs" / "sha256") if _written(path) <= before]
    parts = [path for path in _entries(layout) if path.name.endswith(".part") and _written(path) <= before]
    sizes = [_remove(path) for path in (*blobs, *parts)]
    return Removed("blobs of bases", len(sizes), sum(sizes))


def _scratch(cache: Path, before: float) -> Removed:
    left = [path for path in _entries(cache / "scratch") if _written(path) <= before]
    sizes = [_tree_away(path) if path.is_dir() else _remove(path) for path in left]
    return Removed("scratch", len(sizes), sum(sizes))


def _foreign(cache: Path, before: float) -> Removed:
    """A cache whose rules are another program's: it goes when nothing in it was used."""
    places = [cache / name for name in _FOREIGN if (cache / name).is_dir()]
    sizes = [_tree_away(place) for place in places if all(_read(path) <= before for path in (place, *place.rglob("*")))]
    return Removed("compiler caches", len(sizes), sum(sizes))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(path: Path) -> int:
    size = size_of(path)
    with suppress(FileNotFoundError):
        path.unlink()
    return size


def _written(path: Path) -> float:
    state = _state(path)
    return state.st_mtime if state else math.inf


def _read(path: Path) -> float:
    """The last use of a file that is only read: file systems note it once a day (relatime)."""
    state = _state(path)
    if state is None:
        return math.inf
    return state.st_mtime if stat.S_ISDIR(state.st_mode) else max(state.st_mtime, state.st_atime)


def _changed(path: Path) -> float:
    """When it was written, renamed, or last linked into a dist/."""
    state = _state(path)
    return max(state.st_mtime, state.st_ctime) if state else math.inf


def _state(path: Path) -> os.stat_result | None:
    """None for what another process removed meanwhile."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
