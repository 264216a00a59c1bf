"""Layers: entries become one deterministic tar, compressed and hashed in one pass. Reads the files it packs.

The bytes depend on the entries, `mtime` and what `Compression.identity` says alone. The compressor is always fed whole
pieces of 1 MiB, since what isal gives depends on how its input is cut (seen: seven feeds of one file, seven outputs).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from imagekit.content import CHUNK, Digest, digest_of
from imagekit.errors import ConfigError, IntegrityError, UnreadableError
from imagekit.oci import tar
from imagekit.oci.blobs import BlobStore
from imagekit.oci.documents import LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, Descriptor
from imagekit.oci.files import open_regular

Algorithm = Literal["gzip", "zstd", "none"]
MEDIA_TYPES: dict[Algorithm, str] = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "none": LAYER_TAR}
_DEFAULT: dict[Algorithm, int] = {"gzip": 2, "zstd": 3, "none": 0}
_LEVELS: dict[Algorithm, range] = {"gzip": range(1, 3), "zstd": range(1, 20), "none": range(1)}
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952 2.3: deflate, no flags, no time, no extra flags, unknown operating system."""

_SAMPLE = 32 << 10
"""Bytes: 8 KiB were enough for all outputs seen to differ."""


class Entry(msgspec.Struct, frozen=True):
    """One member of a layer: `path` without a leading slash, mode as `chmod` takes it.

    A file's `content` is bytes or a path that is read when it is packed; with `digest` it must still be those bytes
    then. A link's `target` is where it points.
    """

    path: str
    kind: tar.Kind = "file"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    content: bytes | Path = b""
    target: str = ""
    digest: Digest | None = None


class Compression(msgspec.Struct, frozen=True):
    """How layers are compressed; `default` is isal level 2 for gzip, level 3 for zstd."""

    algorithm: Algorithm = "gzip"
    level: int | Literal["default"] = "default"

    def __post_init__(self) -> None:
        allowed = _LEVELS[self.algorithm]
        if self.level != "default" and self.level not in allowed:
            raise ConfigError(
                f"compression level {self.level} of {self.algorithm} is not between {allowed[0]} and {allowed[-1]}",
                hint="write `level: default`; gzip above 2 gives other bytes on other CPUs",
            )

    @property
    def number(self) -> int:
        return _DEFAULT[self.algorithm] if self.level == "default" else self.level

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.algorithm]

    @property
    def identity(self) -> str:
        """What decides the bytes beside the input: compressor, version and level; `none` for no compressor.

        `isal 1.9.1 level 2, sample 3e3a60a8` ends in the start of a fixed input's SHA-256, packed here: one version of
        isal gives other bytes on ARM64, and on x86-64 without SSE4.2. `zstandard 0.25.0 (zstd 1.5.7) level 3` does not.
        """
        match self.algorithm:
            case "gzip":
                import isal

                return f"isal {isal.__version__} level {self.number}, sample {_sample(self.number)}"
            case "zstd":
                import zstandard

                library = ".".join(map(str, zstandard.ZSTD_VERSION))
                return f"zstandard {zstandard.__version__} (zstd {library}) level {self.number}"
            case "none":
                return "none"


class Layer(msgspec.Struct, frozen=True):
    """A layer in a store; `diff_id` is the digest of its uncompressed tar."""

    descriptor: Descriptor
    diff_id: Digest


def write_layer(
    store: BlobStore, entries: Sequence[Entry], *, mtime: int, compression: Compression | None = None
) -> Layer:
    """Pack `entries` into a layer in `store`, in constant memory.

    Members stand in the order of their path bytes, every parent folder once before them (0755 unless it is an entry),
    owner names empty, `mtime` (seconds since 1970) the same for all. Raises `ConfigError` for two entries at one path
    or a path that leaves the layer, `UnreadableError` and `IntegrityError` for files that cannot be packed as promised.
    """
    chosen = compression or Compression()
    with _PackedTar(complete(entries), mtime, chosen) as packed:
        digest, size = store.add(packed)
    return Layer(Descriptor(chosen.media_type, digest, size), packed.diff_id)


