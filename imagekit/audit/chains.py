"""Import chains: the shortest way from main to a package, and the one import whose removal cuts every way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

Edge = tuple[str, str]
"""(importer, imported)."""


class ImportGraph(msgspec.Struct, frozen=True, kw_only=True):
    """The packages of one target as `go list -deps` gave them, as plain values.

    `module` is the main module's path: its packages are the ones that the user can edit.
    """

    main: str
    imports: Mapping[str, Sequence[str]]
    module: str = ""
    cgo: Collection[str] = frozenset()
    """Packages whose selected files import "C"."""
    dynamic: Collection[str] = frozenset()
    """Packages whose selected files hold `//go:cgo_import_dynamic`."""
    standard: Collection[str] = frozenset()
    """Packages of the standard library."""
    libraries: Mapping[str, Sequence[str]] = {}
    """What sources name (`-lfoo`, `libdl.so.2`) -> the packages that do."""


def shortest(
    imports: Mapping[str, Sequence[str]], start: str, goal: Callable[[str], bool], *, without: Edge | None = None
) -> tuple[str, ...]:
    """The shortest chain from `start` to a package that `goal` accepts, both ends included; () if there is none.

    Among chains of one length the first in alphabetical order, package by package. `without` is an import to ignore.
    """
    before: dict[str, str] = {start: ""}
    waiting = deque([start])
    while waiting:
        package = waiting.popleft()
        if goal(package):
            return _walk_back(before, package)
        for imported in sorted(imports.get(package, ())):
            if imported not in before and (package, imported) != without:
                before[imported] = package
                waiting.append(imported)
    return ()


def _walk_back(before: Mapping[str, str], package: str) -> tuple[str, ...]:
    chain = []
    while package:
        chain.append(package)
        package = before[package]
    return tuple(reversed(chain))


def cutting_edges(
    imports: Mapping[str, Sequence[str]], chain: Sequence[str], goal: Callable[[str], bool]
) -> tuple[Edge, ...]:
    """The imports of `chain`, in its order, without any one of which no accepted package is reached."""
    return tuple(edge for edge in pairwise(chain) if not shortest(imports, chain[0], goal, without=edge))


def edge_to_cut(graph: ImportGraph, chain: Sequence[str], goal: Callable[[str], bool]) -> Edge | None:
    """The one import to remove: the last that cuts in the main module, else the first that cuts; None if none does."""
    edges = cutting_edges(graph.imports, chain, goal)
    own = [edge for edge in edges if is_own(graph, edge[0])]
    return own[-1] if own else next(iter(edges), None)


def reached(imports: Mapping[str, Sequence[str]], start: str) -> frozenset[str]:
    """Every package that `start` needs, itself included."""
    seen, waiting = {start}, [start]
    while waiting:
        for imported in imports.get(waiting.pop(), ()):
            if imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    return frozenset(seen)


def importers(imports: Mapping[str, Sequence[str]], package: str) -> Iterator[str]:
    """The packages that import `package` themselves, in alphabetical order."""
    return (importer for importer in sorted(imports) if package in imports[importer])


def is_own(graph: ImportGraph, package: str) -> bool:
    """Whether the package stands in the main module, where the user can edit it."""
    return package == graph.main or (bool(graph.module) and (package + "/").startswith(graph.module + "/"))
