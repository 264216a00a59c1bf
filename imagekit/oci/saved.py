"""A docker archive (`docker save`, `podman save`) as a blob store with one manifest an image. Reads through `Opened`.

Its manifest.json names configurations and layers by path; what an OCI store would call their descriptors is made here:
a layer that is not compressed has the digest that the configuration promises, a compressed one is hashed.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

import msgspec

from imagekit.content import Digest, digest_of, hash_stream, parse_json
from imagekit.errors import FormatError, IntegrityError, UnreadableError, UsageError
from imagekit.oci.blobs import MissingBlobError
from imagekit.oci.documents import (
    CONFIG,
    DOCUMENT_LIMIT,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_ZSTD,
    MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
    decode_config,
    encode,
)
from imagekit.oci.headers import FILE, FOLDER, LINK, heads
from imagekit.oci.inflate import GZIP, ZSTD
from imagekit.oci.members import MOST_MEMBERS, Member, safe_path
from imagekit.oci.parcel import NamedImage
from imagekit.oci.reference import Reference
from imagekit.oci.sealed import Opened

LISTING = "manifest.json"
_COMPRESSED = ((GZIP, LAYER_GZIP), (ZSTD, LAYER_ZSTD))
_MOST_IMAGES = 1000


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


class Saved:
    """The blobs of a docker archive, found by digest; `images` in the order of the archive."""

    def __init__(self, source: Opened) -> None:
        """Read what stands in the archive; raises `UnreadableError` for another kind of tar.

        Raises `FormatError` for a damaged one, `IntegrityError` for an image that counts its layers in two ways.
        """
        self._source = source
        self._members, self._links = _members(source)
        self._held: dict[Digest, bytes | Member] = {}
        self._ids: dict[Digest, Digest] = {}
        self._hashed: dict[Member, Digest] = {}
        entries = self._listed()
        self.images = tuple(self._image(entry) for entry in entries)

    def __str__(self) -> str:
        return str(self._source)

    def has(self, digest: Digest, /) -> bool:
        return digest in self._held

    def open(self, digest: Digest, /) -> BinaryIO:
        held = self._held.get(digest)
        if held is None:
            raise MissingBlobError(f"blob {digest} is not in {self}")
        return io.BytesIO(held) if isinstance(held, bytes) else self._source.open(held.offset, held.size)

    def id_of(self, image: NamedImage) -> Digest:
        """What engines call the image: the digest of its configuration."""
        return self._ids[image.descriptor.digest]

    def meant(self, name: str, digest: str = "") -> tuple[NamedImage, ...]:
        """The one image of this name, or of this digest (its id, as engines have it); all of them for neither.

        A name may leave out what stands before a slash, and `:latest`. Raises `UnreadableError` that lists the names.
        """
        found = list(self.images)
        if digest:
            found = [
                image for image in found if digest in (self._ids[image.descriptor.digest], image.descriptor.digest)
            ]
        elif name:
            found = list(_called(self.images, name))
        if (name or digest) and len(found) != 1:
            known = ", ".join(tag for image in self.images for tag in image.docker_tags or (f"@{image.ref_name}",))
            raise UnreadableError(
                f"{self} holds {'no' if not found else 'more than one'} image {digest or repr(name)}",
                hint=f"it holds {known}",
            )
        return tuple(found)

    def _listed(self) -> tuple[_Entry, ...]:
        try:
            entries = parse_json(self._small(LISTING), tuple[_Entry, ...])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableError(f"{LISTING} in {self}: {error}") from error
        if not 0 < len(entries) <= _MOST_IMAGES:
            raise UnreadableError(f"{LISTING} in {self} lists {len(entries)} images")
        return entries

    def _image(self, entry: _Entry) -> NamedImage:
        raw = self._small(entry.config)
        config = decode_config(raw)
        if len(entry.layers) != len(config.rootfs.diff_ids):
            raise IntegrityError(f"{self}: {entry.config} counts the layers in another way than {LISTING}")
        layers = tuple(self._layer(path, number, config) for number, path in enumerate(entry.layers))
        described = self._kept(raw, CONFIG)
        manifest = self._kept(encode(Manifest(config=described, layers=layers)), MANIFEST)
        self._ids[manifest.digest] = described.digest
        tags = entry.repo_tags or ()
        return NamedImage(manifest, tags[0] if tags else described.digest, tags)

    def _kept(self, raw: bytes, media_type: str) -> Descriptor:
        digest = digest_of(raw)
        self._held[digest] = raw
        return Descriptor(media_type, digest, len(raw))

    def _layer(self, path: str, number: int, config: ImageConfig) -> Descriptor:
        member = self._member(path)
        start = self._source.read_at(member.offset, min(4, member.size))
        media_type = next((kind for magic, kind in _COMPRESSED if start.startswith(magic)), LAYER_TAR)
        digest = config.rootfs.diff_ids[number]
        if media_type != LAYER_TAR:
            digest = self._hashed.get(member) or self._hash(member)
        self._held[digest] = member
        return Descriptor(media_type, digest, member.size)

    def _hash(self, member: Member) -> Digest:
        """The digest of a compressed layer, once however many images have it."""
        with self._source.open(member.offset, member.size) as stream:
            self._hashed[member], _ = hash_stream(stream)
        return self._hashed[member]

    def _small(self, path: str) -> bytes:
        member = self._member(path)
        if member.size > DOCUMENT_LIMIT:
            raise FormatError(f"{self}: {path!r} has {member.size} bytes", offset=member.offset)
        return self._source.read_at(member.offset, member.size)

    def _member(self, path: str) -> Member:
        """A file by its path in the archive; a link (docker before 25 writes some) leads to another file of it."""
        member = self._members.get(self._links.get(path, path))
        if member is None:
            hint = "name a tar of `docker save`; for an OCI layout in a tar write oci-archive:FILE"
            raise UnreadableError(f"{self} holds no {path!r}", hint=hint)
        return member


def _called(images: tuple[NamedImage, ...], name: str) -> Iterator[NamedImage]:
    """Those that have `name`, under it alone; where none has it as it is, those that have it with more before it."""
    exact = [(image, tag) for image in images for tag in image.docker_tags if tag == name]
    near = [(image, tag) for image in images for tag in image.docker_tags if _is_near(tag, name)]
    for image, tag in exact or near:
        yield NamedImage(image.descriptor, tag, (tag,))


def _is_near(tag: str, name: str) -> bool:
    fulls = [tag]
    with suppress(UsageError):
        fulls.append(str(Reference.parse(tag)))
    shorter = [full.removesuffix(":latest") for full in fulls]
    return any(full == name or full.endswith(f"/{name}") for full in (*fulls, *shorter))


def _members(source: Opened) -> tuple[dict[str, Member], dict[str, str]]:
    """Files by path, and where links inside the archive lead; a path that leaves it is a `FormatError`."""
    found: dict[str, Member] = {}
    links: dict[str, str] = {}
    for head in heads(source, (FILE, FOLDER, LINK)):
        if head.content + head.size > source.size:
            raise FormatError(f"{source}: {head.name!r} is cut", offset=head.content)
        path = head.name.removeprefix("./")
        if head.kind == FOLDER:
            continue
        if path in found or path in links or len(found) + len(links) >= MOST_MEMBERS:
            raise FormatError(f"{source}: {path!r} stands in it twice, or is one of too many", offset=head.start)
        if head.kind == LINK:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), head.target))
            links[path] = safe_path(source, target, head)
        else:
            found[safe_path(source, path, head)] = Member(head.content, head.size)
    return found, links
