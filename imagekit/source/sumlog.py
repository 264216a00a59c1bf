"""The checksum database's log: records looked up, proven and kept. Touches disk; the network through `fetch`.

For each module the record is looked up, the log's signed head is checked, and a Merkle proof leads from the record to
that head. The largest head ever seen is kept; every other head must be a prefix of it or continue it, so a log that
shows different people different histories is caught. What is proven is kept with its proof under the cache directory:

    sumdb/<name>+<key hash>/latest            the newest signed head; never replaced by a smaller one
    sumdb/<name>+<key hash>/records/M@V.json  a record, a head that contains it, and the proof of that
    sumdb/<name>+<key hash>/tile/8/…          complete tiles
"""

from __future__ import annotations

import base64
import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import parse_json, write_whole
from imagekit.errors import IntegrityError, NetworkError
from imagekit.source import proxy, tlog
from imagekit.source.modpath import escape_module
from imagekit.source.note import VerifierKey, open_note
from imagekit.source.tlog import Record, Tile, Tree

LOOKUP_LIMIT = 64 << 10
"""Bytes of a lookup's answer; real ones have about 500."""
_TILE_LIMIT = tlog.WIDTH * tlog.HASH

Module = tuple[str, str]
T = TypeVar("T")
R = TypeVar("R")


class Proven(msgspec.Struct, frozen=True):
    """A record as it is kept: with a signed head that contains it, and the hashes that prove it."""

    number: int
    text: str
    head: str
    proof: tuple[str, ...]


class Unreached(msgspec.Struct, frozen=True):
    """A module whose record could not be had, and why."""

    module: Module
    reason: str


