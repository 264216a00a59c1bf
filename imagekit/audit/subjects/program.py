"""Program: one file in an executable format, with all that was asked of its bytes. `look` reads an open file.

Every read goes through the one descriptor, so digest and facts are those of the same file, whoever renames meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from imagekit.audit.chains import ImportGraph
from imagekit.audit.explain import Explanation
from imagekit.audit.subject import Source, Subject
from imagekit.audit.subjects.sourcing import SourceTree
from imagekit.binary.deep import Deep
from imagekit.binary.facts import BinaryFacts
from imagekit.binary.reader import read
from imagekit.binary.sizes import PackageSize
from imagekit.content import CHUNK, Digest

STARTABLE = (
    b"\x7fELF",
    b"MZ",
    *(bytes.fromhex(word) for word in ("feedface", "feedfacf", "cefaedfe", "cffaedfe", "cafebabe", "cafebabf")),
)
"""ELF; PE; Mach-O, thin and fat, in both byte orders."""
RECOGNISED = (
    b"\0asm\x01\0\0\0",
    *(b"!<arch>\n", b"!<thin>\n", b"<bigaf>\n"),
    *(b"\x01\xdf", b"\x01\xf7"),
    *(bytes.fromhex(word) for word in ("000001eb", "00008a97", "00000647")),
)
"""wasm; archives of objects; XCOFF; Plan 9's a.out: formats whose linkage imagekit does not read."""
HEAD = 32
"""Bytes that tell whether a file is looked at."""
_DEB = b"!<arch>\ndebian-binary"
_CLASS = b"\xca\xfe\xba\xbe"
"""A fat Mach-O, or a Java class."""
_LARGE = 8 << 20
_PROCESSES = Path("/proc")
"""`/proc/N/fd/M` is an open file by a name that other processes of the user understand, too (proc(5))."""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of each program beyond its facts.

    `every_format` takes those that no reader of ours judges, too; `sources` knows who imports what.
    """

    packages: bool = False
    sizes: bool = False
    deep: bool = False
    explain: bool = False
    every_format: bool = True
    sources: SourceTree | None = None


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One program of a file: the only one, or one slice of a fat Mach-O."""

    facts: BinaryFacts
    packages: tuple[str, ...] | None = None
    sizes: tuple[PackageSize, ...] | None = None
    deep: Deep | None = None
    explanation: Explanation | None = None


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a system could start, or that is in another executable format; `size` in bytes."""

    digest: Digest
    size: int
    slices: tuple[Slice, ...]

    def subjects(self, label: str, source: Source, sources: SourceTree | None) -> Iterator[Subject]:
        """One a slice; the label of a fat file's slice ends in `#arm64`."""
        for one in self.slices:
            graph = sources.graph(one.facts) if sources else None
            yield Subject(
                path=f"{label}#{one.facts.slice}" if one.facts.slice else label,
                digest=self.digest,
                size=self.size,
                facts=one.facts,
                imports=partial(_itself, graph) if graph else None,
                source=source,
                packages=one.packages,
                sizes=one.sizes,
                explanation=one.explanation,
                deep=one.deep,
            )


def _itself(graph: ImportGraph) -> ImportGraph:
    return graph


def promising(head: bytes, wishes: Wishes) -> bool:
    """Whether a file that begins with `head` may be in an executable format; a Debian package is none."""
    if head.startswith(STARTABLE):
        return True
    return wishes.every_format and head.startswith(RECOGNISED) and not head.startswith(_DEB)


def startable(head: bytes, mode: int) -> bool:
    """Whether a file that begins like a program counts as one even if it is in no format: who may execute it could."""
    return bool(mode & 0o111) and not head.startswith(_CLASS)


def look(descriptor: int, wishes: Wishes, path: Path, *, might_start: bool) -> Program | None:
    """The program in an open regular file; None for one in no format, unless a system might start it (`might_start`).

    `path` is where it lies, for systems whose open files have no names of their own. Raises `UnreadableError`.
    """
    open_files = _PROCESSES / str(os.getpid()) / "fd"
    place = open_files / str(descriptor) if open_files.is_dir() else path
    size = os.fstat(descriptor).st_size
    with _Hashing(descriptor, size) as hashing:
        every = read(place)
    if not might_start and all(facts.format == "unknown" for facts in every):
        return None
    deep = _deep(place, every) if wishes.deep else (None,) * len(every)
    slices = tuple(_slice(facts, looked, place, wishes) for facts, looked in zip(every, deep, strict=True))
    return Program(digest=hashing.digest, size=hashing.size, slices=slices)


def _slice(facts: BinaryFacts, deep: Deep | None, place: Path, wishes: Wishes) -> Slice:
    return Slice(
        facts=facts,
        packages=_packages(place, facts.slice) if wishes.packages else None,
        sizes=_sizes(place, facts.slice) if wishes.sizes else None,
        deep=deep,
        explanation=_explained(facts, place, wishes) if wishes.explain else None,
    )


class _Hashing:
    """SHA-256 of a file, no further than it went when it was opened; a large one is hashed beside the block."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._limit = descriptor, size
        self._state, self.size = hashlib.sha256(), 0
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run) if size >= _LARGE else None

    def __enter__(self) -> _Hashing:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._thread.join()
        else:
            self._run()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            while piece := os.pread(self._descriptor, min(CHUNK, self._limit - self.size), self.size):
                self._state.update(piece)
                self.size += len(piece)
        except OSError as error:
            self._error = error

    @property
    def digest(self) -> Digest:
        return Digest("sha256:" + self._state.hexdigest())


def _deep(place: Path, every: tuple[BinaryFacts, ...]) -> tuple[Deep | None, ...]:
    from imagekit.binary import deep

    return tuple(deep.examine(place, every))


def _explained(facts: BinaryFacts, place: Path, wishes: Wishes) -> Explanation:
    from imagekit.audit.explain import explain

    return explain(facts, place, graph=wishes.sources.graph(facts) if wishes.sources else None)


def _packages(place: Path, slice_: str) -> tuple[str, ...] | None:
    """Import paths of the slice's function table, sorted; None where there is no table that can be read."""
    from imagekit.binary.functions import find
    from imagekit.binary.sizes import named_programs
    from imagekit.binary.window import open_window
    from imagekit.errors import FormatError

    view = open_window(place)
    try:
        program = next((program for name, program in named_programs(view) if name == slice_), None)
        table = find(program.view, program.layout) if program else None
        return tuple(sorted(table.packages())) if table else None
    except FormatError:
        return None
    finally:
        if not isinstance(view.buffer, bytes):
            view.buffer.close()


def _sizes(place: Path, slice_: str) -> tuple[PackageSize, ...] | None:
    from imagekit.binary.sizes import by_package

    return by_package(place, slice_) or None
