"""Images of layouts, OCI archives and bundles: which one a word means, its names, what refers to it. Touches disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from imagekit.content import Digest
from imagekit.errors import UnreadableError, UsageError
from imagekit.oci.blobs import BlobReader, MissingBlobError
from imagekit.oci.documents import (
    DOCUMENT_LIMIT,
    REF_NAME,
    Descriptor,
    Index,
    decode_index,
)
from imagekit.oci.members import TarStore, canonical, foreign
from imagekit.oci.parcel import NamedImage, Parcel
from imagekit.oci.places import Place
from imagekit.oci.reference import LOCAL, without_account
from imagekit.oci.referrers import is_bookkeeping, is_fallback, tag_of, tagged_subject, unnamed
from imagekit.oci.referring import reaching, readable, subject_of
from imagekit.oci.sealed import Opened
from imagekit.oci.store import Layout, names_of

_KINDS = "oci:DIR[:NAME], oci-archive:FILE[:NAME], bundle:FILE[:NAME]"
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


class Stores:
    """Several stores read as one; the first that has a blob gives it."""

    def __init__(self, stores: Sequence[BlobReader]) -> None:
        self._stores = stores

    def __str__(self) -> str:
        return " or ".join(str(store) for store in self._stores)

    def has(self, digest: Digest, /) -> bool:
        return any(store.has(digest) for store in self._stores)

    def open(self, digest: Digest, /) -> BinaryIO:
        try:
            return self.holder(digest).open(digest)
        except MissingBlobError:
            raise MissingBlobError(f"blob {digest} is not in {self}", hint="build or copy the image again") from None

    def holder(self, digest: Digest, /) -> BlobReader:
        """The first store that has a blob, else the last one, which is not asked (`blobs.Gathered`)."""
        for store in self._stores[:-1]:
            if store.has(digest):
                return store
        return self._stores[-1]


def choose(argument: str, opened: ExitStack, *, every: bool = False, referrers: bool = True) -> Parcel:
    """What `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]` or `bundle:FILE[:NAME]` means; files close with `opened`.

    Without NAME it is every named image there is, or the only one; with `every` all of them where none has a name. No
    document below the images is read without `referrers`. Nothing is verified but digests: who made a bundle is the
    question of `bundle verify`. Raises `UsageError` for another kind and `UnreadableError` for a missing image.
    """
    place, store, index = _open(argument, opened)
    images = tuple(_named(entry, place.path) for entry in _wanted(store, index, place, argument, every=every))
    if not referrers:
        return Parcel(store, images)
    roots = [image.descriptor for image in images]
    return Parcel(store, images, tuple(reaching(store, _with_subject(store, index), roots)))


def images_in(argument: str, opened: ExitStack) -> tuple[Descriptor, ...]:
    """The entries of the images that `choose` would take with `every`; none is no error for a word without a name."""
    place, store, index = _open(argument, opened)
    if not place.name and not place.digest and not _listed(store, index):
        return ()
    return _wanted(store, index, place, argument, every=True)


def name_in(place: Place) -> str:
    """What the layout's own list calls the image: its name, or its digest where the word has no name.

    A docker name, or its tag, leads to the name beside it. Raises `UnreadableError` where the name is by now that of
    another digest.
    """
    if place.name and place.digest and (there := Layout(place.path).resolve(place.name).digest) != place.digest:
        raise UnreadableError(
            f"{place.name} in {place.path} is {there}, not {place.digest}", hint="name one of the two"
        )
    return _listed_name(place) or place.digest


def _listed_name(place: Place) -> str:
    """The name in the list of what the word's name means; that itself where it means no image, or several."""
    if not place.name:
        return ""
    index = Layout(place.path).index()
    found = _meant(index.manifests, _with_names(index), Place(place.path, place.name))
    return (len(found) == 1 and found[0].annotations.get(REF_NAME)) or place.name


def _open(argument: str, opened: ExitStack) -> tuple[Place, BlobReader, Index]:
    kind, colon, rest = argument.partition(":")
    if not colon or not rest or kind not in ("oci", "oci-archive", "bundle"):
        named = without_account(argument)
        raise UsageError(f"{named!r} is not an image that a bundle can be made of", hint=f"write {_KINDS}")
    place = Place.parse(rest)
    if kind == "oci":
        layout = Layout(place.path)
        return place, layout, layout.index()
    source = opened.enter_context(Opened(place.path))
    store = TarStore(source, canonical(source) if kind == "bundle" else foreign(source))
    return place, store, decode_index(store.read_file("index.json", DOCUMENT_LIMIT))


def _wanted(store: BlobReader, index: Index, place: Place, argument: str, *, every: bool) -> tuple[Descriptor, ...]:
    named = _with_names(index)
    asked = bool(place.name or place.digest)
    found = _meant(index.manifests, named, place) if asked else _listed(store, index)
    if (len(found) == 1 and found[0].is_document) or (found and not asked and (found == named or every)):
        return found
    known = ", ".join(sorted(entry.annotations[REF_NAME] for entry in named)) or "no named image"
    raise UnreadableError(
        f"{argument} is {'no' if not found else 'more than one'} image",
        hint=f"add :NAME; it holds {known}",
    )


def _with_names(index: Index) -> tuple[Descriptor, ...]:
    names = ((entry, entry.annotations.get(REF_NAME)) for entry in index.manifests)
    return tuple(entry for entry, name in names if name is not None and not is_bookkeeping(name))


def _listed(store: BlobReader, index: Index) -> tuple[Descriptor, ...]:
    """The images that have names; where none has, all that refers to no other entry."""
    if named := _with_names(index):
        return named
    found = tuple(entry for entry in index.manifests if not entry.artifact_type and not tag_of(entry))
    return found if len(found) < 2 else tuple(entry for entry in found if subject_of(store, entry) is None)


def _meant(entries: Sequence[Descriptor], named: Sequence[Descriptor], place: Place) -> tuple[Descriptor, ...]:
    """The entries of this digest (one, of this name if it has it), else those of this name."""
    if place.digest:
        same = [entry for entry in entries if entry.digest == place.digest]
        return tuple([entry for entry in same if place.name in names_of(entry)] or same)[:1]
    exact = tuple(entry for entry in entries if place.name in names_of(entry))
    return exact or tuple(entry for entry in named if names_of(entry)[1].endswith(f":{place.name}"))


def _named(entry: Descriptor, path: Path) -> NamedImage:
    """The image with its docker name, which is `LOCAL/<name>:latest` where it has none."""
    ref_name, full, _ = names_of(entry)
    ref_name = ref_name or path.absolute().name.partition(".")[0]
    local = _NOT_IN_A_NAME.sub("-", ref_name.lower()).strip("-") or "image"
    return NamedImage(entry, ref_name, (full or f"{LOCAL}/{local}:latest",))


def _with_subject(store: BlobReader, index: Index) -> Iterator[tuple[Descriptor, Digest | None]]:
    """Every entry that refers to something, with what that is; None for an unnamed one that cannot be read."""
    for entry in index.manifests:
        if not entry.is_document:
            continue
        if subject := tagged_subject(entry):
            yield unnamed(entry), subject
            continue
        document = readable(store, entry)
        if document is None:
            if REF_NAME not in entry.annotations:
                yield entry, None
        elif document.subject is not None:
            yield entry, document.subject.digest
        elif is_fallback(entry.annotations.get(REF_NAME, "")) and isinstance(document, Index):
            yield from _with_subject(store, document)
