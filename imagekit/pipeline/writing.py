"""Write: dist/ changes whole, or is left alone because it already is what would be written. Touches disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import imagekit
from imagekit.audit.judge import Report
from imagekit.audit.needs import Piece
from imagekit.audit.report import audit_json
from imagekit.cancellation import Cancellation
from imagekit.content import Digest, canonical_json, digest_of, hash_file, hex_of
from imagekit.image import files, rootfs
from imagekit.image.archives import beside
from imagekit.image.assemble import compression_of
from imagekit.image.kept import identity_of, with_digest
from imagekit.image.recipe import Recipe, setting_of
from imagekit.image.shipped import chosen
from imagekit.image.variants import added_digest
from imagekit.oci.layers import Entry
from imagekit.pipeline import attesting
from imagekit.pipeline.foundation import Foundations
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.parts import config_digest
from imagekit.pipeline.remembering import recall, remember
from imagekit.pipeline.shipping import Passed, Shipped, ship
from imagekit.pipeline.sums import SUMS, listed_in, sums_in
from imagekit.platform import Platform
from imagekit.staging import GITIGNORE, finish, staged
from imagekit.workers import Workers


class _Written(msgspec.Struct, frozen=True):
    """What was written for a fingerprint."""

    fingerprint: Digest
    shipped: Shipped


def write(
    ground: Ground, passed: Sequence[Passed], report: Report, foundations: Foundations, cancellation: Cancellation
) -> Shipped:
    """The finished output folder, swapped in whole; left as it is where every file is what it would be again."""
    place = ground.request.cache / "written" / hex_of(digest_of(str(ground.output.absolute()).encode()))
    fingerprint = _fingerprint(ground, passed, report, foundations)
    known = recall(place, _Written)
    if known is not None and known.fingerprint == fingerprint and _is_whole(ground, known.shipped, cancellation):
        finish(ground.output)
        return known.shipped
    with staged(ground.output) as folder:
        shipped = ship(ground, passed, report, foundations, folder, cancellation)
        cancellation.check()
    remember(place, _Written(fingerprint, msgspec.structs.replace(shipped, said=())))
    return shipped


def _fingerprint(ground: Ground, passed: Sequence[Passed], report: Report, foundations: Foundations) -> Digest:
    """Of everything that decides a byte of dist/: settings, programs, the report, and the files that are packed."""
    said: list[Any] = [
        imagekit.__version__,
        config_digest(ground),
        attesting.config_of(ground),
        attesting.source_of(ground),
        attesting.engine_of(ground),
        ground.request.packages,
        ground.request.tags,
        ground.context,
        ground.created,
        ground.output_inside,
        ground.git.remote if ground.git else "",
        [msgspec.structs.replace(target, origins=()) for target in ground.targets],
        [(recipe, compression_of(recipe).identity) for recipe in ground.images],
        [(one.inspected.artifact.digest, one.ready.toolchain, one.ready.mode, one.asked) for one in passed],
        digest_of(audit_json(report)),
        list(_packed(ground, passed)),
        rootfs.sources_digest(),
        foundations.digests,
    ]
    return digest_of(canonical_json(said))


def _packed(ground: Ground, passed: Sequence[Passed]) -> Iterator[list[Any]]:
    """Everything of the disk that goes into an image or an archive: each entry as it is packed, each variant by digest.

    Raises as packing does.
    """
    platforms: dict[str, list[Platform]] = {}
    for one in passed:
        platforms.setdefault(one.ready.target.build, []).append(one.ready.target.platform)
    for spec in ground.archives:
        if spec.build in platforms:
            yield _identities(beside(spec, ground.root))
    for recipe in ground.images:
        if recipe.build in platforms and chosen(recipe, platforms[recipe.build]):
            yield from map(_identities, _own_pieces(recipe, ground.root))
            yield from (_identities(files.entries_of(ground.root, rule)) for rule in recipe.rootfs.files)
            yield [added_digest(variant.add, ground.root) for variant in recipe.variants.values()]


def _identities(entries: Sequence[Entry]) -> list[Any]:
    return [identity_of(with_digest(entry)) for entry in entries]


def _own_pieces(recipe: Recipe, root: Path) -> Iterator[tuple[Entry, ...]]:
    """The pieces that are made from the user's files; `rootfs.sources_digest` stands for the others."""
    for piece in Piece:
        setting = setting_of(recipe, piece)
        if setting not in (True, False, "auto") or (setting is True and piece is Piece.NSSWITCH):
            yield rootfs.entries_of(recipe, piece, root)


def _is_whole(ground: Ground, shipped: Shipped, cancellation: Cancellation) -> bool:
    """Whether every file of the output is what its SHA256SUMS says, SHA256SUMS what was written, and no other there."""
    folder = ground.output
    try:
        if folder.is_symlink() or (folder / ".gitignore").read_bytes() != GITIGNORE:
            return False
        sums = sums_in(folder)
        if digest_of(sums) != shipped.sums:
            return False
        listed = listed_in(sums)
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        if present != listed.keys() | {SUMS, ".gitignore"}:
            return False
        hashed = Workers(ground.request.jobs, cancellation).each(partial(_hex, folder), listed)
        return all(listed[inside] == found for inside, found in hashed)
    except OSError:
        return False


def _hex(folder: Path, inside: str) -> str:
    """The digest of one file; '' for a link, and for a program that cannot be started."""
    path = folder / inside
    runnable = not inside.startswith("bin/") or path.stat().st_mode & 0o777 == 0o555
    return hex_of(hash_file(path)[0]) if runnable and not path.is_symlink() else ""
