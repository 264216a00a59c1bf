"""One tar that is an OCI image layout and a docker archive at once: what bundles, `--tarball` and `--load` write.

Computes what stands in the tar (`plan`), then hands out its bytes (`pieces`), which depend on nothing but the images:
USTAR with PAX records only where a size needs them, mtime 0, uid 0, mode 0644, regular files only, documents before
blobs, documents by path, blobs by size and then by name. Reads blobs from the store; touches nothing else.

Only images carry names in `index.json`: `ctr images import` fails on a named descriptor that is no image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from imagekit.content import CHUNK, Digest, canonical_json, digest_of, hex_of
from imagekit.errors import UsageError
from imagekit.oci import tar
from imagekit.oci.blobs import BlobReader, lives_elsewhere, open_verified
from imagekit.oci.documents import Descriptor, Index, encode
from imagekit.oci.parcel import NamedImage, without_names
from imagekit.oci.trees import Runnable, runnables, walk
from imagekit.platform import Platform

DOCKER_PLATFORM = Platform("linux", "amd64")
SUMS = "SHA256SUMS"
_OWN = ("oci-layout", "index.json", "manifest.json")
_EXTRA = re.compile(r"(?!blobs/|/)(?!.*(^|/)\.{0,2}(/|$))[A-Za-z0-9._/-]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}")
"""What `org.opencontainers.image.ref.name` may be (OCI image spec, annotations.md)."""
_TAG = re.compile(r"(?:\[[0-9a-fA-F:]{2,39}\]|[A-Za-z0-9])[A-Za-z0-9._:/@+-]{0,254}")
"""What any docker reference is: its host may be an IPv6 address."""


class Hybrid(msgspec.Struct, frozen=True):
    """What stands in the tar: the small files by path, the blobs in their order, and what docker gets of each image."""

    files: dict[str, bytes]
    blobs: tuple[Descriptor, ...]
    for_docker: tuple[Runnable | None, ...]

    @property
    def sums(self) -> bytes:
        """`SHA256SUMS`: every file of the tar but itself and its signatures, sorted as `LC_ALL=C sort` by path."""
        listed = {path: hex_of(digest_of(content)) for path, content in self.files.items()}
        listed.update({blob_path(blob.digest): hex_of(blob.digest) for blob in self.blobs})
        return "".join(f"{listed[path]}  {path}\n" for path in sorted(listed)).encode()


def blob_path(digest: Digest) -> str:
    """Where the layout keeps a blob."""
    return f"blobs/sha256/{hex_of(digest)}"


def plan(
    store: BlobReader,
    images: Sequence[NamedImage],
    *,
    referrers: Sequence[Descriptor] = (),
    extra_files: Mapping[str, bytes] | None = None,
    prefer: Platform = DOCKER_PLATFORM,
    lacking: bool = False,
) -> Hybrid:
    """What the tar will hold; reads and verifies every manifest, index and configuration, no layer.

    `referrers` (what has a `subject`) go in unnamed. Docker gets the platform `prefer` of an index, else its first
    linux one; an image without linux is in the layout only. With `lacking` layers that live elsewhere may be left out,
    and docker does not get an image that has some. Raises `UsageError` for names that clash or cannot stand,
    `MissingBlobError`, `IntegrityError` and `UnreadableError` for a store that breaks its promises.
    """
    _check_names(images, extra_files or {})
    tree = walk(store, [*(image.descriptor for image in images), *referrers])
    files = dict(extra_files or {})
    files["oci-layout"] = canonical_json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = encode(_index(images, referrers))
    elsewhere = {blob.digest for blob in tree.blobs.values() if lacking and lives_elsewhere(store, blob)}
    choices = (docker_choice(list(runnables(store, image.descriptor, tree)), prefer) for image in images)
    for_docker = tuple(one if one and elsewhere.isdisjoint(_layers(one)) else None for one in choices)
    files["manifest.json"] = canonical_json(
        [_docker_entry(image, one) for image, one in zip(images, for_docker, strict=True) if one is not None]
    )
    blobs = {**{digest: node.descriptor for digest, node in tree.documents.items()}, **tree.blobs}
    here = [blob for digest, blob in blobs.items() if digest not in elsewhere]
    return Hybrid(files, tuple(sorted(here, key=lambda blob: (blob.size, blob.digest))), for_docker)


def pieces(hybrid: Hybrid, store: BlobReader, signatures: Mapping[str, bytes] | None = None) -> Iterator[bytes]:
    """The bytes of the tar in order, each blob checked while it passes; `signatures` by path (`SHA256SUMS.asc`).

    Raises `IntegrityError` before the last bytes of a blob that is not what its descriptor promises.
    """
    small = {**hybrid.files, SUMS: hybrid.sums, **(signatures or {})}
    for path in sorted(small):
        yield header(path, len(small[path])) + small[path] + bytes(tar.padding(len(small[path])))
    for blob in hybrid.blobs:
        yield header(blob_path(blob.digest), blob.size)
        with open_verified(store, blob.bare()) as stream:
            while piece := stream.read(CHUNK):
                yield piece
        yield bytes(tar.padding(blob.size))
    yield tar.END


def header(path: str, size: int) -> bytes:
    """The one header that a file of this tar may have; `size` in bytes."""
    return tar.header(path, "file", mode=0o644, size=size)


def _check_names(images: Sequence[NamedImage], extra_files: Mapping[str, bytes]) -> None:
    names = [image.ref_name for image in images if image.ref_name]
    tags = [tag for image in images for tag in image.docker_tags]
    for kind, given in (("name", names), ("tag", tags)):
        for one in sorted({one for one in given if given.count(one) > 1}):
            raise UsageError(f"two images have the {kind} {one!r}", hint="put them into two tars, or rename one")
    wrong = [name for given, kind in ((names, _NAME), (tags, _TAG)) for name in given if not kind.fullmatch(name)]
    if wrong:
        raise UsageError(f"{wrong[0]!r} cannot be the name of an image", hint="use letters, digits and . _ : / @ + -")
    for path in extra_files:
        if not _EXTRA.fullmatch(path) or path in _OWN or path.startswith(SUMS):
            raise UsageError(f"{path!r} cannot be an extra file of the tar")


def _index(images: Sequence[NamedImage], referrers: Sequence[Descriptor]) -> Index:
    unnamed = sorted(map(without_names, referrers), key=lambda one: one.digest)
    return Index(manifests=(*(image.entry for image in images), *unnamed))


# --- the docker archive -------------------------------------------------------------------------------------------


def docker_choice(images: Sequence[Runnable], prefer: Platform = DOCKER_PLATFORM) -> Runnable | None:
    """The one image of several that docker gets: `prefer` (whatever its variant), else the first linux one."""
    linux = [one for one in images if one.config.os == "linux"]
    wanted = (prefer.os, prefer.architecture)
    exact = [one for one in linux if one.config.platform == prefer]
    near = [one for one in linux if (one.config.os, one.config.architecture) == wanted]
    return next(iter([*exact, *near, *linux]), None)


def _layers(one: Runnable) -> Iterator[Digest]:
    return (layer.digest for layer in one.manifest.layers)


def _docker_entry(image: NamedImage, chosen: Runnable) -> dict[str, object]:
    return {
        "Config": blob_path(chosen.manifest.config.digest),
        "RepoTags": list(image.docker_tags),
        "Layers": [blob_path(digest) for digest in _layers(chosen)],
    }
