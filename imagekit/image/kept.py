"""What was packed before, so that a warm build compresses nothing. Touches disk (the cache folder).

A key is everything that decides the bytes: content digests, paths, modes, owners, times and the compressor's identity.
The record under a key names the packed bytes by digest, and they are hashed again before each reuse: bytes that were
changed are packed anew.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import msgspec

from imagekit.content import CHUNK, Digest, canonical_json, digest_of, hash_file, hex_of, parse_json, write_whole
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.blobs import BlobStore, put, read_verified
from imagekit.oci.documents import Descriptor
from imagekit.oci.layers import Compression, Entry, Layer, write_layer
from imagekit.oci.store import Layout
from imagekit.unfinished import unfinished

_FORMAT = 3
"""Raised when the same input gives other bytes (headers, records, a quoting filter): old records are then dead."""


class _Record(msgspec.Struct, frozen=True):
    """What a key became; `diff_id` is '' for a file that is no layer."""

    media_type: str
    digest: Digest
    size: int
    diff_id: str = ""


class LayerCache:
    """Packed layers and archives in one folder; safe for several threads and for several builds at once."""

    def __init__(self, directory: Path) -> None:
        """Use `directory`, which is made (0700) if it is missing."""
        self._records = directory / "keys"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._records.mkdir(mode=0o700, exist_ok=True)
            self._blobs = Layout.create(directory / "packed", durable=False)
        except OSError as error:
            raise UnreadableError(
                f"cannot keep packed layers in {directory}: {error.strerror}", hint="name another folder by --cache-dir"
            ) from error
        self.rebuilt: list[str] = []
        """A sentence for every kept blob that was not what it had been."""
        self._guard, self._locks = Lock(), dict[str, Lock]()

    def _alone(self, key: str) -> Lock:
        """What one thread holds while it packs for `key`: two platforms share their constant layers."""
        with self._guard:
            return self._locks.setdefault(key, Lock())

    def layer(self, store: BlobStore, entries: Sequence[Entry], *, mtime: int, compression: Compression) -> Layer:
        """The layer of `entries`, in `store`; packed only if it is not kept. Raises as `write_layer` does."""
        promised = tuple(map(with_digest, entries))
        key = _key("layer", [identity_of(entry) for entry in promised], mtime, compression.identity)
        with self._alone(key):
            return self._layer(key, store, promised, mtime, compression)

    def _layer(
        self, key: str, store: BlobStore, promised: tuple[Entry, ...], mtime: int, compression: Compression
    ) -> Layer:
        kept = self._read(key)
        if kept is not None and self._given(kept, store):
            return Layer(Descriptor(kept.media_type, kept.digest, kept.size), Digest(kept.diff_id))
        made = write_layer(self._blobs, promised, mtime=mtime, compression=compression)
        record = _Record(made.descriptor.media_type, made.descriptor.digest, made.descriptor.size, made.diff_id)
        if not self._given(record, store):
            raise IntegrityError(f"{self._blobs} does not keep what is written to it", hint="look at the disk")
        self._write(key, record)
        return made

    def file(self, path: Path, identity: Any, write: Callable[[BinaryIO], object]) -> tuple[Digest, int]:
        """A file (0644) at `path`, where none is yet, made by `write` only if one with this `identity` is not kept.

        Returns its digest and size in bytes.
        """
        key = _key("file", identity)
        kept = self._read(key)
        if kept is not None and self._placed(kept, path):
            return kept.digest, kept.size
        _written(path, write)
        digest, size = self._blobs.add_file(path)
        self._write(key, _Record("", digest, size))
        return digest, size

    def text(self, identity: Any, make: Callable[[], str]) -> str:
        """The text that `make` gives for `identity` (all that decides it); made only if it is not kept."""
        key = _key("text", identity)
        kept = self._read(key)
        if kept is not None and (found := self._verified(kept)) is not None:
            return found.decode()
        content = make().encode()
        stored = put(self._blobs, content, "")
        self._write(key, _Record("", stored.digest, stored.size))
        return content.decode()

    def _verified(self, record: _Record) -> bytes | None:
        try:
            return read_verified(self._blobs, Descriptor("", record.digest, record.size))
        except IntegrityError as error:
            self._drop(record, error.message)
        except UnreadableError:
            pass
        return None

    def _given(self, record: _Record, store: BlobStore) -> bool:
        """Whether the kept bytes are right and now in `store`."""
        promised = Descriptor(record.media_type, record.digest, record.size)
        try:
            if isinstance(store, Layout):
                store.add_file(self._blobs.blob_path(record.digest), record.digest, link=True)
            else:
                with self._blobs.open(record.digest) as stream:
                    store.add(stream, promised)
        except IntegrityError as error:
            self._drop(record, error.message)
            return False
        except (FileNotFoundError, UnreadableError):
            return False
        return True

    def _placed(self, record: _Record, path: Path) -> bool:
        """Whether the kept bytes are right and now at `path`; nothing is there otherwise."""
        kept = self._blobs.blob_path(record.digest)
        try:
            _link_or_copy(kept, path)
        except FileNotFoundError:
            return False
        if hash_file(path) == (record.digest, record.size):
            return True
        path.unlink()
        self._drop(record, f"{kept} holds other bytes than {record.digest}")
        return False

    def _drop(self, record: _Record, why: str) -> None:
        self.rebuilt.append(f"packed again: {why}")
        with suppress(FileNotFoundError):
            self._blobs.blob_path(record.digest).unlink()

    def _read(self, key: str) -> _Record | None:
        """The record of a key, its use noted in its time; None for one that is missing or cannot be read."""
        path = self._records / key
        try:
            record = parse_json(path.read_bytes(), _Record)
            os.utime(path)
            self._blobs.blob_path(record.digest)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, IntegrityError):
            return None
        return record

    def _write(self, key: str, record: _Record) -> None:
        """Not flushed: a record lost in a crash costs one packing."""
        write_whole(self._records / key, canonical_json(record), durable=False)


def _written(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """A new file, whole or not at all."""
    with unfinished(lambda: path.open("x+b"), lambda _: path.unlink()) as stream:
        try:
            with stream:
                os.fchmod(stream.fileno(), 0o644)
                write(stream)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def with_digest(entry: Entry) -> Entry:
    """The entry with the digest of its content, so that packing refuses any other."""
    if entry.kind != "file" or entry.digest is not None:
        return entry
    content = entry.content
    digest = hash_file(content)[0] if isinstance(content, Path) else digest_of(content)
    return msgspec.structs.replace(entry, digest=digest)


def identity_of(entry: Entry) -> list[str | int | None]:
    """All of an entry that decides the packed bytes; its content by digest, which it must have."""
    return [entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.target, entry.digest]


def _key(*identity: Any) -> str:
    return hex_of(digest_of(canonical_json([_FORMAT, *identity])))


def _link_or_copy(kept: Path, path: Path) -> None:
    """A link where that gives the same file; a copy across disks, and of a file whose mode was changed in dist/."""
    if stat.S_IMODE(kept.stat().st_mode) == 0o644:
        try:
            os.link(kept, path)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP):
                raise
        else:
            return
    with kept.open("rb") as source, path.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o644)
        shutil.copyfileobj(source, copy, CHUNK)
