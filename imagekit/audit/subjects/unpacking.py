"""Images with what their layers hold; a layer that several share is read once. Touches disk, in a folder of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Self

import msgspec

from imagekit.audit.finding import Skip
from imagekit.audit.subject import Source, Subject
from imagekit.audit.subjects.ahead import Pair, read_ahead
from imagekit.audit.subjects.layers import Content, read_layer
from imagekit.audit.subjects.program import Wishes
from imagekit.audit.subjects.sourcing import SourceTree
from imagekit.cancellation import Cancellation
from imagekit.content import Digest
from imagekit.errors import ImagekitError, IntegrityError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import FOREIGN_LAYERS, Descriptor
from imagekit.oci.trees import Runnable
from imagekit.unfinished import temporary_folder

_TAR = re.compile(r".*\.tar(?:[.+](?:gzip|zstd))?")


class Image(msgspec.Struct, frozen=True):
    """One platform of one image; `ref` is what the user calls it, `kind` as in `Source`."""

    kind: str
    ref: str
    runnable: Runnable

    @property
    def label(self) -> str:
        return f"{self.ref}:{self.runnable.config.platform}"


class Unpacked(msgspec.Struct, frozen=True):
    """An image with the content of those layers that could be read, lowest first, and why others were not."""

    image: Image
    layers: tuple[tuple[Descriptor, Content], ...]
    sources: SourceTree | None = None
    skips: tuple[Skip, ...] = ()

    @property
    def contents(self) -> tuple[Content, ...]:
        return tuple(content for _, content in self.layers)

    @property
    def other(self) -> int:
        """Files in no executable format, in all layers."""
        return sum(content.other for content in self.contents)

    def subjects(self) -> Iterator[Subject]:
        """Every program of every layer, labelled `ref:platform:/path`."""
        for layer, content in self.layers:
            for member in content.programs:
                source = Source(
                    kind=self.image.kind,
                    ref=self.image.ref,
                    manifest=self.image.runnable.descriptor.digest,
                    platform=str(self.image.runnable.config.platform),
                    layer=layer.digest,
                    path=member.path,
                )
                yield from member.program.subjects(f"{self.image.label}:{member.path}", source, self.sources)


class Unpacker:
    """Reads images of one store; what it needs on the disk is gone after the `with`."""

    def __init__(self, store: BlobReader, wishes: Wishes, cancellation: Cancellation | None = None) -> None:
        self._store, self._wishes = store, wishes
        self.cancellation = cancellation or Cancellation()
        self._read: dict[Pair, Content | ImagekitError] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        self._folder = self._opened.enter_context(temporary_folder("imagekit-audit-"))
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def read_ahead(self, images: Sequence[Runnable], jobs: int) -> None:
        """Read the layers of all these images now, several at a time; the store must bear to be read by a fork."""
        layers = (pair for image in images if _is_counted(image) for pair in _pairs(image))
        wanted = [pair for pair in dict.fromkeys(layers) if not self._unread(pair[0])]
        for pair, found in read_ahead(self._layer, wanted, jobs=jobs, cancellation=self.cancellation):
            self._read[pair] = found

    def unpack(self, image: Image) -> Unpacked:
        """The image with its layers; raises as `read_layer` does, and where layers and diff ids do not pair."""
        layers, skips = [], []
        for layer, diff_id in _pairs(image.runnable):
            self.cancellation.check()
            if reason := self._unread(layer):
                skips.append(Skip(f"{image.label}:{layer.digest}", reason))
            else:
                layers.append((layer, self._content(layer, diff_id)))
        return Unpacked(image, tuple(layers), self._wishes.sources, tuple(skips))

    def _unread(self, layer: Descriptor) -> str:
        """Why a layer is passed over; '' for one that is read."""
        if layer.media_type in FOREIGN_LAYERS and not self._store.has(layer.digest):
            return "a layer whose bytes are kept elsewhere, and are not fetched from there"
        return "" if _TAR.fullmatch(layer.media_type) else f"a layer of the media type {layer.media_type!r}"

    def _content(self, layer: Descriptor, diff_id: Digest) -> Content:
        pair = (layer, diff_id)
        if pair not in self._read:
            self._read[pair] = self._layer(pair)
        found = self._read[pair]
        if isinstance(found, ImagekitError):
            raise found
        return found

    def _layer(self, pair: Pair) -> Content:
        return read_layer(self._store, *pair, self._folder, self._wishes)


def _is_counted(runnable: Runnable) -> bool:
    return len(runnable.manifest.layers) == len(runnable.config.rootfs.diff_ids)


def _pairs(runnable: Runnable) -> Iterator[Pair]:
    layers, diff_ids = runnable.manifest.layers, runnable.config.rootfs.diff_ids
    if not _is_counted(runnable):
        raise IntegrityError(f"{runnable.descriptor.digest} counts its layers in two ways")
    return zip(layers, diff_ids, strict=True)
