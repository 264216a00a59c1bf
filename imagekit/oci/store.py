"""Blob stores on this machine: memory, and the OCI image layout. Touches disk in `Layout`.

The contract that they keep stands in `blobs`.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import (
    CHUNK,
    Digest,
    Readable,
    digest_of,
    hash_file,
    hash_stream,
    hex_of,
    parse_digest,
    parse_json,
    write_whole,
)
from imagekit.errors import IntegrityError, UnreadableError, UsageError
from imagekit.oci.blobs import MissingBlobError, VerifyingReader
from imagekit.oci.documents import CONTAINERD_NAME, DOCUMENT_LIMIT, REF_NAME, Descriptor, Index, decode_index, encode
from imagekit.oci.files import cloned, linked, open_regular, write_all
from imagekit.oci.locks import locked
from imagekit.oci.parts import Part, begun
from imagekit.text import line


class Memory:
    """A store in memory: the small real twin for tests, and for documents that no disk needs to see."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}

    def __str__(self) -> str:
        return "memory"

    def has(self, digest: Digest, /) -> bool:
        return digest in self._blobs

    def open(self, digest: Digest, /) -> BinaryIO:
        try:
            return io.BytesIO(self._blobs[digest])
        except KeyError:
            raise MissingBlobError(f"blob {digest} is not in {self}") from None

    def add(self, stream: Readable, expected: Descriptor | None = None) -> tuple[Digest, int]:
        if expected is not None and expected.digest in self._blobs:
            return expected.digest, expected.size
        source = stream if expected is None else VerifyingReader(stream, expected)
        content = b"".join(iter(lambda: source.read(CHUNK), b""))
        digest = digest_of(content)
        self._blobs[digest] = content
        return digest, len(content)


_BEGUN = re.compile(r"\.(?:oci-layout|index\.json)\.[0-9a-f]{8}\.part|\.[0-9a-f]{16,64}\.(?:part|link)")
"""Files that a process which died has left."""


class _Version(msgspec.Struct, rename="camel"):
    image_layout_version: str


