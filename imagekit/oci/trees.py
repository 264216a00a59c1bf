"""What hangs on a manifest or index: all documents and blobs, and the images among them. Reads stores."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from imagekit.content import Digest
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.documents import (
    Descriptor,
    Document,
    ImageConfig,
    Index,
    Manifest,
    decode_config,
    decode_document,
)

_DEPTH = 8
_MOST_DOCUMENTS = 10_000
_MOST_BYTES = 32 << 20
"""Of all manifests and indexes together."""


class Node(msgspec.Struct, frozen=True):
    """A manifest or index, as it is promised, as its bytes are, and as they are understood."""

    descriptor: Descriptor
    raw: bytes
    document: Document


class Tree(msgspec.Struct, frozen=True):
    """All that an image consists of, each digest once: `documents` children first, `blobs` in the order found."""

    documents: dict[Digest, Node]
    blobs: dict[Digest, Descriptor]


class Runnable(msgspec.Struct, frozen=True):
    """A manifest that an engine can run, with its configuration."""

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig


def walk(store: BlobReader, roots: Collection[Descriptor]) -> Tree:
    """Everything that the roots lead to, `subject`s aside; each document verified while it is read.

    Raises `UnreadableError` for more than 10 000 documents, or 32 MiB of them, or indexes nested more than eight deep,
    `IntegrityError` for one digest with two sizes.
    """
    walked = _Walk(store)
    for root in roots:
        walked.visit(root, 0)
    return walked.tree


class _Walk:
    def __init__(self, store: BlobReader) -> None:
        self.tree = Tree({}, {})
        self._store, self._left = store, _MOST_BYTES

    def visit(self, descriptor: Descriptor, depth: int) -> None:
        digest, documents, blobs = descriptor.digest, self.tree.documents, self.tree.blobs
        known = documents[digest].descriptor if digest in documents else blobs.get(digest, descriptor)
        if known.size != descriptor.size:
            raise IntegrityError(f"{digest} is promised with {known.size} and with {descriptor.size} bytes")
        if not descriptor.is_document:
            blobs.setdefault(digest, descriptor)
        elif digest not in documents:
            raw = read_verified(self._store, descriptor)
            self._left -= len(raw)
            if depth > _DEPTH or len(documents) >= _MOST_DOCUMENTS or self._left < 0:
                raise UnreadableError(f"image at {digest} is nested too deep or has too many manifests")
            document = decode_document(raw, descriptor.media_type)
            for child in document.children:
                self.visit(child, depth + 1)
            documents[digest] = Node(descriptor, raw, document)


def runnables(store: BlobReader, root: Descriptor, tree: Tree | None = None) -> Iterator[Runnable]:
    """The images under `root`, each once, in order; artifacts aside.

    `tree` is what was walked already, if it was. Raises as `walk` does.
    """
    for node in _manifests(tree or walk(store, (root,)), root, set()):
        if isinstance(node.document, Manifest) and node.document.is_image:
            yield Runnable(node.descriptor, node.document, decode_config(read_verified(store, node.document.config)))


def _manifests(tree: Tree, root: Descriptor, seen: set[Digest]) -> Iterator[Node]:
    """Each digest once: indexes that name each other's entries again and again would else never end."""
    if root.digest in seen:
        return
    seen.add(root.digest)
    node = tree.documents[root.digest]
    yield node
    if isinstance(node.document, Index):
        for child in node.document.manifests:
            if child.is_document:
                yield from _manifests(tree, child, seen)
