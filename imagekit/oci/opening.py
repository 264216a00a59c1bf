"""Where images are: a store and the descriptors in it, for each kind of argument. Touches disk, network, engines."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import Digest
from imagekit.errors import NetworkError, UnreadableError, UsageError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.documents import REF_NAME, Descriptor
from imagekit.oci.parcel import NamedImage, Parcel
from imagekit.oci.places import Place
from imagekit.oci.words import Kind, Word
from imagekit.workers import Ahead, Workers

if TYPE_CHECKING:
    from imagekit.oci.repository import Repository
    from imagekit.oci.saved import Saved

_MOST_REFERRERS = 10_000


class Held(msgspec.Struct, frozen=True):
    """A store, and each image in it with what reports call it (`oci:dist/oci:app`)."""

    store: BlobReader
    images: tuple[tuple[str, Descriptor], ...]


def open_parcel(word: Word, opened: ExitStack, cancellation: Cancellation, *, referrers: bool = True) -> Parcel:
    """What a copy takes from an argument; files and connections close with `opened`. Raises as `open_images` does.

    Without `referrers` nobody is asked for them.
    """
    match word.kind:
        case Kind.OCI | Kind.OCI_ARCHIVE | Kind.BUNDLE:
            from imagekit.oci.choosing import choose

            return choose(word.text, opened, referrers=referrers)
        case Kind.DOCKER_ARCHIVE:
            place = Place.parse(word.rest)
            saved = open_saved(place.path, opened)
            return Parcel(saved, saved.meant(place.name, place.digest))
        case Kind.DOCKER | Kind.PODMAN:
            saved = open_saved(_saved_by_engine(word, opened, cancellation), opened)
            return Parcel(saved, saved.images)
        case Kind.REGISTRY:
            return _registry_parcel(word, opened, cancellation, referrers)
    raise UsageError(f"{word.text} is a path, not an image", hint=f"write oci:{word.text} for a layout")


def _registry_parcel(word: Word, opened: ExitStack, cancellation: Cancellation, referrers: bool) -> Parcel:
    from imagekit.oci.reference import Reference
    from imagekit.oci.registry import connected

    reference = Reference.parse(word.text)
    repository = opened.enter_context(connected(reference, cancellation=cancellation))
    root = repository.fetch()
    name = reference.tag or reference.repository.rpartition("/")[2]
    # an engine that loads a tag takes it from another image
    tag = reference.tag or ("" if reference.digest else "latest")
    tags = (f"{reference.name}:{tag}",) if tag else ()
    images = (NamedImage(root.bare(), name, tags),)
    if not referrers:
        return Parcel(repository, images)
    # the registry answers many small questions while the image is on its way
    return Parcel(
        repository, images, opened.enter_context(Ahead(partial(_referrers, repository, root, cancellation), 0))
    )


def _referrers(repository: Repository, root: Descriptor, cancellation: Cancellation) -> tuple[Descriptor, ...]:
    """What refers to the image, its platforms, or to these; raises `NetworkError` where the registry does not say."""
    from imagekit.oci.referring import inside
    from imagekit.oci.transport import CONNECTIONS

    workers = Workers(CONNECTIONS, cancellation)
    level = list(inside(repository, [root]))
    found: dict[Digest, Descriptor] = {}
    while level and len(found) < _MOST_REFERRERS:
        told = dict(workers.each(lambda digest: _refer_to(repository, digest), level))
        new = {one.digest: one for digest in level for one in told[digest] if one.digest not in found}
        found.update(new)
        level = list(new)
    return tuple(found.values())


def _refer_to(repository: Repository, digest: Digest) -> list[Descriptor]:
    """What has the digest as its subject, and what cosign keeps of it under tags."""
    from imagekit.oci.referrers import cosign_tags, unnamed

    try:
        found = [one.bare() for one in repository.referrers(digest)]
        for tag in cosign_tags(digest):
            if (kept := repository.find(tag)) is not None:
                found.append(unnamed(kept, tag))
        return found
    except (NetworkError, UnreadableError) as error:
        error.hint = "; ".join(filter(None, (error.hint, "--no-referrers leaves out SBOMs and signatures")))
        raise


def open_images(word: Word, opened: ExitStack, cancellation: Cancellation) -> Held:
    """The images behind an argument; files and connections close with `opened`.

    Raises `UnreadableError`, `NetworkError`, `ToolError` or `IntegrityError` where there is none that can be read.
    """
    match word.kind:
        case Kind.OCI | Kind.OCI_ARCHIVE | Kind.BUNDLE:
            return _layout(word, opened)
        case Kind.DOCKER_ARCHIVE:
            place = Place.parse(word.rest)
            return _saved(place, word.text, opened)
        case Kind.DOCKER | Kind.PODMAN:
            return _of_engine(word, opened, cancellation)
        case Kind.REGISTRY:
            return _registry(word, opened, cancellation)
        case Kind.PATH:
            raise UsageError(f"{word.text} is a path, not an image")


def _layout(word: Word, opened: ExitStack) -> Held:
    from imagekit.oci.choosing import choose

    chosen = choose(word.text, opened, every=True, referrers=False)
    asked = Place.parse(word.rest)
    if asked.name or asked.digest:
        return Held(chosen.store, tuple((word.text, image.descriptor) for image in chosen.images))
    images = tuple((_called(word.text, image, len(chosen.images)), image.descriptor) for image in chosen.images)
    return Held(chosen.store, images)


def _called(text: str, image: NamedImage, count: int) -> str:
    """The argument, and behind it the image's name; the digest where several have no name."""
    if name := image.descriptor.annotations.get(REF_NAME):
        return f"{text}:{name}"
    return f"{text}@{image.descriptor.digest}" if count > 1 else text


def open_saved(path: Path, opened: ExitStack) -> Saved:
    """The docker archive at `path`; raises as `Saved` does."""
    from imagekit.oci.saved import Saved
    from imagekit.oci.sealed import Opened

    return Saved(opened.enter_context(Opened(path)))


def _saved(place: Place, text: str, opened: ExitStack) -> Held:
    saved = open_saved(place.path, opened)
    images = saved.meant(place.name, place.digest)
    several = len(images) > 1
    return Held(saved, tuple((f"{text}{_behind(one)}" if several else text, one.descriptor) for one in images))


def _behind(image: NamedImage) -> str:
    return f":{image.docker_tags[0]}" if image.docker_tags else f"@{image.ref_name}"


def _of_engine(word: Word, opened: ExitStack, cancellation: Cancellation) -> Held:
    return _saved(Place(_saved_by_engine(word, opened, cancellation)), word.text, opened)


def _saved_by_engine(word: Word, opened: ExitStack, cancellation: Cancellation) -> Path:
    """The image as the engine saves it, in a file that is gone afterwards."""
    from imagekit.oci.engine import find_engine
    from imagekit.unfinished import temporary_folder

    engine = find_engine(word.kind.value)
    opened.callback(engine.close)
    path = opened.enter_context(temporary_folder("imagekit-engine-")) / "saved.tar"
    with path.open("wb") as out:
        for piece in engine.save(word.rest, cancellation=cancellation):
            out.write(piece)
    return path


def _registry(word: Word, opened: ExitStack, cancellation: Cancellation) -> Held:
    from imagekit.oci.reference import Reference
    from imagekit.oci.registry import connected

    repository = opened.enter_context(connected(Reference.parse(word.text), cancellation=cancellation))
    return Held(repository, ((word.text, repository.fetch()),))
