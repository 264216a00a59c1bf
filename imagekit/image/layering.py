"""Which layers an image has: the entries of each, lowest first. Reads disk through rootfs and files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from imagekit.audit.needs import Need, Piece
from imagekit.errors import ConfigError
from imagekit.image import files, rootfs
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import Program
from imagekit.oci.layers import Entry, parents
from imagekit.text import line

_TMP = Entry("tmp", "dir", 0o1777)
_WHITEOUT = ".wh."


class Stratum(msgspec.Struct, frozen=True):
    """A layer to be: its entries, and its line in the image's history."""

    name: str
    why: str
    entries: tuple[Entry, ...]


def strata(
    recipe: Recipe, decided: tuple[Need, ...], root: Path, standing: Mapping[str, Entry] = MappingProxyType({})
) -> tuple[Stratum, ...]:
    """The pieces that were decided on, in the order of `Piece`, then one layer for each rule of `rootfs.files`.

    `standing` is what the base holds, by path. A folder that a lower layer gave a mode and an owner keeps them in the
    layers above. Raises `ConfigError` if a path is a folder in one layer and something else in another, or is named
    like a deletion: an engine would take away what is below.
    """
    known: dict[str, Entry] = {_TMP.path: _TMP, **standing}
    return tuple(_on_top_of(known, stratum) for stratum in _plain(recipe, decided, root))


def _plain(recipe: Recipe, decided: tuple[Need, ...], root: Path) -> Iterator[Stratum]:
    present = {need.piece: need.why for need in decided if need.needed}
    for piece in Piece:
        if piece in present:
            yield Stratum(piece.value, present[piece], rootfs.entries_of(recipe, piece, root))
    for rule in recipe.rootfs.files:
        yield Stratum("files", f"{rule.source} to {rule.to}", files.entries_of(root, rule))


def _on_top_of(known: dict[str, Entry], stratum: Stratum) -> Stratum:
    """The stratum with every folder it passes through as the layers below it left that folder; `known` learns of it."""
    own = {entry.path: entry for entry in stratum.entries}
    for path in sorted({parent for entry in stratum.entries for parent in parents(entry.path)} - set(own)):
        below = known.get(path)
        own[path] = below if below is not None and below.kind == "dir" else Entry(path, "dir", 0o755)
    for path, entry in own.items():
        if path.rpartition("/")[2].startswith(_WHITEOUT):
            raise ConfigError(
                f"/{line(path)} would delete what lower layers have there (OCI image spec, layer.md, whiteouts)",
                hint=f"give the file of {stratum.why} another name",
            )
        if path in known and (known[path].kind == "dir") != (entry.kind == "dir"):
            raise _covered(known[path], entry, stratum)
    known.update(own)
    return msgspec.structs.replace(stratum, entries=tuple(own[path] for path in sorted(own)))


def _covered(below: Entry, entry: Entry, stratum: Stratum) -> ConfigError:
    """An engine puts a folder in the place of a link, and a file in that of a folder with all that is in it."""
    names = {"dir": "a folder", "file": "a file", "link": f"a link to {line(below.target)}"}
    was, becomes = names[below.kind], names[entry.kind]
    return ConfigError(
        f"/{line(entry.path)} is {was} in one layer and {becomes} in the layer of {stratum.why}",
        hint="send the files to another folder by rootfs.files, or leave a piece out that the base has: `false`",
    )


def program_stratum(
    recipe: Recipe, program: Program, below: Iterable[Stratum], standing: Mapping[str, Entry] = MappingProxyType({})
) -> Stratum:
    """The layer of the program: `/<name>`, 0555, root's.

    Raises `ConfigError` if another layer of ours has that path, or the base, of which `standing` tells, a folder.
    """
    if program.name in standing and standing[program.name].kind == "dir":
        raise ConfigError(
            f"images/{recipe.id}: {recipe.base} has a folder /{program.name}, where the program belongs",
            hint="give the build another id: the program is called by it",
        )
    if any(entry.path == program.name for stratum in below for entry in stratum.entries):
        raise ConfigError(
            f"images/{recipe.id}: rootfs.files puts something at /{program.name}, where the program belongs",
            hint="send it to another path",
        )
    entry = Entry(program.name, "file", 0o555, content=program.path, digest=program.digest)
    return Stratum("program", f"/{program.name}", (entry,))


def merged(many: Iterable[tuple[Stratum, ...]]) -> tuple[Entry, ...]:
    """All entries of all platforms' strata in one tree, later layers over earlier ones, sorted by path.

    It is the same on every platform except for pieces that only some of them need.
    """
    tree = {entry.path: entry for layers in many for stratum in layers for entry in stratum.entries}
    return tuple(tree[path] for path in sorted(tree))
