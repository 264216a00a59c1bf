"""Write: dist/ changes whole, or is left alone because it already is what would be written. Touches disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import imagekit
from imagekit.audit.judge import Report
from imagekit.audit.report import audit_json
from imagekit.cancellation import Cancellation
from imagekit.content import Digest, canonical_json, digest_of, hash_file, hex_of
from imagekit.image import rootfs
from imagekit.image.assemble import compression_of
from imagekit.image.files import matches
from imagekit.image.recipe import CertificateSetting, Recipe
from imagekit.pipeline import attesting
from imagekit.pipeline.foundation import Foundations
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.parts import config_digest
from imagekit.pipeline.remembering import recall, remember
from imagekit.pipeline.shipping import Passed, Shipped, ship
from imagekit.pipeline.sums import SUMS, listed_in, sums_in
from imagekit.staging import GITIGNORE, staged
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
        ground.output.name,
        ground.git.remote if ground.git else "",
        [msgspec.structs.replace(target, origins=()) for target in ground.targets],
        [(recipe, compression_of(recipe).identity) for recipe in ground.images],
        [(one.inspected.artifact.digest, one.ready.toolchain, one.ready.mode, one.asked) for one in passed],
        digest_of(audit_json(report)),
        sorted(_packed_files(ground)),
        rootfs.sources_digest(),
        foundations.digests,
    ]
    return digest_of(canonical_json(said))


def _packed_files(ground: Ground) -> Iterator[tuple[str, str, int]]:
    """Every file of the project that goes into an image or an archive: its path, digest and mode."""
    patterns = [pattern for spec in ground.archives for pattern in spec.files]
    patterns += [pattern for recipe in ground.images for pattern in _patterns(recipe)]
    for pattern in dict.fromkeys(patterns):
        for found in matches(ground.root, pattern):
            for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
                if path.is_file():
                    yield str(path), hash_file(path)[0], path.stat().st_mode


def _patterns(recipe: Recipe) -> Iterator[str]:
    yield from (rule.source for rule in recipe.rootfs.files)
    yield from (variant.add.removeprefix("oci:").rpartition(":")[0] for variant in recipe.variants.values())
    yield from (variant.add.removeprefix("oci:") for variant in recipe.variants.values())
    for setting in (recipe.rootfs.ca, recipe.rootfs.tzdata, recipe.rootfs.users):
        if isinstance(setting, CertificateSetting):
            yield from setting.extra
        elif isinstance(setting, str) and setting != "auto":
            yield setting


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
