"""Images go from any store into a layout, an archive, an engine or a registry, their referrers with them.

Touches what they go into. Digests are kept wherever the place keeps manifests; an engine makes its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from imagekit.content import whole_file
from imagekit.errors import ToolError, UsageError
from imagekit.oci.choosing import split
from imagekit.oci.copy import copy, select
from imagekit.oci.documents import CONTAINERD_NAME, REF_NAME, Descriptor
from imagekit.oci.hybrid import NamedImage, pieces, plan
from imagekit.oci.opening import Parcel
from imagekit.oci.reference import Reference
from imagekit.oci.store import Layout
from imagekit.oci.words import Kind, Word
from imagekit.platform import Platform
from imagekit.workers import Cancellation, Workers, prefetched

JOBS = 4


def send(parcel: Parcel, to: Word, cancellation: Cancellation) -> tuple[str, ...]:
    """Put the images where `to` says; what each is called there, or the engine's ids.

    Raises `UsageError` for a path, and for several images under one name.
    """
    match to.kind:
        case Kind.OCI:
            return into_layout(parcel, *split(to.rest), cancellation)
        case Kind.OCI_ARCHIVE | Kind.DOCKER_ARCHIVE:
            path, name = split(to.rest)
            return into_tar(parcel, path, name)
        case Kind.DOCKER | Kind.PODMAN:
            return into_engine(parcel, to.kind.value, to.rest, cancellation)
        case Kind.REGISTRY:
            return into_registry(parcel, Reference.parse(to.text), cancellation)
    raise UsageError(
        f"{to.text} is no place for an image",
        hint="write oci:DIR[:NAME], oci-archive:FILE, docker-archive:FILE, docker:REF, podman:REF or HOST/REPO:TAG",
    )


def only_platform(parcel: Parcel, platform: Platform) -> Parcel:
    """The same images for one platform, without their indexes, whose digests would promise the others too.

    What refers to the index is left behind with it. Raises `UnreadableError` that lists what there is.
    """
    images = []
    for image in parcel.images:
        [found] = select(parcel.store, image.descriptor, [platform])
        images.append(msgspec.structs.replace(image, descriptor=found))
    return Parcel(parcel.store, tuple(images))


def into_layout(parcel: Parcel, path: Path, name: str, cancellation: Cancellation) -> tuple[str, ...]:
    """Add to the layout at `path`, made if there is none; an image of the same name is replaced. `oci:DIR:NAME` each.

    `index.json` changes in one step, after every blob is there; nothing waits for the disk. With `name` there must be
    one image.
    """
    images = _renamed(parcel.images, name)
    layout = Layout.create(path, durable=False)
    workers = Workers(JOBS, cancellation)
    new = [*map(_described, images), *(one.bare() for one in parcel.referrers)]
    with layout.adding(cancellation):
        for root in (*(image.descriptor for image in images), *parcel.referrers):
            copy(parcel.store, layout, root, workers=workers)
        layout.change_index(
            lambda entries: (*(entry for entry in entries if not _replaced(entry, new)), *new), cancellation
        )
    return tuple(f"oci:{path}:{image.ref_name}" for image in images)


def into_tar(parcel: Parcel, path: Path, name: str) -> tuple[str, ...]:
    """Write one tar that is an OCI archive and a docker archive at once (see `hybrid`); whole or not at all.

    Nothing waits for the disk.
    """
    images = _renamed(parcel.images, name)
    hybrid = plan(parcel.store, images, referrers=parcel.referrers)
    with whole_file(path, durable=False) as stream:
        for piece in prefetched(pieces(hybrid, parcel.store)):
            stream.write(piece)
    return (str(path),)


def into_engine(parcel: Parcel, engine: str, name: str, cancellation: Cancellation) -> tuple[str, ...]:
    """Load into an engine under `name`; the engine's own ids. It takes the image of its own platform, no referrers."""
    from imagekit.oci.engine import find_engine, load_whole

    with closing(find_engine(engine)) as found:
        own = Platform.parse(found.version().platform)
        ids = []
        for image in _tagged(parcel.images, name):
            archive = pieces(plan(parcel.store, [image], prefer=own), parcel.store)
            loaded = load_whole(found, archive, image.docker_tags, cancellation=cancellation)
            if not loaded:
                raise ToolError(f"{found} loaded nothing of {image.ref_name}", hint="is there a linux platform in it?")
            ids.append(loaded[0].id)
    return tuple(ids)


def into_registry(parcel: Parcel, reference: Reference, cancellation: Cancellation) -> tuple[str, ...]:
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
        push(parcel.store, referrer, Reference(target.host, target.repository), cancellation=cancellation)
    return (f"{target.name}@{image.descriptor.digest}",)


def _is_empty(path: Path) -> bool:
    """Whether it is a folder with nothing in it, but for what a killed run was about to write."""
    return path.is_dir() and all(one.name.endswith(".part") for one in path.iterdir())


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
    return (msgspec.structs.replace(image, docker_tags=(str(_with_tag(Reference.parse(name))),)),)


def _with_tag(reference: Reference) -> Reference:
    return Reference(reference.host, reference.repository, reference.tag or "latest")


def _described(image: NamedImage) -> Descriptor:
    """The entry of an index that names an image."""
    names = {REF_NAME: image.ref_name} | ({CONTAINERD_NAME: image.docker_tags[0]} if image.docker_tags else {})
    kept = {k: v for k, v in image.descriptor.annotations.items() if k not in (REF_NAME, CONTAINERD_NAME)}
    return msgspec.structs.replace(image.descriptor, annotations=kept | names, data="", urls=())


def _replaced(entry: Descriptor, new: Sequence[Descriptor]) -> bool:
    """Whether a new entry takes the place of this one: the same name, or the same unnamed manifest."""
    name = entry.annotations.get(REF_NAME)
    if name is not None:
        return any(one.annotations.get(REF_NAME) == name for one in new)
    return any(one.digest == entry.digest for one in new)
