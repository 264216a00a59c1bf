"""What a recipe makes of the constant pieces that a program needs."""

from __future__ import annotations

from collections.abc import Mapping

from imagekit.audit.needs import Need, Piece
from imagekit.image.recipe import CertificateSetting, Recipe, setting_of


def decide(recipe: Recipe, found: tuple[Need, ...]) -> tuple[Need, ...]:
    """What the recipe's settings make of the program's needs: `true`, `false` and paths win over `auto`."""
    return tuple(_decided(recipe, need) for need in found)


def _decided(recipe: Recipe, need: Need) -> Need:
    match setting_of(recipe, need.piece):
        case bool(wanted):
            return Need(need.piece, wanted, _said(need.piece, wanted))
        case CertificateSetting(extra=extra):
            return Need(need.piece, True, f"rootfs.ca.extra adds {', '.join(extra)}")
        case "auto":
            return _by_environment(recipe.env, need)
        case str(path):
            return Need(need.piece, True, f"rootfs.{need.piece} is {path}")


def _said(piece: Piece, wanted: bool) -> str:
    key = Piece.USERS if piece is Piece.NSSWITCH else piece
    return f"rootfs.{key} is {'set' if wanted else 'false'}"


def _by_environment(env: Mapping[str, str], need: Need) -> Need:
    """Zone data also for a program that only prints local times, once the image sets TZ."""
    zone = env.get("TZ", "")
    silent = need.piece is Piece.TZDATA and not need.needed and not need.embedded
    if silent and zone not in ("", "UTC"):
        return Need(need.piece, True, f"env sets TZ={zone}: local times need its zone data")
    return need