def complete(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries with all their parent folders, in the order in which they are packed; checked."""
    found: dict[str, Entry] = {}
    for entry in entries:
        _check(entry)
        if found.setdefault(entry.path, entry) is not entry:
            raise ConfigError(f"two entries at /{entry.path} in one layer", hint="keep one of them")
    for entry in entries:
        for parent in parents(entry.path):
            if found.setdefault(parent, Entry(parent, "dir", 0o755)).kind != "dir":
                raise ConfigError(f"/{entry.path} is inside /{parent}, which is no folder", hint="move one of them")
    return tuple(sorted(found.values(), key=lambda entry: entry.path.encode()))


def _check(entry: Entry) -> None:
    parts = entry.path.split("/")
    if not entry.path.isprintable() or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(f"{entry.path!r} cannot be a path in a layer", hint="write it as usr/share/app/file")
    if (entry.kind == "link") != bool(entry.target) or "\0" in entry.target:
        raise ConfigError(f"/{entry.path}: a link needs a target, and only a link has one")
    if min(entry.uid, entry.gid) < 0 or entry.mode & ~0o7777:
        raise ConfigError(f"/{entry.path}: mode {entry.mode:o}, owner {entry.uid}:{entry.gid} cannot be")


def parents(path: str) -> Iterator[str]:
    """The folders above a path in a layer, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


class _Compressor(Protocol):
    def compress(self, piece: bytes | memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Gzip:
    """isal's deflate between our own header and trailer."""

    def __init__(self, level: int) -> None:
        from isal import isal_zlib

        self._deflate: _Compressor = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
        self._crc32 = isal_zlib.crc32
        self._crc, self._size, self._header = 0, 0, _GZIP_HEADER

    def compress(self, piece: bytes | memoryview, /) -> bytes:
        self._crc = self._crc32(piece, self._crc)
        self._size += len(piece)
        header, self._header = self._header, b""
        return header + self._deflate.compress(piece)

    def flush(self) -> bytes:
        trailer = self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._header + self._deflate.flush() + trailer


class _Plain:
    def compress(self, piece: bytes | memoryview, /) -> bytes:
        return bytes(piece)

    def flush(self) -> bytes:
        return b""


@cache
def _sample(level: int) -> str:
    mixed = bytes(byte & 15 for byte in hashlib.shake_128(b"imagekit").digest(_SAMPLE))
    packer = _Gzip(level)
    return hashlib.sha256(packer.compress(mixed) + packer.flush()).hexdigest()[:8]


def _compressor(compression: Compression) -> _Compressor:
    match compression.algorithm:
        case "gzip":
            return _Gzip(compression.number)
        case "zstd":
            import zstandard

            return zstandard.ZstdCompressor(level=compression.number).compressobj()
        case "none":
            return _Plain()


class _PackedTar:
    """The compressed tar as a stream; `diff_id` is right once all of it was read."""

    def __init__(self, entries: tuple[Entry, ...], mtime: int, compression: Compression) -> None:
        self._state = hashlib.sha256()
        self._compressor = _compressor(compression)
        self._tar = _filled(_members(entries, mtime))
        self._packed = self._pieces()
        self._rest = memoryview(b"")

    def __enter__(self) -> _PackedTar:
        return self

    def __exit__(self, *_: object) -> None:
        self._packed.close()
        self._tar.close()

    @property
    def diff_id(self) -> Digest:
        return Digest("sha256:" + self._state.hexdigest())

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; all for a negative one."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while not self._rest and (piece := next(self._packed, None)) is not None:
            self._rest = memoryview(piece)
        taken, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return taken

    def _pieces(self) -> Generator[bytes]:
        for piece in self._tar:
            self._state.update(piece)
            yield self._compressor.compress(piece)
        yield self._compressor.flush()


def _filled(parts: Iterator[_Part]) -> Generator[memoryview]:
    """All bytes of all parts in pieces of exactly 1 MiB, the last one shorter; a piece is good until the next."""
    buffer = memoryview(bytearray(CHUNK))
    used = 0
    for part in parts:
        while count := part.readinto(buffer[used:]):
            used += count
            if used == CHUNK:
                yield buffer
                used = 0
    if used:
        yield buffer[:used]


class _Part(Protocol):
    def readinto(self, buffer: memoryview, /) -> int: ...


def _members(entries: tuple[Entry, ...], mtime: int) -> Iterator[_Part]:
    for entry in entries:
        if entry.kind == "file" and isinstance(entry.content, Path):
            with _open(entry.content) as file:
                size = os.fstat(file.fileno()).st_size
                yield io.BytesIO(_header(entry, size, mtime))
                yield _Promised(file, size, entry)
        else:
            content = _bytes_of(entry)
            size = len(content)
            yield io.BytesIO(_header(entry, size, mtime) + content)
        yield io.BytesIO(bytes(tar.padding(size)))
    yield io.BytesIO(tar.END)


def _bytes_of(entry: Entry) -> bytes:
    content = entry.content if entry.kind == "file" and isinstance(entry.content, bytes) else b""
    if entry.digest not in (None, found := digest_of(content)):
        raise IntegrityError(f"/{entry.path}: bytes of {found}, {entry.digest} were promised")
    return content


def _header(entry: Entry, size: int, mtime: int) -> bytes:
    return tar.header(
        entry.path,
        entry.kind,
        mode=entry.mode,
        size=size,
        mtime=mtime,
        uid=entry.uid,
        gid=entry.gid,
        target=entry.target,
    )


def _open(path: Path) -> io.FileIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise UnreadableError(f"{path} cannot be packed: {error.strerror}") from error


class _Promised:
    """A file's bytes, while they are as many as were found at first and, at the end, of the digest promised."""

    def __init__(self, file: io.FileIO, size: int, entry: Entry) -> None:
        self._file, self._left, self._entry = file, size, entry
        self._state = hashlib.sha256() if entry.digest else None

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._left:
            self._finish()
            return 0
        count = self._file.readinto(buffer[: self._left])
        if not count:
            raise self._changed("became shorter")
        self._left -= count
        if self._state is not None:
            self._state.update(buffer[:count])
        return count

    def _finish(self) -> None:
        if self._file.read(1):
            raise self._changed("became longer")
        if self._state is not None and "sha256:" + self._state.hexdigest() != self._entry.digest:
            raise self._changed(f"is no longer {self._entry.digest}: it was changed after it was made or")

    def _changed(self, how: str) -> IntegrityError:
        return IntegrityError(f"{self._entry.content!s} {how} while it was packed", hint="build again")
