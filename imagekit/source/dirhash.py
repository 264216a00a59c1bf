"""The `h1:` hash of a module: SHA-256 over the sorted list of its files' SHA-256 (golang.org/x/mod/sumdb/dirhash).

Reads files and zips.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from imagekit.content import CHUNK, Readable, hash_file, hex_of
from imagekit.errors import UnreadableError

if TYPE_CHECKING:
    import zipfile

MAX_SIZE = 500 << 20
"""Bytes of a module zip, and of all that is in it (golang.org/x/mod/zip MaxZipFile)."""
MAX_FILES = 1 << 20
"""Entries; a central directory of 500 MiB could hold ten times as many."""


def h1(digests: Mapping[str, str]) -> str:
    """The hash of a tree whose files (full names, `module@version/path`) have these SHA-256 in hex."""
    summary = hashlib.sha256()
    for name in sorted(digests):
        if "\n" in name:
            raise UnreadableError(f"{name!r}: a module has no file names with newlines")
        summary.update(f"{digests[name]}  {name}\n".encode())
    return "h1:" + base64.b64encode(summary.digest()).decode()


def h1_zip(path: Path) -> str:
    """The hash of a module zip, as in go.sum.

    Raises `UnreadableError` for what is no zip, has an entry twice or is larger than Go allows.
    """
    digests: dict[str, str] = {}
    with open_zip(path) as archive:
        for entry in archive.infolist():
            if entry.filename in digests:
                raise UnreadableError(f"{path}: {entry.filename} is in it twice")
            with archive.open(entry) as stream:
                digests[entry.filename] = hash_entry(stream, entry.file_size)
    return h1(digests)


def h1_tree(files: Mapping[str, Path]) -> str:
    """The hash of files on disk, each under its full name (`module@version/path`)."""
    return h1({name: hex_of(hash_file(path)[0]) for name, path in files.items()})


def h1_folder(folder: Path, prefix: str) -> str:
    """The hash of all regular files in `folder`, named `prefix/path`; a symbolic link raises `UnreadableError`."""
    return h1_tree({f"{prefix}/{name}": folder / name for name in walk(folder)})


def walk(folder: Path) -> Iterator[str]:
    """The relative names of all files in a folder, sorted; anything but files and folders raises `UnreadableError`."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UnreadableError(f"{path} is neither a file nor a folder", hint="a module holds plain files only")
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def hash_entry(stream: Readable, size: int) -> str:
    """SHA-256 in hex of an entry; raise `UnreadableError` unless it has the size that was promised."""
    state, seen = hashlib.sha256(), 0
    while piece := stream.read(CHUNK):
        seen += len(piece)
        if seen > size:
            break
        state.update(piece)
    if seen != size:
        raise UnreadableError(f"an entry of the zip has not the {size} bytes that its header promises")
    return state.hexdigest()


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip, once its size, number of entries and promised content are within bounds.

    What zipfile raises in the block becomes `UnreadableError`.
    """
    import zipfile
    import zlib

    try:
        if path.stat().st_size > MAX_SIZE:
            raise UnreadableError(f"{path} is larger than {MAX_SIZE} bytes, which no module zip may be")
        with zipfile.ZipFile(path, metadata_encoding="utf-8") as archive:
            entries = archive.infolist()
            if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > MAX_SIZE:
                raise UnreadableError(f"{path} unpacks to more than {MAX_SIZE} bytes or {MAX_FILES} files")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        # RuntimeError: an encrypted entry, an unknown compression; ValueError: a name that is not UTF-8.
        raise _broken(path, error) from error
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror or error}") from error


def _broken(path: Path, error: Exception) -> UnreadableError:
    return UnreadableError(
        f"{path} is not a readable module zip: {error}",
        hint="remove it from the module cache and fetch it again (`go clean -modcache` removes all)",
    )
