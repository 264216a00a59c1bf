"""The constant pieces of a root file system as components. Asks the wheels that hold them for their versions."""

from __future__ import annotations

from importlib import import_module

from imagekit.audit.needs import Piece
from imagekit.content import Digest
from imagekit.sbom.inventory import Component, Kind
from imagekit.sbom.purl import pypi_purl

_WHEELS = {Piece.CA: "certifi", Piece.TZDATA: "tzdata"}


def piece_component(piece: Piece, diff_id: Digest, *, replaced: bool = False) -> Component:
    """What a layer adds to an image. `replaced`: the recipe put a file of its own there.

    `diff_id` names the layer's bytes; it is a property and no hash, since it is not the digest of the wheel.
    """
    wheel, version = ("", "") if replaced else _wheel(piece)
    return Component(
        ref=f"rootfs:{piece}",
        name=wheel or f"rootfs {piece}",
        version=version,
        kind=Kind.DATA,
        purl=pypi_purl(wheel, version) if wheel else "",
        properties=(("imagekit:rootfs:diff-id", diff_id), ("imagekit:rootfs:piece", str(piece))),
    )


def base_component(name: str, pinned: str, digest: Digest) -> Component:
    """The image below an image's own layers; `digest` is that of its manifest, a property since no file has it."""
    return Component(
        ref="base",
        name=name,
        version=digest,
        kind=Kind.DATA,
        properties=(("imagekit:base:digest", digest), ("imagekit:base:pinned", pinned)),
    )


def _wheel(piece: Piece) -> tuple[str, str]:
    """The wheel that a piece's content comes from, and its version; '' for what imagekit writes itself."""
    name = _WHEELS.get(piece, "")
    return (name, str(import_module(name).__version__)) if name else ("", "")
