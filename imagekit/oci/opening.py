"""Where images are: a store and the descriptors in it, for each kind of argument. Touches disk, network, engines."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from imagekit.errors import UsageError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import REF_NAME, Descriptor
from imagekit.oci.hybrid import NamedImage
from imagekit.oci.words import Kind, Word
from imagekit.workers import Cancellation


class Held(msgspec.Struct, frozen=True):
    """A store, and each image in it with what reports call it (`oci:dist/oci:app`)."""

    store: BlobReader
    images: tuple[tuple[str, Descriptor], ...]


def open_images(word: Word, opened: ExitStack, cancellation: Cancellation) -> Held:
    """The images behind an argument; files and connections close with `opened`.

    Raises `UnreadableError`, `NetworkError`, `ToolError` or `IntegrityError` where there is none that can be read.
    """
    match word.kind:
        case Kind.OCI | Kind.OCI_ARCHIVE | Kind.BUNDLE:
            return _layout(word, opened)
        case Kind.DOCKER_ARCHIVE:
            return _saved(Path(word.rest), word.text, opened)
        case Kind.DOCKER | Kind.PODMAN:
            return _of_engine(word, opened, cancellation)
        case Kind.REGISTRY:
            return _registry(word, opened, cancellation)
        case Kind.PATH:
            raise UsageError(f"{word.text} is a path, not an image")


def _layout(word: Word, opened: ExitStack) -> Held:
    from imagekit.oci.choosing import choose

    chosen = choose(word.text, opened, bare=True)
    images = tuple((_called(word.text, image, len(chosen.images)), image.descriptor) for image in chosen.images)
    return Held(chosen.store, images)


def _called(text: str, image: NamedImage, count: int) -> str:
    """The argument, and behind it the image's name unless it is there; the digest where several have no name."""
    name = image.descriptor.annotations.get(REF_NAME, image.descriptor.digest if count > 1 else "")
    return text if not name or text.endswith(f":{name}") else f"{text}:{name}"


def _saved(path: Path, text: str, opened: ExitStack) -> Held:
    from imagekit.oci.saved import Saved
    from imagekit.oci.sealed import Opened

    saved = Saved(opened.enter_context(Opened(path)))
    several = len(saved.images) > 1
    return Held(saved, tuple((f"{text}:{one.ref_name}" if several else text, one.descriptor) for one in saved.images))


def _of_engine(word: Word, opened: ExitStack, cancellation: Cancellation) -> Held:
    """The image as the engine saves it, in a file that is gone afterwards."""
    from imagekit.oci.engine import find_engine

    engine = find_engine(word.kind.value)
    opened.callback(engine.close)
    path = Path(opened.enter_context(TemporaryDirectory(prefix="imagekit-engine-"))) / "saved.tar"
    with path.open("wb") as out:
        for piece in engine.save(word.rest, cancellation=cancellation):
            out.write(piece)
    return _saved(path, word.text, opened)


def _registry(word: Word, opened: ExitStack, cancellation: Cancellation) -> Held:
    from imagekit.oci.reference import Reference
    from imagekit.oci.registry import connected

    repository = opened.enter_context(connected(Reference.parse(word.text), cancellation=cancellation))
    return Held(repository, ((word.text, repository.resolve()),))
