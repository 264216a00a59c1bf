"""Which images a place has. Touches disk, network, engines."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from imagekit.cancellation import Cancellation
from imagekit.content import Digest
from imagekit.errors import UsageError
from imagekit.oci.blobs import MissingBlobError
from imagekit.oci.choosing import images_in
from imagekit.oci.documents import REF_NAME
from imagekit.oci.opening import open_saved
from imagekit.oci.places import Place
from imagekit.oci.reports import ListedImage
from imagekit.oci.words import Kind, Word
from imagekit.workers import Workers

_MOST_ASKED = 200
"""Tags whose digest a registry is asked for."""


def listed(word: Word, opened: ExitStack, cancellation: Cancellation, *, digests: bool) -> tuple[ListedImage, ...]:
    """The images of a layout, an archive or a repository; with a name or tag that one only.

    None is no error. With `digests` a registry is asked for those of its tags, one question a tag, as far as there are
    not too many. Raises what opening the place raises, and `UnreadableError` for a name that is not there.
    """
    match word.kind:
        case Kind.OCI | Kind.OCI_ARCHIVE | Kind.BUNDLE:
            return _of_layout(word, opened)
        case Kind.DOCKER_ARCHIVE:
            return _of_docker_archive(word, opened)
        case Kind.REGISTRY:
            return _of_registry(word, cancellation, digests)
    raise UsageError(
        f"{word.text} has no list of images", hint="write oci:DIR, oci-archive:FILE, docker-archive:FILE or HOST/REPO"
    )


def _of_layout(word: Word, opened: ExitStack) -> tuple[ListedImage, ...]:
    path = Place.parse(word.rest).path
    entries = images_in(word.text, opened)
    named = [(entry.annotations.get(REF_NAME), entry.digest) for entry in entries]
    return tuple(_listed(word.kind, path, name, digest) for name, digest in named)


def _of_docker_archive(word: Word, opened: ExitStack) -> tuple[ListedImage, ...]:
    place = Place.parse(word.rest)
    saved = open_saved(place.path, opened)
    return tuple(
        _listed(word.kind, place.path, tag, saved.id_of(image))
        for image in saved.meant(place.name, place.digest)
        for tag in image.docker_tags or (None,)
    )


def _listed(kind: Kind, path: object, name: str | None, digest: Digest) -> ListedImage:
    behind = f":{name}" if name else ""
    return ListedImage(f"{kind.value}:{path}{behind}@{digest}", name, digest)


def _of_registry(word: Word, cancellation: Cancellation, digests: bool) -> tuple[ListedImage, ...]:
    from imagekit.oci.reference import Reference
    from imagekit.oci.referrers import is_bookkeeping
    from imagekit.oci.registry import connected
    from imagekit.oci.transport import CONNECTIONS

    reference = Reference.parse(word.text)
    if reference.digest:
        raise UsageError(f"{word.text} is one image", hint=f"write {reference.name} for the tags of the repository")
    with connected(reference, cancellation=cancellation) as repository:
        if reference.tag:
            found: dict[str, Digest | None] = {reference.tag: repository.resolve().digest}
        else:
            found = dict.fromkeys(tag for tag in repository.tags() if not is_bookkeeping(tag))

            def ask(tag: str) -> Digest | None:
                with suppress(MissingBlobError):
                    return repository.resolve(tag).digest
                return None

            found |= dict(Workers(CONNECTIONS, cancellation).each(ask, list(found)[: _MOST_ASKED if digests else 0]))
    return tuple(ListedImage(f"{reference.name}:{tag}", tag, digest) for tag, digest in found.items())
