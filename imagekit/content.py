"""Bytes and their names: digests, canonical JSON, hashing, and files that appear whole or not at all.

Touches disk in `hash_file`, `write_whole` and `whole_file`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO, NewType, Protocol, TypeVar

import msgspec

from imagekit.errors import IntegrityError, UsageError
from imagekit.unfinished import unfinished

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits (OCI image spec, descriptor.md#digests)."""

CHUNK = 1 << 20
T = TypeVar("T")
_PREPARED: set[object] = set()
_PREPARING = threading.Lock()
_DEVICES = Path("/dev")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def parse_digest(text: str) -> Digest:
    """The digest that `text` spells; raise `IntegrityError` for another algorithm or shape."""
    if not _SHA256.fullmatch(text):
        raise IntegrityError(f"{text!r} is not a sha256 digest")
    return Digest(text)


def hex_of(digest: Digest) -> str:
    """The 64 hex digits."""
    return digest.removeprefix("sha256:")


def digest_of(data: bytes) -> Digest:
    """SHA-256 of bytes already in memory."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def hash_stream(stream: Readable) -> tuple[Digest, int]:
    """Digest and size in bytes of all that is left in `stream`, read in 1 MiB pieces."""
    state, size = hashlib.sha256(), 0
    while piece := stream.read(CHUNK):
        state.update(piece)
        size += len(piece)
    return Digest("sha256:" + state.hexdigest()), size


def hash_file(path: Path) -> tuple[Digest, int]:
    """Digest and size in bytes of a file."""
    with path.open("rb") as stream:
        return hash_stream(stream)


def parse_json(raw: bytes | msgspec.Raw, kind: type[T], *, dec_hook: Callable[[Any, Any], Any] | None = None) -> T:
    """The JSON text as a value of that type; raises what `msgspec.json.decode` does."""
    return msgspec.json.decode(raw, type=prepared(kind), dec_hook=dec_hook)


def prepared(kind: type[T]) -> type[T]:
    """The same type, once msgspec has learnt it: two threads that teach it one type at a time crash the process."""
    if kind not in _PREPARED:
        with _PREPARING:
            msgspec.json.Decoder(kind)
            _PREPARED.add(kind)
    return kind


def canonical_json(value: Any) -> bytes:
    """Compact UTF-8 JSON with sorted keys: the same value gives the same bytes."""
    return msgspec.json.encode(value, order="sorted")


def readable_json(value: Any) -> bytes:
    """Sorted JSON, two spaces deep, with a final newline: for files that people open too."""
    return msgspec.json.format(canonical_json(value), indent=2) + b"\n"


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A stream whose bytes appear at `path` at once (fsync, then rename), or, after an error, not at all.

    The mode is 0644 whatever the umask. The parent folder is made if it is missing. Without `durable` nothing waits
    for the disk: a power cut may lose what a crash of this process may not. What processes that were killed left of the
    same file is removed. Raises `UsageError` for a device, a pipe or a socket, which a file cannot take the place of.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        _remove_abandoned(left)
    with _appearing(path, 0o644, durable) as stream:
        yield stream


def _remove_abandoned(part: Path) -> None:
    """Remove the file unless a process still writes to it, which has it locked."""
    with suppress(OSError):
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(descriptor)


def _begun(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, locked before anybody can take it for abandoned, and its stream."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
        stream = temporary.open("xb")
        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody was quicker, and removes it
            stream.close()
            continue
        except OSError:  # no locks here: then nobody removes anything
            return temporary, stream
        if temporary.exists():
            return temporary, stream
        stream.close()


def _check_replaceable(path: Path) -> None:
    """Raise `UsageError` for a device, a pipe or a socket: a rename would put a file where `/dev/null` was.

    `/dev/stdout` is a link, perhaps to a file, so nothing beside it is replaced either.
    """
    kind = stat.S_IFREG
    with suppress(OSError):
        kind = stat.S_IFMT(path.stat().st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR) or path.absolute().parent == _DEVICES:
        raise UsageError(f"{path} is a device or a pipe, and a file would take its place", hint="name a file")


@contextmanager
def _appearing(path: Path, mode: int, durable: bool) -> Iterator[BinaryIO]:
    _check_replaceable(path)
    with unfinished(lambda: _begun(path), lambda begun: begun[0].unlink()) as (temporary, stream):
        try:
            with stream:
                os.fchmod(stream.fileno(), mode)
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
                temporary.replace(path)
        except BaseException as error:
            with suppress(FileNotFoundError):
                temporary.unlink()
            name_full(error, path)
            raise


def name_full(error: BaseException, path: Path) -> None:
    """Name `path` in an error of writing that names no file: a full disk, a used up quota, a file that is too large."""
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
        error.filename = str(path)


def write_whole(path: Path, content: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _appearing(path, mode, durable) as stream:
        stream.write(content)
