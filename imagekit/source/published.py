"""A published module on disk: its zip, checked by Go's own rules, as a read-only tree. Touches disk.

The rules are those of golang.org/x/mod/zip: at most 500 MiB packed and unpacked, every name below `module@version/`
and valid, none twice or differing only in case, go.mod and LICENSE at most 16 MiB, no other go.mod. Beyond them links
and devices, which Go would write as files, are refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imagekit.content import CHUNK
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.source import dirhash
from imagekit.source.modpath import check_file, check_module, is_version
from imagekit.unfinished import uncut, unfinished

if TYPE_CHECKING:
    import zipfile

_SMALL = 16 << 20
"""Bytes that go.mod and LICENSE may have (MaxGoMod, MaxLICENSE)."""


def extract(zip_path: Path, module: str, version: str, into: Path, *, h1: str = "") -> Path:
    """The folder `into`, holding the module's files: files 0444, folders 0555, whatever the umask.

    Whole or not at all; if `into` is there already it is returned as it is. With `h1` the bytes that were written are
    known to have that hash. Raises `UnreadableError` for a zip that Go would refuse, `IntegrityError` for another hash.
    """
    if into.is_dir():
        return into
    prefix = f"{module}@{version}/"
    check_module(module)
    if not is_version(version):
        raise UnreadableError(f"{version!r} is not a canonical version", hint="write it as v1.2.3")
    into.parent.mkdir(parents=True, exist_ok=True)
    with _staged(into) as folder, dirhash.open_zip(zip_path) as archive:
        digests = {}
        for entry in checked(archive, prefix, zip_path):
            digests[entry.filename] = _write(archive, entry, folder / entry.filename.removeprefix(prefix))
        found = dirhash.h1(digests)
        if h1 and found != h1:
            raise IntegrityError(
                f"{zip_path} has the hash {found}, {module} {version} must have {h1}",
                hint="remove it from the module cache (`go clean -modcache`) and fetch it again",
            )
    return into


def checked(archive: zipfile.ZipFile, prefix: str, zip_path: Path) -> list[zipfile.ZipInfo]:
    """The files of the zip, in its order, once every rule holds; folders are left out."""
    seen: dict[str, tuple[str, bool]] = {}
    files = []
    for entry in archive.infolist():
        name = _name_inside(entry, prefix, zip_path)
        if not name:
            continue
        folder = name.endswith("/")
        check_file(name.removesuffix("/"))
        _check_kind(entry, folder, zip_path)
        _check_collision(seen, name.removesuffix("/"), folder, zip_path)
        if not folder:
            _check_special(entry, name, zip_path)
            files.append(entry)
    return files


def _name_inside(entry: zipfile.ZipInfo, prefix: str, zip_path: Path) -> str:
    if entry.orig_filename != entry.filename or not entry.filename.startswith(prefix):
        raise UnreadableError(f"{zip_path}: {entry.orig_filename!r} is not below {prefix}")
    return entry.filename.removeprefix(prefix)


def _check_kind(entry: zipfile.ZipInfo, folder: bool, zip_path: Path) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG) or entry.flag_bits & 1:
        raise UnreadableError(
            f"{zip_path}: {entry.filename!r} is a link, a device or encrypted; a module has files only"
        )


def _check_collision(seen: dict[str, tuple[str, bool]], name: str, folder: bool, zip_path: Path) -> None:
    """No two names may be one on a file system that ignores case; no name may be both file and folder."""
    while name:
        earlier, was_folder = seen.setdefault(_folded(name), (name, folder))
        if earlier != name or was_folder != folder:
            raise UnreadableError(f"{zip_path}: {earlier!r} and {name!r} cannot both be there")
        if not folder and seen.get(f"\0{name}"):
            raise UnreadableError(f"{zip_path}: {name!r} is in it twice")
        if not folder:
            seen[f"\0{name}"] = (name, False)
        name, folder = name.rpartition("/")[0], True


def _folded(name: str) -> str:
    """Equal for names that differ in case only, letter by letter (strings.EqualFold)."""
    return "".join(c.casefold() if len(c.casefold()) == 1 else c for c in name)


def _check_special(entry: zipfile.ZipInfo, name: str, zip_path: Path) -> None:
    if name.rpartition("/")[2].lower() == "go.mod" and name != "go.mod":
        raise UnreadableError(f"{zip_path}: {name!r}: the only go.mod of a module is at its top")
    if name in ("go.mod", "LICENSE") and entry.file_size > _SMALL:
        raise UnreadableError(f"{zip_path}: {name} is larger than {_SMALL} bytes")


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> str:
    """Write one file, mode 0444; its SHA-256 in hex."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state, left = hashlib.sha256(), entry.file_size
    with archive.open(entry) as source, path.open("xb") as out:
        while piece := source.read(CHUNK):
            left -= len(piece)
            if left < 0:
                break
            state.update(piece)
            out.write(piece)
        os.fchmod(out.fileno(), 0o444)
    if left:
        raise UnreadableError(f"{entry.filename!r} has not the {entry.file_size} bytes that its header promises")
    return state.hexdigest()


@contextmanager
def _staged(into: Path) -> Iterator[Path]:
    """A folder beside `into` that takes its place, read-only, when the block ends well; else it is gone."""
    staging = into.with_name(f".{into.name}.{os.urandom(4).hex()}.part")
    with unfinished(lambda: staging.mkdir(mode=0o700), lambda _: remove(staging)):
        try:
            yield staging
            with uncut():
                for folder in _folders(staging):
                    folder.chmod(0o555)
                _place(staging, into)
        except BaseException:
            remove(staging)
            raise


def _place(staging: Path, into: Path) -> None:
    try:
        staging.rename(into)
    except OSError:
        if not into.is_dir():
            raise
        remove(staging)  # another process was first, with the same bytes


def _folders(top: Path) -> Iterator[Path]:
    """All folders of the tree, the deepest first, so that each is still writable when its children change."""
    for folder, _, _ in os.walk(top, topdown=False):
        yield Path(folder)


def remove(tree: Path) -> None:
    """Delete a read-only tree."""
    import shutil

    for folder, _, _ in os.walk(tree):
        Path(folder).chmod(0o700)
    if tree.exists():
        shutil.rmtree(tree)