class Client:
    """Proves records of one database. `fetch` reads a path below the database's URL, as `proxy.Fetch` promises.

    All that is returned was verified; what is on disk is verified again when it is read. Safe for several processes.
    """

    def __init__(
        self, cache_dir: Path, key: VerifierKey, fetch: proxy.Fetch, *, cancellation: Cancellation | None = None
    ) -> None:
        self.key = key
        self.folder = self.folder_for(cache_dir, key)
        self._fetch = fetch
        self._cancellation = cancellation
        self._heads: dict[str, Tree] = {}

    @staticmethod
    def folder_for(cache_dir: Path, key: VerifierKey) -> Path:
        """Where the records of the database with this key are kept."""
        return cache_dir / "sumdb" / f"{key.name.replace('/', '_').replace(':', '_')}+{key.hash.hex()}"

    def verify(self, modules: Iterable[Module]) -> tuple[dict[Module, str], tuple[Unreached, ...]]:
        """The proven record text (go.sum lines) of each module, and those that could not be had.

        Raises `IntegrityError` for anything that the log's key or its history contradicts.
        """
        found: dict[Module, str] = {}
        missing: list[Module] = []
        for module in modules:
            kept = self._kept(module)
            if kept is None:
                missing.append(module)
            else:
                found[module] = kept
        if not missing:
            return found, ()
        answers, unreached = self._look_up(missing)
        try:
            found |= self._prove(answers)
        except NetworkError as error:
            unreached += [Unreached(module, error.message) for module in answers]
        return found, tuple(sorted(unreached, key=lambda one: one.module))

    def _kept(self, module: Module) -> str | None:
        """The text of a kept record whose own proof still holds, else None: then the database is asked again."""
        try:
            kept = parse_json(self._record_path(module).read_bytes(), Proven)
            proof = [base64.b64decode(one, validate=True) for one in kept.proof]
            tree = self._head(kept.head.encode())
        except (OSError, msgspec.DecodeError, ValueError, IntegrityError):
            return None
        if not 0 <= kept.number < tree.size:
            return None
        root = tlog.climb(tlog.record_hash(kept.text), kept.number, tree.size, proof)
        return kept.text if root == tree.root else None

    def _look_up(self, modules: Sequence[Module]) -> tuple[dict[Module, tuple[Record, bytes]], list[Unreached]]:
        """What the database answers for each module, nothing of it believed yet."""
        answers: dict[Module, tuple[Record, bytes]] = {}
        unreached: list[Unreached] = []
        silent: list[str] = []

        def ask(module: Module) -> bytes | NetworkError:
            if silent:
                return NetworkError(silent[0])
            try:
                return self._read(f"lookup/{escape_module(*module)}", LOOKUP_LIMIT)
            except proxy.SilentError as error:  # whoever does not answer once is not asked a hundred times
                silent.append(error.message)
                return error
            except NetworkError as error:
                return error

        for module, answer in self._each(ask, modules):
            if isinstance(answer, NetworkError):
                unreached.append(Unreached(module, answer.message))
            else:
                answers[module] = self._parsed(module, answer)
        return answers, unreached

    def _parsed(self, module: Module, answer: bytes) -> tuple[Record, bytes]:
        """The record and its note; it must at least speak of the module that was asked for."""
        record, note = tlog.parse_record(answer)
        if not any(line.startswith(f"{module[0]} {module[1]} ") for line in record.text.splitlines()):
            raise IntegrityError(
                f"{self.key.name} was asked for {module[0]}@{module[1]} and sent the record of something else",
                hint="somebody between here and the checksum database changed it; try another network or GOPROXY",
            )
        return record, note

    def _prove(self, answers: Mapping[Module, tuple[Record, bytes]]) -> dict[Module, str]:
        """Prove every answer in the newest head among them and the kept one; then keep head, tiles and records."""
        if not answers:
            return {}
        with self._locked():
            kept = self._latest()
            heads = {head: self._head(head) for head in {note for _, note in answers.values()} | set(kept)}
            newest = max(heads, key=lambda head: (heads[head].size, head))
            tree = heads[newest]
            tiles = self._tiles(tree, heads.values(), [record for record, _ in answers.values()])
            for head, older in heads.items():
                self._compare(tiles, newest, tree, head, older)
            proofs = {module: self._proof(tiles, tree, record, module) for module, (record, _) in answers.items()}
            self._keep(newest, tiles.content)
        for module, (record, _) in answers.items():
            encoded = tuple(base64.b64encode(one).decode() for one in proofs[module])
            kept_record = Proven(record.number, record.text, newest.decode(), encoded)
            write_whole(self._record_path(module), msgspec.json.encode(kept_record), 0o600)
        return {module: record.text for module, (record, _) in answers.items()}

    def _tiles(self, tree: Tree, heads: Iterable[Tree], records: Sequence[Record]) -> tlog.Tiles:
        """The tiles needed for every head and record, traced to the root of `tree`."""
        nodes = [node for head in heads for node in tlog.subtrees(0, head.size)]
        for record in records:
            if record.number >= tree.size:
                raise IntegrityError(f"{self.key.name}: record {record.number} is not yet in its log of {tree.size}")
            nodes += [(0, record.number), *tlog.proof_nodes(record.number, tree.size)]
        wanted = tlog.tiles_for(nodes, tree.size)
        kept = {tile: data for tile in wanted if (data := self._kept_tile(tile)) is not None}
        try:
            return self._traced(tree, wanted, kept)
        except IntegrityError:
            if not kept:
                raise
            return self._traced(tree, wanted, {})  # perhaps it is only our own copy that is damaged

    def _traced(self, tree: Tree, wanted: Sequence[Tile], kept: Mapping[Tile, bytes]) -> tlog.Tiles:
        missing = [tile for tile in wanted if tile not in kept]
        return tlog.Tiles(tree, {**kept, **dict(self._each(self._tile, missing))})

    def _kept_tile(self, tile: Tile) -> bytes | None:
        """Its bytes, cut from the complete tile in the cache; None if that is not there."""
        try:
            content = (self.folder / tile.complete.path).read_bytes()
        except OSError:
            return None
        return content[: tile.width * tlog.HASH] if len(content) == _TILE_LIMIT else None

    def _tile(self, tile: Tile) -> bytes:
        """A tile as the server has it; a partial one may since have been completed."""
        try:
            return self._read(tile.path, _TILE_LIMIT)
        except proxy.MissingError:
            if tile == tile.complete:
                raise
            return self._read(tile.complete.path, _TILE_LIMIT)[: tile.width * tlog.HASH]

    def _compare(self, tiles: tlog.Tiles, newest: bytes, tree: Tree, head: bytes, older: Tree) -> None:
        if tiles.fold(0, older.size) != older.root:
            raise IntegrityError(
                f"the checksum database {self.key.name} shows two histories: its head of {older.size} records "
                f"is not contained in its head of {tree.size}\n{head.decode()}\n{newest.decode()}",
                hint="it, or somebody with its key, lies to somebody: keep both heads and report them; do not build",
            )

    def _proof(self, tiles: tlog.Tiles, tree: Tree, record: Record, module: Module) -> list[bytes]:
        proof = [tiles.fold(low, high) for low, high in tlog.path(record.number, tree.size)]
        leaf = tlog.record_hash(record.text)
        if tiles.node((0, record.number)) != leaf or tlog.climb(leaf, record.number, tree.size, proof) != tree.root:
            raise IntegrityError(
                f"what was sent for {module[0]}@{module[1]} is not record {record.number} of {self.key.name}",
                hint="somebody between here and the checksum database changed it; try another network or GOPROXY",
            )
        return proof

    def _head(self, note: bytes) -> Tree:
        """The tree that a signed note promises; each note is verified once."""
        text = note.decode("utf-8", "replace")
        if text not in self._heads:
            self._heads[text] = tlog.parse_tree(open_note(note, self.key))
        return self._heads[text]

    def _latest(self) -> tuple[bytes, ...]:
        path = self.folder / "latest"
        return (path.read_bytes(),) if path.is_file() else ()

    def _keep(self, newest: bytes, content: Mapping[Tile, bytes]) -> None:
        write_whole(self.folder / "latest", newest, 0o600)
        for tile, data in content.items():
            path = self.folder / tile.path
            if tile == tile.complete and not path.is_file():
                write_whole(path, data, 0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time moves the newest head."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "lock").open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _record_path(self, module: Module) -> Path:
        return self.folder / "records" / f"{escape_module(*module)}.json"

    def _read(self, path: str, limit: int) -> bytes:
        if self._cancellation is not None:
            self._cancellation.check()
        return self._fetch(path, limit)

    def _each(self, task: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[T, R]]:
        """The results in the order of the items, many at a time (they wait for the network, not for a CPU)."""
        if not items:
            return
        with ThreadPoolExecutor(min(proxy.CONNECTIONS, len(items))) as pool:
            futures = [pool.submit(task, item) for item in items]
            try:
                for item, future in zip(items, futures, strict=True):
                    yield item, future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
