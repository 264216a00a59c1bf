"""The Merkle tree against a recursive one, and notes against the key in the Go source tree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imagekit.errors import IntegrityError, UsageError
from imagekit.source import tlog
from imagekit.source.note import VerifierKey, open_note


def test_every_record_of_every_small_tree_is_proven(database_class: Any) -> None:
    log = database_class({}, 70).log
    for size in range(1, 71):
        root = log.hash(0, size)
        for number in range(size):
            proof = [log.hash(low, high) for low, high in tlog.path(number, size)]
            leaf = tlog.record_hash(log.texts[number])
            assert tlog.climb(leaf, number, size, proof) == root
            assert tlog.climb(leaf, number, size, [*proof, root]) is None
            if proof:
                assert tlog.climb(leaf, number, size, [proof[0][::-1], *proof[1:]]) != root


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000, 65536, 65537, 70000])
def test_tiles_lead_to_the_root_of_this_tree(size: int, database_class: Any) -> None:
    database = database_class({}, size)
    tree = tlog.Tree(size, database.log.hash(0, size))
    nodes = [(0, number) for number in {0, size // 3, size - 1}]
    content = {tile: database.answer(tile.path)[1] for tile in tlog.tiles_for(nodes, size)}
    tiles = tlog.Tiles(tree, content)
    assert [tiles.node(node) for node in nodes] == [tlog.record_hash(database.log.texts[n]) for _, n in nodes]
    assert tiles.fold(0, size) == tree.root
    for tile, data in content.items():
        for at in (0, len(data) - 1):
            bent = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            with pytest.raises(IntegrityError):
                tlog.Tiles(tree, {**content, tile: bent})


def test_a_tile_that_nothing_leads_to_is_refused(database_class: Any) -> None:
    database = database_class({}, 700)
    tree = tlog.Tree(700, database.log.hash(0, 700))
    content = {tile: database.answer(tile.path)[1] for tile in tlog.tiles_for([], 700)}
    with pytest.raises(IntegrityError, match="nothing leads"):
        tlog.Tiles(tree, {**content, tlog.Tile(0, 1, 100): bytes(3200)})
    with pytest.raises(IntegrityError, match="missing"):
        tlog.Tiles(tree, {})


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (tlog.Tile(4, 1234067, 1), "tile/8/4/x001/x234/067.p/1"),
        (tlog.Tile(4, 1234067, 256), "tile/8/4/x001/x234/067"),
        (tlog.Tile(0, 0, 255), "tile/8/0/000.p/255"),
        (tlog.Tile(1, 999, 256), "tile/8/1/999"),
        (tlog.Tile(1, 1000, 256), "tile/8/1/x001/000"),
    ],
)
def test_tile_paths(tile: tlog.Tile, path: str) -> None:
    assert tile.path == path


HEAD = "go.sum database tree\n5\n" + "A" * 43 + "=\n"


@pytest.mark.parametrize(
    "text",
    {
        "another kind": HEAD.replace("tree", "tree v2"),
        "negative": HEAD.replace("\n5\n", "\n-5\n"),
        "leading zero": HEAD.replace("\n5\n", "\n05\n"),
        "signed": HEAD.replace("\n5\n", "\n+5\n"),
        "beyond all bounds": HEAD.replace("\n5\n", f"\n{1 << 62}\n"),
        "too many digits for int": HEAD.replace("\n5\n", "\n" + "9" * 5000 + "\n"),
        "short hash": HEAD.replace("A" * 43 + "=", "AAAA"),
        "no hash": "go.sum database tree\n5\n",
    }.items(),
    ids=lambda item: item[0],
)
def test_no_tree_head(text: tuple[str, str]) -> None:
    with pytest.raises(IntegrityError):
        tlog.parse_tree(text[1])


def test_further_lines_of_a_head_are_ignored() -> None:
    assert tlog.parse_tree(HEAD + "more\n").size == 5


def test_a_note_with_other_signatures_too_is_opened(database_class: Any) -> None:
    database = database_class({}, 3)
    key = VerifierKey.parse(database.key)
    note = database.note()
    other = "— somebody AAAAAAAA\n".encode()
    assert open_note(note + other, key) == note.decode().partition("\n\n")[0] + "\n"
    with pytest.raises(IntegrityError, match="not a signed note"):
        open_note(note + other * 200, key)
    for bad in (b"", b"\n\n", note[:-1], note.replace(b"\n\n", b"\n"), note + b"x", b"\xff" + note, b"\x07" + note):
        with pytest.raises(IntegrityError):
            open_note(bad, key)


@pytest.mark.parametrize("text", ["", "name", "name+12345678+", "name+1234567+AQ==", "na me+12345678+AQ=="])
def test_no_verifier_key(text: str) -> None:
    with pytest.raises(UsageError):
        VerifierKey.parse(text)


@pytest.mark.real
def test_the_keys_that_go_has_are_read() -> None:
    goroot = Path(subprocess.run(["go", "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip())
    source = (goroot / "src/cmd/go/internal/modfetch/key.go").read_text()
    (name, text), *_ = re.findall(r'"([^"]+)":\s*"([^"]+)"', source)
    assert VerifierKey.parse(text).name == name
