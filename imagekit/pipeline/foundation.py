"""What images stand on beside scratch: their bases, and the programs that bases and variants bring."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from imagekit.audit.finding import Skip
from imagekit.audit.subject import Subject
from imagekit.cancellation import Cancellation
from imagekit.image.bases import SCRATCH, Base
from imagekit.image.recipe import Recipe
from imagekit.oci.blobs import BlobReader
from imagekit.pipeline.ground import Ground
from imagekit.platform import Platform


class Foundation(msgspec.Struct, frozen=True):
    """What one image stands on: a base for each platform of its index, and the store that holds their layers."""

    store: BlobReader
    bases: Mapping[Platform, Base]


class Foundations(msgspec.Struct, frozen=True):
    """All of a run: by the recipe's id, and every program that they bring into images."""

    by_image: Mapping[str, Foundation] = {}
    subjects: tuple[Subject, ...] = ()
    other: int = 0
    skips: tuple[Skip, ...] = ()

    def of(self, recipe: Recipe) -> Foundation | None:
        """None for an image on scratch."""
        return self.by_image.get(recipe.id)

    @property
    def digests(self) -> list[list[str]]:
        """All that decides bytes: image, platform, base manifest."""
        return [
            [name, str(platform), base.pinned, base.digest]
            for name, foundation in self.by_image.items()
            for platform, base in foundation.bases.items()
        ]


def lay(ground: Ground, cancellation: Cancellation) -> Foundations:
    """What this run's images stand on; nothing for images on scratch, and for parts, which make no image.

    Raises as `basing.unpack` does.
    """
    plain = all(recipe.base == SCRATCH and not recipe.variants for recipe in ground.images)
    if plain or ground.request.partial is not None:
        return Foundations()
    from imagekit.pipeline.basing import unpack

    return unpack(ground, cancellation)
