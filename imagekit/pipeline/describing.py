"""Describe: an SBOM of each target, in every configured format. Touches disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from imagekit.audit.needs import Piece
from imagekit.content import Digest, digest_of, write_whole
from imagekit.image.recipe import setting_of
from imagekit.oci.blobs import read_verified
from imagekit.oci.documents import decode_config
from imagekit.oci.store import Layout
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.manifest import Listed
from imagekit.sbom.inventory import Component, Inventory, of_program
from imagekit.sbom.pieces import base_component, piece_component

if TYPE_CHECKING:
    from imagekit.pipeline.shipping import Packed, Passed

FORMATS = {"cyclonedx": ("imagekit.sbom.cyclonedx", "cdx.json"), "spdx": ("imagekit.sbom.spdx", "spdx.json")}
"""What `sbom:` may name: the module that renders it, and how its file ends."""


def inventories_of(
    ground: Ground, passed: Sequence[Passed], images: Sequence[Packed], folder: Path
) -> dict[str, Inventory]:
    """What is in each target, by its id."""
    return {one.ready.target.id: inventory_of(ground, one, _pieces(one, images, folder)) for one in passed}


def describe(
    ground: Ground, passed: Sequence[Passed], inventories: Mapping[str, Inventory], folder: Path
) -> Iterator[Listed]:
    """Write `sbom/<build>_<os>_<arch>.<format>.json` for each target."""
    for one in passed:
        inventory = inventories[one.ready.target.id]
        for chosen in ground.config.sbom:
            module, ending = FORMATS[chosen.value]
            inside = f"sbom/{one.ready.target.build}_{one.ready.target.slug}.{ending}"
            content = import_module(module).render(inventory)
            write_whole(folder / inside, content)
            yield Listed("sbom", inside, digest_of(content), len(content), one.ready.target.id)


def inventory_of(ground: Ground, one: Passed, extra: Sequence[Component]) -> Inventory:
    """What is in one target's program, and in the layers around it."""
    ready, artifact = one.ready, one.inspected.artifact
    git = ground.git if ready.buildvcs else None
    return of_program(
        one.inspected.facts,
        name=ready.target.build,
        filename=ready.target.filename,
        digest=artifact.digest,
        timestamp=ground.created,
        version=ground.context.version,
        target=ready.target,
        sums={(module, version): h1 for module, version, h1 in one.asked.sums},
        published=ready.module if ready.published else None,
        module_imports=one.asked.imports,
        extra=extra,
        source=f"git+{git.remote}@{git.commit}" if git is not None and "://" in git.remote and git.commit else "",
    )


def _pieces(one: Passed, images: Sequence[Packed], folder: Path) -> tuple[Component, ...]:
    """The constant layers under this program, each once, whichever images it is in."""
    layout = Layout(folder / "oci", durable=False)
    found: dict[str, Component] = {}
    for image in images:
        for made in image.assembled.images:
            if made.program.digest != one.inspected.artifact.digest:
                continue
            if made.base is not None:
                found["base"] = base_component(made.base.name, made.base.pinned, made.base.digest)
            config = decode_config(read_verified(layout, made.config))
            told = [history for history in config.history or () if not history.empty_layer]
            for history, diff_id in zip(told, config.rootfs.diff_ids, strict=True):
                name = history.created_by.removeprefix("imagekit: ")
                if history.created_by != name and name in set(Piece):
                    found.setdefault(name, _piece(image, Piece(name), diff_id))
    return tuple(found[name] for name in sorted(found))


def _piece(image: Packed, piece: Piece, diff_id: Digest) -> Component:
    own = setting_of(image.recipe, piece)
    return piece_component(piece, diff_id, replaced=not isinstance(own, bool) and own != "auto")
