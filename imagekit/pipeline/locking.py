"""Lock: what the registry bases of a configuration are now. Touches disk and registries."""

from __future__ import annotations

from pathlib import Path

from imagekit.cancellation import Cancellation
from imagekit.config import read
from imagekit.image.bases import LAYOUT, SCRATCH
from imagekit.image.lock import Lock
from imagekit.oci.reference import Reference


def resolve(given: Path | None, cancellation: Cancellation) -> tuple[Path, Lock]:
    """The folder of the configuration, and every base that a registry has with its digest, sorted by name.

    A base that names its digest itself needs no lock. Raises `NetworkError` for one that cannot be asked.
    """
    from imagekit.oci.registry import connected

    config = read(given, Path())
    named = {recipe.base for recipe in config.images if recipe.base != SCRATCH and not recipe.base.startswith(LAYOUT)}
    found: dict[str, str] = {}
    for base in sorted(named):
        reference = Reference.parse(base)
        if not reference.digest:
            with connected(reference, cancellation=cancellation) as repository:
                found[base] = repository.resolve().digest
    return config.root, Lock(bases=found)
