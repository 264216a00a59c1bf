"""Every platform of every image behind an argument, layer by layer. Touches what the images are in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import msgspec

from imagekit.audit.finding import Finding, Skip
from imagekit.audit.subjects.entrypoint import judge_entrypoint
from imagekit.audit.subjects.examined import Examined, Options, failed, shown_path
from imagekit.audit.subjects.unpacking import Image, Unpacked, Unpacker
from imagekit.cancellation import Cancellation
from imagekit.errors import ImagekitError, UnreadableError
from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.documents import Descriptor, Index, Manifest, decode_config, decode_document
from imagekit.oci.opening import open_images
from imagekit.oci.trees import Runnable
from imagekit.oci.words import Kind, Word

_MOST_MANIFESTS, _DEEPEST = 1000, 4
_IN_TOTO = "application/vnd.in-toto+json"
"""The layers of what BuildKit puts beside an image: statements about it, nothing that starts."""


class _Unread(msgspec.Struct, frozen=True):
    descriptor: Descriptor
    error: ImagekitError


def examine_image(word: Word, options: Options, cancellation: Cancellation) -> Iterator[Examined]:
    """One `Examined` a platform; a platform that cannot be read is one with its error, and the others go on.

    Raises what `open_images` raises, and `UnreadableError` where there is nothing that an engine could start.
    """
    kind = "bundle" if word.kind is Kind.BUNDLE else "image"
    with ExitStack() as opened:
        held = open_images(word, opened, cancellation)
        unpacker = opened.enter_context(Unpacker(held.store, options.wishes, cancellation))
        found = [(shown_path(ref), list(_runnables(held.store, one, [], 1))) for ref, one in held.images]
        if not all(inside for _, inside in found):
            raise UnreadableError(f"{word.text} is no image that an engine could start", hint="name an image")
        if word.kind is not Kind.REGISTRY and options.wishes.sources is None:
            every = [one for _, inside in found for one in inside if isinstance(one, Runnable)]
            unpacker.read_ahead(every, options.jobs)
        for ref, inside in found:
            for one in inside:
                cancellation.check()
                yield _examined(unpacker, kind, ref, one)


def _examined(unpacker: Unpacker, kind: str, ref: str, one: Runnable | _Unread) -> Examined:
    if isinstance(one, _Unread):
        platform = one.descriptor.platform
        return failed(f"{ref}:{platform.plain if platform else one.descriptor.digest}", one.error)
    image = Image(kind, ref, one)
    try:
        unpacked = unpacker.unpack(image)
    except ImagekitError as error:
        unpacker.cancellation.check()
        return failed(image.label, error)
    return _told(unpacked)


def _told(unpacked: Unpacked) -> Examined:
    said = list(judge_entrypoint(unpacked))
    return Examined(
        subjects=tuple(unpacked.subjects()),
        skips=(*unpacked.skips, *(word for word in said if isinstance(word, Skip))),
        other=unpacked.other,
        findings=tuple(word for word in said if isinstance(word, Finding)),
    )


def _runnables(store: BlobReader, descriptor: Descriptor, seen: list[str], depth: int) -> Iterator[Runnable | _Unread]:
    """Every manifest below that an engine could start, each digest once; what cannot be read with its error."""
    if descriptor.digest in seen or not descriptor.is_document:
        return
    seen.append(descriptor.digest)
    try:
        if len(seen) > _MOST_MANIFESTS or depth > _DEEPEST:
            raise UnreadableError(f"more than {_MOST_MANIFESTS} manifests, or {_DEEPEST} levels of them, in one image")
        document = decode_document(read_verified(store, descriptor), descriptor.media_type)
        if isinstance(document, Index):
            for child in document.manifests:
                yield from _runnables(store, child, seen, depth + 1)
        elif _is_image(document):
            yield Runnable(descriptor, document, decode_config(read_verified(store, document.config)))
    except ImagekitError as error:
        yield _Unread(descriptor, error)


def _is_image(manifest: Manifest) -> bool:
    statements = bool(manifest.layers) and all(layer.media_type == _IN_TOTO for layer in manifest.layers)
    return manifest.is_image and not statements
