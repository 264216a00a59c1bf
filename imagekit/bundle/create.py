"""Make a bundle: one tar with images and all that refers to them, its digest beside it, both signed. Touches disk.

The tar is written once, from verified blobs; signatures are asked for before its last name appears, so a key that
cannot sign leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from imagekit.bundle.document import (
    DOCUMENT,
    LIST_LIMIT,
    VOLUMES,
    BundleDocument,
    describe,
    encode,
    read_sums,
    sums_line,
)
from imagekit.cancellation import Cancellation
from imagekit.content import Digest, whole_file
from imagekit.errors import UsageError
from imagekit.oci.blobs import BlobReader
from imagekit.oci.choosing import Stores, choose
from imagekit.oci.hybrid import SUMS, Hybrid, pieces, plan
from imagekit.oci.parcel import Parcel
from imagekit.oci.trees import walk

SIGNATURE = ".asc"
Sign = Callable[[bytes], bytes]
"""Content in, its armored detached signatures out."""


class Created(msgspec.Struct, frozen=True):
    """A finished bundle; `size` in bytes, `volumes` the list beside it."""

    path: Path
    volumes: Path
    digest: Digest
    size: int
    document: BundleDocument
    signed: bool


def create(
    arguments: Sequence[str],
    out: Path,
    *,
    sign: Sign | None = None,
    epoch: int | None = None,
    cancellation: Cancellation | None = None,
) -> Created:
    """Write `out`, VOLUMES.sha256 beside it and, if there is a `sign`, a signature inside and one beside that list.

    The tar's bytes depend on the images, `epoch` (SOURCE_DATE_EPOCH) and the signatures alone. What stood at `out` is
    replaced only when everything is there. Raises `UsageError` for no image, clashing names or a VOLUMES.sha256 that
    belongs to another file, `IntegrityError` for an image whose blobs are not what its manifests promise.
    """
    volumes = _check_place(out, arguments)
    with ExitStack() as opened:
        chosen = [choose(argument, opened) for argument in dict.fromkeys(arguments)]
        store = Stores([one.store for one in chosen])
        document, hybrid = _planned(store, chosen, epoch)
        signatures = {SUMS + SIGNATURE: sign(hybrid.sums)} if sign else {}
        with ExitStack() as staged:
            beside = staged.enter_context(whole_file(volumes.with_name(volumes.name + SIGNATURE))) if sign else None
            listed = staged.enter_context(whole_file(volumes))
            digest, size = _write(staged.enter_context(whole_file(out)), hybrid, store, signatures, cancellation)
            line = sums_line(digest, out.name)
            listed.write(line)
            if sign and beside:
                beside.write(sign(line))
            else:
                volumes.with_name(volumes.name + SIGNATURE).unlink(missing_ok=True)
    return Created(out, volumes, digest, size, document, bool(sign))


def _check_place(out: Path, arguments: Sequence[str]) -> Path:
    """Where VOLUMES.sha256 goes; it must not be the list of another bundle in the same folder."""
    volumes = out.with_name(VOLUMES)
    if not arguments:
        raise UsageError("no image to put into the bundle", hint="name one, e.g. oci:dist/oci")
    if out.name.startswith((VOLUMES, ".")) or not re.fullmatch(r"[A-Za-z0-9._+-]{1,200}", out.name):
        raise UsageError(f"{out.name!r} cannot be the name of a bundle", hint="call it e.g. release.tar")
    others = read_sums(_start_of(volumes), str(volumes)).keys() - {out.name} if volumes.exists() else set()
    if others:
        raise UsageError(
            f"{volumes} belongs to {', '.join(sorted(others))}",
            hint="give each bundle a folder of its own: -o DIR/FILE",
        )
    return volumes


def _start_of(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(LIST_LIMIT)


def _planned(store: BlobReader, chosen: Sequence[Parcel], epoch: int | None) -> tuple[BundleDocument, Hybrid]:
    images = list(dict.fromkeys(image for one in chosen for image in one.images))
    referrers = {entry.digest: entry for one in chosen for entry in one.referrers}
    tree = walk(store, [image.descriptor for image in images])
    document = describe(store, tree, images, epoch=epoch)
    extra = {DOCUMENT: encode(document)}
    return document, plan(store, images, referrers=list(referrers.values()), extra_files=extra)


def _write(
    stream: BinaryIO,
    hybrid: Hybrid,
    store: BlobReader,
    signatures: Mapping[str, bytes],
    cancellation: Cancellation | None,
) -> tuple[Digest, int]:
    """Write the tar; its digest and size in bytes."""
    state, size = hashlib.sha256(), 0
    for piece in pieces(hybrid, store, signatures):
        if cancellation is not None:
            cancellation.check()
        state.update(piece)
        size += stream.write(piece)
    return Digest("sha256:" + state.hexdigest()), size
