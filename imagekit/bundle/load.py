"""Load a verified bundle into a container engine or an OCI layout. Touches disk and the engine's socket, no network.

Only a `Verified` can be loaded, and it is read through its sealed file: each MiB is found to be what was verified
before anybody gets it, so bytes that were changed meanwhile stop the load before the engine has a whole tar.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import msgspec

from imagekit.bundle.verify import Verified
from imagekit.cancellation import Cancellation
from imagekit.content import parse_json
from imagekit.errors import UsageError
from imagekit.oci.blobs import open_verified
from imagekit.oci.documents import CONTAINERD_NAME, REF_NAME, Descriptor, Index
from imagekit.oci.referrers import TAG
from imagekit.oci.store import Layout
from imagekit.unfinished import remove_tree, unfinished

_NAMES = (REF_NAME, CONTAINERD_NAME, TAG)


class Loaded(msgspec.Struct, frozen=True):
    """One image that is there now; `where` is what to call it: the engine's image id, or `oci:DIR:NAME`."""

    name: str
    where: str


def load(verified: Verified, into: str, *, cancellation: Cancellation | None = None) -> tuple[Loaded, ...]:
    """Put every image of the bundle `into` an engine (`docker`, `podman`) or a layout (`oci:DIR`), whole or not at all.

    A layout that is there already gets the images added; one of the same name is replaced. An engine gets those that
    have a linux platform. Raises `UsageError` for another place or nothing to load, `ToolError` if no engine answers,
    `IntegrityError` if the bundle's bytes changed since they were verified.
    """
    kind, _, directory = into.partition(":")
    if kind == "oci" and directory:
        return _into_layout(verified, Path(directory), cancellation or Cancellation())
    if not into.replace("-", "").isalnum():
        raise UsageError(f"cannot load into {into!r}", hint="write --into docker, podman, or oci:DIR")
    return _into_engine(verified, into, cancellation)


def _into_engine(verified: Verified, name: str, cancellation: Cancellation | None) -> tuple[Loaded, ...]:
    """The whole tar through the engine's socket; a piece that is not as verified ends it, and nothing stays loaded."""
    from imagekit.oci.engine import find_engine, load_whole

    entries = parse_json(verified.hybrid.files["manifest.json"], tuple[_DockerEntry, ...])
    known = {tag for entry in entries for tag in entry.repo_tags}
    images = [image for image in verified.images if known.intersection(image.docker_tags)]
    if not images:
        raise UsageError(f"{verified.source} holds no image for linux", hint="use --into oci:DIR")
    with closing(find_engine(name)) as engine:
        load_whole(engine, verified.source.pieces(), sorted(known), cancellation=cancellation)
        return tuple(Loaded(image.ref_name, engine.image_id(image.docker_tags[0])) for image in images)


class _DockerEntry(msgspec.Struct, rename="pascal"):
    repo_tags: tuple[str, ...]


def _into_layout(verified: Verified, directory: Path, cancellation: Cancellation) -> tuple[Loaded, ...]:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        _fill(verified, Layout.create(directory), cancellation)
    else:
        staged = directory.absolute().with_name(f".{directory.absolute().name}.{os.urandom(4).hex()}.part")
        with unfinished(lambda: staged, remove_tree):
            try:
                _fill(verified, Layout.create(staged), cancellation)
                staged.replace(directory.absolute())
            finally:
                remove_tree(staged)
    return tuple(Loaded(image.ref_name, f"oci:{directory}:{image.ref_name}") for image in verified.images)


def _fill(verified: Verified, layout: Layout, cancellation: Cancellation) -> None:
    """Add the blobs, then change `index.json` in one step."""
    with layout.adding(cancellation):
        for blob in verified.hybrid.blobs:
            cancellation.check()
            with open_verified(verified.store, blob.bare()) as stream:
                layout.add(stream, blob.bare())
        new = verified.index
        layout.change_index(
            lambda entries: (*(entry for entry in entries if not _replaced(entry, new)), *new.manifests), cancellation
        )


def _replaced(entry: Descriptor, index: Index) -> bool:
    """Whether one of the new entries takes the place of this one: the same name or tag, or the same referrer."""
    names = {new.annotations.get(key) for new in index.manifests for key in _NAMES} - {None}
    if any(entry.annotations.get(key) in names for key in _NAMES):
        return True
    return REF_NAME not in entry.annotations and any(new.digest == entry.digest for new in index.manifests)
