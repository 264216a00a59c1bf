"""imagekit/bundle.json and the two lists of digests: what a bundle says of itself. Values only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from imagekit import __version__
from imagekit.content import Digest, hex_of, readable_json
from imagekit.errors import IntegrityError
from imagekit.image.words import timestamp
from imagekit.oci.blobs import BlobReader
from imagekit.oci.parcel import NamedImage
from imagekit.oci.trees import Runnable, Tree, runnables

DOCUMENT = "imagekit/bundle.json"
VOLUMES = "VOLUMES.sha256"
LIST_LIMIT = 64 << 20
"""Bytes of a list of digests: some 400 000 files."""
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f\\]{1,255})")


class BundledImage(msgspec.Struct, frozen=True):
    """One image: `ref` is what docker calls it, `name` what `index.json` calls it."""

    ref: str
    name: str
    digest: Digest
    platforms: tuple[str, ...]


class BundleDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """imagekit/bundle.json; `created` in RFC 3339, null where neither images nor SOURCE_DATE_EPOCH say one."""

    schema: Literal["urn:imagekit:bundle:v1"] = "urn:imagekit:bundle:v1"
    created: str | None
    images: tuple[BundledImage, ...]
    tools: dict[str, str] = {}


def describe(
    store: BlobReader, tree: Tree, images: Sequence[NamedImage], *, epoch: int | None = None
) -> BundleDocument:
    """What bundle.json says of these images; `epoch` (SOURCE_DATE_EPOCH, in seconds) overrides their own times."""
    inside = {image.ref_name: list(runnables(store, image.descriptor, tree)) for image in images}
    times = [one.config.created for found in inside.values() for one in found if one.config.created]
    created = timestamp(epoch) if epoch is not None else max(times, default=None)
    return BundleDocument(
        created=created,
        images=tuple(_bundled(image, inside[image.ref_name]) for image in images),
        tools={"imagekit": __version__},
    )


def encode(document: BundleDocument) -> bytes:
    """The bytes of bundle.json."""
    return readable_json(document)


def _bundled(image: NamedImage, found: Sequence[Runnable]) -> BundledImage:
    ref = image.docker_tags[0] if image.docker_tags else image.ref_name
    platforms = tuple(dict.fromkeys(str(one.config.platform) for one in found))
    return BundledImage(ref, image.ref_name, image.descriptor.digest, platforms)


def sums_line(digest: Digest, name: str) -> bytes:
    """One line as `sha256sum -c` reads it."""
    return f"{hex_of(digest)}  {name}\n".encode()


def read_sums(content: bytes, name: str) -> dict[str, Digest]:
    """Path to digest, from a list that `sha256sum -c` reads the same way; `name` is what an error calls it.

    Raises `IntegrityError` for a line of another shape or a path that stands there twice.
    """
    found: dict[str, Digest] = {}
    for number, digest, path in _lines(content, name):
        if path in found:
            raise IntegrityError(f"{name}:{number}: {path} is listed twice")
        found[path] = digest
    return found


def _lines(content: bytes, name: str) -> Iterator[tuple[int, Digest, str]]:
    text = content.decode("utf-8", "replace")
    if not text.endswith("\n"):
        raise IntegrityError(f"{name} is empty or cut")
    for number, line in enumerate(text[:-1].split("\n"), 1):
        match = _LINE.fullmatch(line)
        if not match:
            raise IntegrityError(f"{name}:{number}: not a line of sha256sum")
        yield number, Digest(f"sha256:{match[1]}"), match[2]
