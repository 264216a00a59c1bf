"""Images go from any store into a layout, an archive, an engine or a registry, their referrers with them.

Touches what they go into. Digests are kept wherever the place keeps manifests; an engine makes its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import Digest, whole_file
from imagekit.errors import ToolError, UsageError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.copy import copy
from imagekit.oci.documents import REF_NAME, Descriptor
from imagekit.oci.parcel import NamedImage, Parcel
from imagekit.oci.places import Place
from imagekit.oci.reference import Reference
from imagekit.oci.referrers import tag_of, unnamed
from imagekit.oci.store import Layout
from imagekit.oci.trees import Runnable, runnables
from imagekit.oci.words import Kind, Word
from imagekit.platform import Platform
from imagekit.workers import Workers, prefetched

if TYPE_CHECKING:
    from imagekit.oci.hybrid import Hybrid

JOBS = 4
_PLACES = "oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], docker:REF, podman:REF or HOST/REPO:TAG"


class Sent(msgspec.Struct, frozen=True):
    """One image that is there now: the word for it, and what scripts are told, which for an engine is the image's id.

    `digest` is the image's own wherever manifests are kept; in engines and docker archives it is what engines call the
    image's id, the digest of its configuration.
    """

    image: str
    name: str
    digest: Digest
    where: str


def send(parcel: Parcel, to: Word, cancellation: Cancellation) -> tuple[Sent, ...]:
    """Put the images where `to` says; what each is called there.

    Raises `UsageError` for a path, for a digest where a name is wanted, and for several images under one name.
    """
    match to.kind:
        case Kind.OCI:
            place = _nameable(to)
            return into_layout(parcel, place.path, place.name, cancellation)
        case Kind.OCI_ARCHIVE:
            return into_oci_archive(parcel, _nameable(to), cancellation)
        case Kind.DOCKER_ARCHIVE:
            return into_docker_archive(parcel, _nameable(to), cancellation)
        case Kind.DOCKER | Kind.PODMAN:
            return into_engine(parcel, to.kind.value, to.rest, cancellation)
        case Kind.REGISTRY:
            return into_registry(parcel, Reference.parse(to.text), cancellation)
    raise UsageError(f"{to.text} is no place for an image", hint=f"write {_PLACES}")


def _nameable(to: Word) -> Place:
    place = Place.parse(to.rest)
    if place.digest:
        raise _not_a_name(to.text, f"{to.kind.value}:{place.path}:NAME")
    return place


def _not_a_name(text: str, instead: str) -> UsageError:
    return UsageError(f"{text}: a digest is what a copy gives, not where it goes", hint=f"write {instead}")


def into_layout(parcel: Parcel, path: Path, name: str, cancellation: Cancellation) -> tuple[Sent, ...]:
    """Add to the layout at `path`, made if there is none; an image of the same name is replaced.

    `index.json` changes in one step, after every blob is there; nothing waits for the disk. With `name` there must be
    one image.
    """
    images = _renamed(parcel.images, name)
    layout = Layout.create(path, durable=False)
    workers = Workers(JOBS, cancellation)
    with layout.adding(cancellation):
        for image in images:
            copy(parcel.store, layout, image.descriptor, workers=workers)
        for referrer in parcel.referrers:
            copy(parcel.store, layout, referrer, workers=workers)
        new = [*(image.entry for image in images), *map(unnamed, parcel.referrers)]
        layout.change_index(
            lambda entries: (*(entry for entry in entries if not _replaced(entry, new)), *new), cancellation
        )
    return tuple(_sent(Kind.OCI, path, image.ref_name, image.descriptor.digest) for image in images)


def into_oci_archive(parcel: Parcel, to: Place, cancellation: Cancellation) -> tuple[Sent, ...]:
    """Write one tar that is an OCI archive and, for what runs on linux, a docker archive too (see `hybrid`)."""
    from imagekit.oci.hybrid import plan

    images = _renamed(parcel.images, to.name)
    _check_file(Kind.OCI_ARCHIVE, to.path)
    hybrid = plan(parcel.store, images, referrers=parcel.referrers, lacking=True)
    write_tar(hybrid, parcel.store, to.path, cancellation)
    return tuple(_sent(Kind.OCI_ARCHIVE, to.path, image.ref_name, image.descriptor.digest) for image in images)


def into_docker_archive(parcel: Parcel, to: Place, cancellation: Cancellation) -> tuple[Sent, ...]:
    """Write the same tar; with a name the one image has it as its only tag.

    Raises `UsageError` for an image that docker's own format cannot hold.
    """
    from imagekit.oci.hybrid import plan

    images = tuple(_without_tag(image) for image in _tagged(parcel.images, to.name))
    _check_file(Kind.DOCKER_ARCHIVE, to.path)
    hybrid = plan(parcel.store, images, referrers=parcel.referrers, lacking=True)
    chosen = _runnable(parcel.store, images, hybrid, "docker archives take")
    write_tar(hybrid, parcel.store, to.path, cancellation)
    return tuple(
        _sent(Kind.DOCKER_ARCHIVE, to.path, next(iter(image.docker_tags), ""), one.manifest.config.digest)
        for image, one in zip(images, chosen, strict=True)
    )


def _without_tag(image: NamedImage) -> NamedImage:
    """One that has no tag has no name in `index.json` either: podman would make `localhost/NAME:latest` of it."""
    return image if image.docker_tags else msgspec.structs.replace(image, ref_name="")


def _check_file(kind: Kind, path: Path) -> None:
    if path.is_dir():
        hint = f"name a file, e.g. {kind.value}:{path}/image.tar; for a layout write oci:{path}"
        raise UsageError(f"{path} is a folder, and an archive is a file", hint=hint)


def write_tar(hybrid: Hybrid, store: BlobReader, path: Path, cancellation: Cancellation) -> None:
    """Write the tar that was planned at `path`, whole or not at all; nothing waits for the disk."""
    from imagekit.oci.hybrid import pieces

    with whole_file(path, durable=False) as stream:
        for piece in prefetched(pieces(hybrid, store), cancellation):
            stream.write(piece)


def _runnable(store: BlobReader, images: Sequence[NamedImage], hybrid: Hybrid, who_takes: str) -> tuple[Runnable, ...]:
    """What docker's own format has of each image; raises `UsageError` for one that it cannot hold."""
    for image, one in zip(images, hybrid.for_docker, strict=True):
        if one is None:
            why = _not_for_docker(store, image, who_takes)
            raise UsageError(why, hint="copy it to oci:DIR or oci-archive:FILE")
    return tuple(one for one in hybrid.for_docker if one is not None)


