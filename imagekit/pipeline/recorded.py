"""What a local dist/ records of an image: the provenance that its build kept beside it. Touches disk.

Nobody has signed it, so it is taken only from a dist/ that is whole: of one that came from elsewhere it proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec

from imagekit.content import Digest, hash_file, hex_of
from imagekit.errors import IntegrityError, UnreadableError, UsageError
from imagekit.oci.choosing import choose
from imagekit.oci.documents import Descriptor
from imagekit.oci.parcel import NamedImage
from imagekit.oci.places import Place
from imagekit.oci.trees import runnables
from imagekit.oci.words import Kind, parse
from imagekit.pipeline.sums import SUMS, listed_in, sums_in
from imagekit.trust.provenance import PREDICATE, Provenance, decode_provenance
from imagekit.trust.statement import attached

_HINT = "name an image of a dist/ that `imagekit build` wrote here: oci:dist/oci:NAME"


class Recorded(msgspec.Struct, frozen=True):
    """An image of a dist/, what it goes by, and how it was made.

    `contents` are the digests of its configurations, platform by platform: they name each layer before compression.
    """

    word: str
    image: Descriptor
    reference: str
    provenance: Provenance
    dist: Path
    contents: tuple[Digest, ...]


def read_recorded(argument: str) -> Recorded:
    """The one image that `oci:dist/oci[:NAME]` names.

    Raises `UsageError` for a place that is no local dist/, `IntegrityError` for one that was changed,
    `UnreadableError` for an image without provenance of imagekit's.
    """
    word = parse(argument)
    if word.kind is not Kind.OCI:
        raise UsageError(f"{argument}: provenance without a signature is believed of a local dist/ only", hint=_HINT)
    path = Place.parse(word.rest).path
    _require_whole(path)
    with ExitStack() as opened:
        chosen = choose(argument, opened)
        if len(chosen.images) != 1:
            names = ", ".join(image.ref_name for image in chosen.images)
            raise UsageError(
                f"{argument} holds {len(chosen.images)} images", hint=f"name one: {argument}:NAME of {names}"
            )
        [image] = chosen.images
        contents = tuple(one.manifest.config.digest for one in runnables(chosen.store, image.descriptor))
        statements = (attached(chosen.store, referrer, PREDICATE) for referrer in chosen.referrers)
        found = list(_about(image, (raw for raw in statements if raw is not None)))
    if len(found) != 1:
        raise UnreadableError(
            f"{argument} has {'no' if not found else 'more than one'} provenance that tells how it was built",
            hint="build it again with this version of imagekit",
        )
    return Recorded(
        word=f"oci:{path}:{image.ref_name}",
        image=image.descriptor,
        reference=f"{_repository(image)}@{image.descriptor.digest}",
        provenance=found[0],
        dist=path.absolute().parent,
        contents=contents,
    )


def _about(image: NamedImage, statements: Iterator[bytes]) -> Iterator[Provenance]:
    for raw in statements:
        found = decode_provenance(raw, image.descriptor.digest)
        if found.parameters.image == image.ref_name:
            yield found


def _repository(image: NamedImage) -> str:
    return image.docker_tags[0].rpartition(":")[0]


def _require_whole(layout: Path) -> None:
    """SHA256SUMS beside the layout vouches for its index.json, whose digests vouch for everything below."""
    try:
        listed = listed_in(sums_in(layout.parent))
    except OSError as error:
        raise UsageError(f"oci:{layout} is not in a dist/: {SUMS}: {error.strerror}", hint=_HINT) from error
    if listed.get(f"{layout.name}/index.json") != hex_of(hash_file(layout / "index.json")[0]):
        raise IntegrityError(f"{layout}/index.json is not what {layout.parent / SUMS} says", hint="build it again")
