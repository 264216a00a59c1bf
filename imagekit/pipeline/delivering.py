"""Deliver: what stands in dist/ goes to a registry, an engine or a tar. Touches disk, network and the engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError, UsageError
from imagekit.oci.documents import REF_NAME
from imagekit.oci.hybrid import pieces, plan
from imagekit.oci.reference import destination
from imagekit.oci.sending import write_tar
from imagekit.oci.store import Layout
from imagekit.pipeline.job import Built
from imagekit.pipeline.shipping import ShippedImage
from imagekit.platform import Platform

if TYPE_CHECKING:
    from imagekit.oci.engine import Engine


def push(built: Built, reference: str, cancellation: Cancellation) -> str:
    """Push the only image to `reference`; where it is now.

    Its tag and those of `--tag` name it there; without any of them the image's own tags do.
    """
    from imagekit.oci import registry

    image = only(built, "--push")
    to = destination(reference)
    tags = built.ground.request.tags if to.tag else image.tags
    registry.push(_layout(built), image.index, to, tags, cancellation=cancellation)
    return f"{to.name}@{image.index.digest}"


def tarball(built: Built, path: Path, cancellation: Cancellation) -> None:
    """All images, with what refers to them, as one tar that is an OCI layout and a docker archive."""
    layout = _layout(built)
    referrers = [entry for entry in layout.index().manifests if REF_NAME not in entry.annotations]
    hybrid = plan(layout, [image.named for image in built.shipped.images], referrers=referrers)
    write_tar(hybrid, layout, path, cancellation)


def load(built: Built, cancellation: Cancellation) -> tuple[str, ...]:
    """Load each image for the engine's own platform; the engine's ids, in the order of the images.

    Raises `ToolError` if no engine answers, or if one has another image than was sent.
    """
    from imagekit.oci.engine import find_engine

    with closing(find_engine(built.ground.request.engine)) as engine:
        own = Platform.parse(engine.version().platform)
        return tuple(_load(engine, built, image, own, cancellation) for image in built.shipped.images)


def _load(engine: Engine, built: Built, image: ShippedImage, own: Platform, cancellation: Cancellation) -> str:
    from imagekit.oci.engine import load_whole

    layout = _layout(built)
    hybrid = plan(layout, [image.named], prefer=own)
    loaded = load_whole(engine, pieces(hybrid, layout), image.named.docker_tags, cancellation=cancellation)
    if not loaded:
        raise ToolError(f"the engine loaded nothing of {image.name}", hint="is there a linux platform in it?")
    return loaded[0].id


def only(built: Built, option: str) -> ShippedImage:
    """The one image that an option is about."""
    images = built.shipped.images
    if len(images) != 1:
        names = ", ".join(image.name for image in images) or "none"
        raise UsageError(f"{option} is for one image, and there are {len(images)}: {names}", hint="name one PACKAGE")
    return images[0]


def _layout(built: Built) -> Layout:
    return Layout(built.ground.output / "oci")


def references(images: Sequence[ShippedImage]) -> tuple[str, ...]:
    """What `build` prints, a line an image."""
    return tuple(image.reference for image in images)