def _not_for_docker(store: BlobReader, image: NamedImage, who_takes: str) -> str:
    called = image.ref_name or image.descriptor.digest
    found = list(runnables(store, image.descriptor))
    if any(one.config.os == "linux" for one in found):
        return f"{called} has layers that are not distributed with it and not in {store}; {who_takes} whole images"
    platforms = ", ".join(sorted({str(each.config.platform) for each in found}))
    return f"{called} holds {f'{platforms} only' if found else 'nothing that could start'}; {who_takes} linux"


def into_engine(parcel: Parcel, engine: str, name: str, cancellation: Cancellation) -> tuple[Sent, ...]:
    """Load into an engine under `name`. It takes the image of its own platform, no referrers."""
    from imagekit.oci.engine import find_engine, load_whole
    from imagekit.oci.hybrid import pieces, plan

    images = _tagged(parcel.images, name)
    with closing(find_engine(engine)) as found:
        own = Platform.parse(found.version().platform)
        sent = []
        for image in images:
            hybrid = plan(parcel.store, [image], prefer=own, lacking=True)
            _runnable(parcel.store, [image], hybrid, f"{found} takes")
            archive = pieces(hybrid, parcel.store)
            loaded = load_whole(found, archive, image.docker_tags, cancellation=cancellation)
            if not loaded:
                raise ToolError(f"{found} loaded nothing of {image.ref_name}", hint="look into the engine's log")
            [tag] = image.docker_tags
            sent.append(Sent(f"{engine}:{tag}", tag, Digest(loaded[0].id), loaded[0].id))
    return tuple(sent)


def into_registry(parcel: Parcel, reference: Reference, cancellation: Cancellation) -> tuple[Sent, ...]:
    """Push the one image to `reference`, then what refers to it; `name@digest`."""
    from imagekit.oci.registry import push

    [image] = _only(parcel.images)
    if reference.digest and reference.digest != image.descriptor.digest:
        raise UsageError(
            f"{reference} is not the digest of the image, which is {image.descriptor.digest}", hint="name a tag instead"
        )
    target = Reference(reference.host, reference.repository, reference.tag)
    push(parcel.store, image.descriptor, target, cancellation=cancellation)
    for referrer in parcel.referrers:
        to = Reference(target.host, target.repository, tag_of(referrer))
        push(parcel.store, referrer, to, cancellation=cancellation)
    where = str(target.at(image.descriptor.digest))
    return (Sent(where, target.tag, image.descriptor.digest, where),)


def _sent(kind: Kind, path: Path, name: str, digest: Digest) -> Sent:
    where = f"{kind.value}:{Place(path, name, digest)}"
    return Sent(where, name, digest, where)


def _only(images: Sequence[NamedImage]) -> Sequence[NamedImage]:
    if len(images) != 1:
        names = ", ".join(image.ref_name for image in images) or "none"
        raise UsageError(f"one image goes under one name, and there are {len(images)}: {names}", hint="add :NAME to it")
    return images


def _renamed(images: Sequence[NamedImage], name: str) -> tuple[NamedImage, ...]:
    if not name:
        return tuple(images)
    [image] = _only(images)
    return (msgspec.structs.replace(image, ref_name=name),)


def _tagged(images: Sequence[NamedImage], name: str) -> tuple[NamedImage, ...]:
    if not name:
        return tuple(images)
    [image] = _only(images)
    reference = Reference.parse(name)
    if reference.digest:
        raise _not_a_name(name, "HOST/REPO:TAG")
    tagged = Reference(reference.host, reference.repository, reference.tag or "latest")
    return (msgspec.structs.replace(image, docker_tags=(str(tagged),)),)


def _replaced(entry: Descriptor, new: Sequence[Descriptor]) -> bool:
    """Whether a new entry takes the place of this one: the same name or tag, or the same unnamed manifest."""
    for named in (entry.annotations.get(REF_NAME), tag_of(entry)):
        if named:
            return any(named in (one.annotations.get(REF_NAME), tag_of(one)) for one in new)
    return any(one.digest == entry.digest for one in new)