class Layout:
    """A store in an OCI image layout folder (image-layout.md): `oci-layout`, `index.json`, `blobs/sha256/<hex>`.

    Files are 0644 and folders 0755 whatever the umask. A blob is written beside `blobs` and renamed into its place; one
    that was left unfinished there is gone on with (see `parts`). With `durable` each is flushed to the disk first; a
    writer that publishes the whole folder in one step later (a staged build) says `durable=False` and saves that.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Open an existing layout; raise `UnreadableError` if `path` is none or of another version."""
        self.path, self.durable = path, durable
        raw = _read_small(path / "oci-layout", self)
        try:
            version = parse_json(raw, _Version).image_layout_version
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableError(f"{path}/oci-layout: {error}") from error
        if not version.startswith("1."):
            raise UnreadableError(f"{path} is an OCI layout of version {version!r}, only 1.x is read")

    @classmethod
    def create(cls, path: Path, *, durable: bool = True) -> Self:
        """Open the layout at `path`, made empty first if there is none, or one that was left half made.

        Raises `UsageError` for a place that holds anything else.
        """
        if path.exists() and not (path.is_dir() and ((path / "oci-layout").exists() or _may_become_layout(path))):
            raise UsageError(f"{path} holds files and is no OCI layout", hint="name an empty folder or a layout")
        _make_folders(path)
        with locked(path):
            if not (path / "oci-layout").exists():
                write_whole(path / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', durable=durable)
            if not (path / "index.json").exists():
                write_whole(path / "index.json", encode(Index(manifests=())), durable=durable)
            _make_folders(path, "blobs", "blobs/sha256")
        return cls(path, durable=durable)

    def __str__(self) -> str:
        return f"oci:{self.path}"

    def blob_path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self.path / "blobs/sha256" / hex_of(parse_digest(digest))

    def has(self, digest: Digest, /) -> bool:
        return self.blob_path(digest).is_file()

    def size_of(self, digest: Digest) -> int:
        """The size of the blob's file, -1 if there is none: a file cut by a crash is told from a whole one."""
        try:
            found = self.blob_path(digest).stat()
        except FileNotFoundError:
            return -1
        return found.st_size if stat.S_ISREG(found.st_mode) else -1

    def open(self, digest: Digest, /) -> BinaryIO:
        try:
            return open_regular(self.blob_path(digest))
        except FileNotFoundError:
            raise MissingBlobError(f"blob {digest} is not in {self}") from None
        except OSError as error:
            raise UnreadableError(f"blob {digest} in {self} cannot be read: {error.strerror}") from error

    def add(self, stream: Readable, expected: Descriptor | None = None) -> tuple[Digest, int]:
        if expected is None:
            with begun(self.path) as part:
                return self._settled(part, *_pour(stream, part.file))
        if self.size_of(expected.digest) == expected.size:
            return expected.digest, expected.size
        with begun(self.path, expected.digest) as part:
            part.fill(stream, expected, str(self))
            return self._settled(part, expected.digest, expected.size)

    def add_file(self, path: Path, digest: Digest | None = None, *, link: bool = False) -> tuple[Digest, int]:
        """Keep the content of a file; return its digest and size in bytes.

        Shares the file's extents where the file system can. With `link` it becomes a hard link where it can (same file
        system, mode 0644): only for files that nobody ever writes to again. What arrived is hashed; raises
        `IntegrityError`, and keeps nothing, if it is not `digest`.
        """
        with open_regular(path) as source:
            size = os.fstat(source.fileno()).st_size
            if digest is not None and self.size_of(digest) == size:
                return digest, size
            if link and (found := self._linked(path, digest)):
                return found
            with begun(self.path, digest) as part:
                part.clear()
                held = hash_stream(part.file) if cloned(source, part.file) else _pour(source, part.file)
                return self._settled(part, *_checked(path, held, digest))

    def index(self) -> Index:
        """`index.json`; raises `UnreadableError`."""
        return decode_index(_read_small(self.path / "index.json", self))

    def set_index(self, index: Index) -> None:
        """Replace `index.json` in one step; who changes one that others may change too calls `change_index`.

        Raises `UsageError` for one that would be too large to be read again.
        """
        raw = encode(index)
        if len(raw) > DOCUMENT_LIMIT:
            said = f"{self}: index.json would have {len(raw)} bytes, more than the {DOCUMENT_LIMIT} that are read"
            raise UsageError(said, hint="name another layout, or delete images that nobody needs")
        write_whole(self.path / "index.json", raw, durable=self.durable)

    def change_index(
        self, change: Callable[[tuple[Descriptor, ...]], Iterable[Descriptor]], cancellation: Cancellation | None = None
    ) -> None:
        """Replace the entries of `index.json` by what `change` makes of them; nobody else changes it meanwhile."""
        with locked(self.path, cancellation=cancellation):
            found = self.index()
            self.set_index(msgspec.structs.replace(found, manifests=tuple(change(found.manifests))))
            for left in self.path.glob(".index.json.*.part"):  # by a process that died
                left.unlink(missing_ok=True)

    def adding(self, cancellation: Cancellation | None = None) -> AbstractContextManager[None]:
        """While the block runs no blob is taken away (`sweeping`), so those that no entry names yet stay."""
        _make_folders(self.path, "blobs", "blobs/sha256")
        return locked(self.path / "blobs", shared=True, cancellation=cancellation)

    def sweeping(self, cancellation: Cancellation | None = None) -> AbstractContextManager[None]:
        """While the block runs nobody adds a blob; waits for those who do."""
        return locked(self.path / "blobs", cancellation=cancellation)

    def resolve(self, name: str = "") -> Descriptor:
        """The image that `index.json` calls `name` (reference name, containerd's name or digest); '' if it has one.

        Raises `UnreadableError` that lists the names there are.
        """
        entries = self.index().manifests
        named = tuple(entry for entry in entries if REF_NAME in entry.annotations) or entries
        found = {entry.digest: entry for entry in (entries if name else named) if not name or name in names_of(entry)}
        if len(found) == 1:
            return next(iter(found.values()))
        known = ", ".join(sorted(line(entry.annotations.get(REF_NAME, entry.digest)) for entry in named)) or "nothing"
        raise UnreadableError(
            f"{self} holds {'no' if not found else 'more than one'} image{f' {name!r}' if name else ''}",
            hint=f"name one as {self}:NAME; it holds {known}",
        )

    def _linked(self, path: Path, digest: Digest | None) -> tuple[Digest, int] | None:
        """Keep the file as a hard link; None where it cannot become one."""
        new = self.path / f".{os.urandom(8).hex()}.link"
        try:
            if not linked(path, new):
                return None
            found = _checked(path, hash_file(new), digest)
            self._place(new, found[0])
            return found
        finally:
            new.unlink(missing_ok=True)

    def _settled(self, part: Part, digest: Digest, size: int) -> tuple[Digest, int]:
        if self.durable:
            os.fsync(part.file.fileno())
        self._place(part.path, digest)
        return digest, size

    def _place(self, new: Path, digest: Digest) -> None:
        place = self.blob_path(digest)
        if not place.parent.is_dir():
            _make_folders(self.path, "blobs", "blobs/sha256")
        new.replace(place)


def _checked(path: Path, found: tuple[Digest, int], digest: Digest | None) -> tuple[Digest, int]:
    if digest not in (None, found[0]):
        raise IntegrityError(f"{path} holds bytes of {found[0]}, not of {digest}", hint="make the file again")
    return found


def names_of(entry: Descriptor) -> tuple[str, str, str]:
    """What an entry of `index.json` goes by: reference name and containerd's name, '' for none, and its digest."""
    return (entry.annotations.get(REF_NAME, ""), entry.annotations.get(CONTAINERD_NAME, ""), entry.digest)


def _may_become_layout(folder: Path) -> bool:
    """Whether a folder holds nothing but what `create` begins with."""
    return all(entry.name in ("blobs", "index.json") or _BEGUN.fullmatch(entry.name) for entry in folder.iterdir())


def _make_folders(path: Path, *below: str) -> None:
    for folder in (path, *(path / each for each in below)):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)


def _pour(source: Readable, file: io.FileIO) -> tuple[Digest, int]:
    state, size = hashlib.sha256(), 0
    while piece := source.read(CHUNK):
        state.update(piece)
        write_all(file, piece)
        size += len(piece)
    return Digest("sha256:" + state.hexdigest()), size


def _read_small(path: Path, where: object) -> bytes:
    try:
        with open_regular(path) as stream:
            content = stream.read(DOCUMENT_LIMIT + 1)
    except OSError as error:
        raise UnreadableError(
            f"{where} is not an OCI layout: {path.name}: {error.strerror}",
            hint="name a folder that holds oci-layout, index.json and blobs/",
        ) from error
    return content
