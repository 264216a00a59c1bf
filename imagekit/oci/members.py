"""The files inside a tar, by path, without unpacking it; and the blobs among them as a store.

Reads through `Opened`, so nothing is read but headers until somebody asks for a member. `canonical` takes only the
tar that `oci.hybrid` writes; `foreign` takes archives of other tools (skopeo, docker save), files and folders only.
"""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from imagekit.content import Digest
from imagekit.errors import FormatError
from imagekit.oci import tar
from imagekit.oci.blobs import MissingBlobError
from imagekit.oci.headers import FILE, FOLDER, Head, heads
from imagekit.oci.hybrid import blob_path, header
from imagekit.oci.sealed import Opened

MOST_MEMBERS = 200_000


class Member(msgspec.Struct, frozen=True):
    """Where a file's content lies in the tar, in bytes."""

    offset: int
    size: int


def canonical(source: Opened) -> dict[str, Member]:
    """The members of a tar that is exactly as `oci.hybrid` writes it, in their order.

    Raises `FormatError` for any header with other bytes than `header` gives, a path twice, padding that is not zero, a
    missing end, or anything after it. So no other tar reader can see other files in it.
    """
    found: dict[str, Member] = {}
    end = 0
    for head in heads(source, (FILE,)):
        expected = _expected(head)
        if len(expected) != head.content - head.start or source.read_at(head.start, len(expected)) != expected:
            raise FormatError(
                f"{source}: the header of {head.name!r} is not one that imagekit writes", offset=head.start
            )
        gap = source.read_at(head.content + head.size, tar.padding(head.size))
        if gap.strip(b"\0") or head.end > source.size:
            raise FormatError(f"{source}: {head.name!r} is cut, or not padded with zeros", offset=head.content)
        _add(found, head.name, head, source)
        end = head.end
    if source.read_at(end, len(tar.END) + 1) != tar.END:
        raise FormatError(f"{source}: the tar does not end where its last file ends", offset=end)
    return found


def foreign(source: Opened) -> dict[str, Member]:
    """The files of any ustar, pax or GNU tar without links and devices; raises `FormatError`."""
    found: dict[str, Member] = {}
    for head in heads(source, (FILE, FOLDER)):
        if head.content + head.size > source.size:
            raise FormatError(f"{source}: {head.name!r} is cut", offset=head.content)
        if head.kind != FOLDER:
            _add(found, head.name.removeprefix("./"), head, source)
    return found


class TarStore:
    """The blobs of an OCI layout in a tar, as a `BlobReader`."""

    def __init__(self, source: Opened, members: dict[str, Member]) -> None:
        self.source, self.members = source, members

    def __str__(self) -> str:
        return str(self.source)

    def has(self, digest: Digest, /) -> bool:
        return blob_path(digest) in self.members

    def open(self, digest: Digest, /) -> BinaryIO:
        return self.open_file(blob_path(digest))

    def open_file(self, path: str) -> BinaryIO:
        """Any member as a stream; raises `MissingBlobError`."""
        member = self.members.get(path)
        if member is None:
            raise MissingBlobError(f"{self} holds no {path}", hint="make it again: a file is missing")
        return self.source.open(member.offset, member.size)

    def read_file(self, path: str, limit: int) -> bytes:
        """A small member whole; raises `FormatError` for one of more than `limit` bytes."""
        member = self.members.get(path)
        if member is not None and member.size > limit:
            raise FormatError(f"{self}: {path} has {member.size} bytes, more than {limit}", offset=member.offset)
        with self.open_file(path) as stream:
            return stream.read()


def _expected(head: Head) -> bytes:
    """What the one right header would be; nothing equals b""."""
    try:
        return header(head.name, head.size)
    except (ValueError, UnicodeError):
        return b""


def _add(found: dict[str, Member], path: str, head: Head, source: Opened) -> None:
    if path in found or len(found) >= MOST_MEMBERS:
        why = "stands in it twice" if path in found else f"is one file of more than {MOST_MEMBERS}"
        raise FormatError(f"{source}: {path!r} {why}", offset=head.start)
    found[safe_path(source, path, head)] = Member(head.content, head.size)


def safe_path(source: Opened, path: str, head: Head) -> str:
    """`path`, if it stays inside the archive; raises `FormatError` otherwise."""
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        raise FormatError(f"{source}: {path!r} leaves the archive", offset=head.start)
    return path
