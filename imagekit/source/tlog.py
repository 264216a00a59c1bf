"""A transparent log: a Merkle tree over records, its proofs and its tiles (RFC 6962; golang.org/x/mod/sumdb/tlog).

Computes only. A node is (level, index): it covers the records index << level up to (index + 1) << level. A tree of any
size is a row of complete subtrees, folded from the right. Nothing that a server says about a node is believed before
`Tiles` has traced it to a signed root.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from imagekit.errors import IntegrityError

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH = 32
_PREFIX = "go.sum database tree"
_MAX_TREE = 1 << 62

Node = tuple[int, int]


class Tree(msgspec.Struct, frozen=True):
    """A log at one moment: how many records it had and the hash over them."""

    size: int
    root: bytes


EMPTY = Tree(0, hashlib.sha256().digest())


class Record(msgspec.Struct, frozen=True):
    """One entry of the log: its number and text."""

    number: int
    text: str


class Tile(msgspec.Struct, frozen=True, order=True):
    """`width` neighbouring nodes of level 8 × `level`, from `index` × 256 on: the unit in which a log is served."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """`tile/8/0/x001/x234/067`, with `.p/W` if it is not complete."""
        rest, name = divmod(self.index, 1000)
        parts = [f"{name:03d}"]
        while rest:
            rest, digits = divmod(rest, 1000)
            parts.insert(0, f"x{digits:03d}")
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{HEIGHT}/{self.level}/{'/'.join(parts)}{partial}"

    @property
    def complete(self) -> Tile:
        """The same tile when all its 256 nodes are there."""
        return Tile(self.level, self.index, WIDTH)


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def record_hash(text: str) -> bytes:
    return hashlib.sha256(b"\x00" + text.encode()).digest()


def parse_tree(text: str) -> Tree:
    """The tree that a note's text describes; raise `IntegrityError` for another text (further lines are ignored)."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != _PREFIX:
        raise IntegrityError("the signed note is not the tree head of a checksum database")
    try:
        size, root = int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (ValueError, binascii.Error):
        raise IntegrityError("the signed tree head has no size and hash") from None
    if str(size) != lines[1] or not 0 <= size < _MAX_TREE or len(root) != HASH:
        raise IntegrityError("the signed tree head has an impossible size or hash")
    return Tree(size, root)


def parse_record(message: bytes) -> tuple[Record, bytes]:
    """A lookup's answer: the record and the signed note after it; raise `IntegrityError` if it is not that."""
    head, blank, note = message.partition(b"\n\n")
    number, newline, text = head.partition(b"\n")
    if not blank or not newline or not text or not number.isdigit() or len(number) > 19:
        raise IntegrityError(
            "what the checksum database sent is not a record",
            hint="does a captive portal or a proxy answer in its place? Look at GOPROXY and GOSUMDB",
        )
    try:
        decoded = text.decode("utf-8") + "\n"
    except UnicodeDecodeError:
        raise IntegrityError("a record of the checksum database is not UTF-8") from None
    if any(c < " " and c != "\n" for c in decoded):
        raise IntegrityError("a record of the checksum database has control characters")
    return Record(int(number), decoded), note


def subtrees(low: int, high: int) -> Iterator[Node]:
    """The complete subtrees that cover the records low up to high, largest first (low must be aligned to the first)."""
    while low < high:
        level = (high - low).bit_length() - 1
        yield level, low >> level
        low += 1 << level


def path(number: int, size: int) -> list[tuple[int, int]]:
    """The ranges of records whose hashes prove record `number` in a tree of `size`, from the leaf up (2.1.1)."""
    low, high, ranges = 0, size, []
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if number < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return ranges[::-1]


def climb(leaf: bytes, number: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that follows from a leaf and its proof; None if the proof has not the length that it must have."""
    ranges = path(number, size)
    if len(ranges) != len(proof):
        return None
    for (low, _), sibling in zip(ranges, proof, strict=True):
        leaf = node_hash(sibling, leaf) if low < number else node_hash(leaf, sibling)
        # a range left of the record's own begins below it, one right of it above
    return leaf


def tile_of(node: Node, size: int) -> Tile:
    """The tile that serves this node in a tree of `size` records."""
    level, index = node
    tile_level, inner = divmod(level, HEIGHT)
    number = (index << inner) >> HEIGHT
    width = min(WIDTH, (size >> (HEIGHT * tile_level)) - number * WIDTH)
    return Tile(tile_level, number, width)


def tiles_for(nodes: Iterable[Node], size: int) -> list[Tile]:
    """The tiles needed to believe these nodes: those of the root, those of the nodes, and all between; sorted."""
    needed: set[Tile] = {tile_of(node, size) for node in subtrees(0, size)}
    for node in nodes:
        tile = tile_of(node, size)
        while tile not in needed:
            needed.add(tile)
            tile = tile_of(((tile.level + 1) * HEIGHT, tile.index), size)
    return sorted(needed, key=lambda tile: (-tile.level, tile.index))


class Tiles:
    """The nodes of one tree, read from tiles that were traced to its root.

    Raises `IntegrityError` on construction if they do not lead to it, or if a tile has not its length.
    """

    def __init__(self, tree: Tree, content: Mapping[Tile, bytes]) -> None:
        self._tree = tree
        self.content = content
        for tile, data in content.items():
            if len(data) != tile.width * HASH:
                raise IntegrityError(f"{tile.path} has {len(data)} bytes, not {tile.width * HASH}")
        if self.fold(0, tree.size) != tree.root:
            raise IntegrityError(f"the tiles do not have the hash that was signed for {tree.size} records")
        self._trace(sorted(content, key=lambda tile: (-tile.level, tile.index)))

    def _trace(self, tiles: Sequence[Tile]) -> None:
        """Every tile must hash to a node of one that is traced already; those that make up the root are."""
        traced = {tile_of(node, self._tree.size) for node in subtrees(0, self._tree.size)}
        for tile in tiles:
            if tile in traced:
                continue
            above = ((tile.level + 1) * HEIGHT, tile.index)
            if tile.width != WIDTH or tile_of(above, self._tree.size) not in traced:
                raise IntegrityError(f"nothing leads from the signed root to {tile.path}")
            if _fold_complete(self.content[tile]) != self.node(above):
                raise IntegrityError(f"{tile.path} is not the tile that the signed tree has there")
            traced.add(tile)

    def node(self, node: Node) -> bytes:
        """The hash of a complete subtree."""
        level, index = node
        tile = tile_of(node, self._tree.size)
        inner = level % HEIGHT
        start = (index << inner) % WIDTH
        data = self.content.get(tile)
        if data is None:
            raise IntegrityError(f"{tile.path} is missing")
        return _fold_complete(data[start * HASH : (start + (1 << inner)) * HASH])

    def fold(self, low: int, high: int) -> bytes:
        """The hash over the records low up to high."""
        row = [self.node(node) for node in subtrees(low, high)]
        if not row:
            return EMPTY.root
        out = row.pop()
        while row:
            out = node_hash(row.pop(), out)
        return out


def _fold_complete(data: bytes) -> bytes:
    """The hash of 2^n neighbouring nodes."""
    row = [data[at : at + HASH] for at in range(0, len(data), HASH)]
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def proof_nodes(number: int, size: int) -> list[Node]:
    """The nodes from which `path` is hashed."""
    return [node for low, high in path(number, size) for node in subtrees(low, high)]
