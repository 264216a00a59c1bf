"""Why a program asks for a loader or a library: the flag that was set, or the import that brought it in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from imagekit.audit.chains import ImportGraph, edge_to_cut, importers, is_own, reached, shortest
from imagekit.binary.facts import BinaryFacts, CgoUse, Linkage
from imagekit.targets.target import Target

if TYPE_CHECKING:
    from imagekit.audit.subject import Subject

_PURE_TAGS = {"net": "netgo", "os/user": "osusergo"}
"""The tag that gives a standard package without C (go doc net, os/user)."""
C = "C"
"""The import path of C in Go source."""
_RUNTIME = "runtime/cgo"
"""Every package that uses cgo brings it in; it is never the reason itself."""
_SHOWN = 5
"""How many further packages a hint names."""


class Cause(msgspec.Struct, frozen=True):
    """One reason, the import chain that shows it (main first; () for a flag), and what removes it."""

    message: str
    chain: tuple[str, ...] = ()
    hint: str = ""


def causes(subject: Subject) -> tuple[Cause, ...]:
    """The reasons for a linkage that is not static, the surest first; () where nothing at hand tells it."""
    return reasons(subject.facts, subject.imports, subject.expected.target if subject.expected else None)


def reasons(
    facts: BinaryFacts, imports: Callable[[], ImportGraph] | None, target: Target | None = None
) -> tuple[Cause, ...]:
    """The same from facts; `imports` is asked only where they call for it, `target` is what was to be built."""
    found = list(_by_flags(facts, target))
    if facts.linkage is Linkage.LOADER_ONLY or imports is None:
        return tuple(found)
    if facts.cgo is CgoUse.PROVEN:
        found += _by_cgo(imports())
    elif facts.linkage is Linkage.DYNAMIC:
        found += _by_dynamic_imports(imports())
    return tuple(found)


def _by_flags(facts: BinaryFacts, target: Target | None) -> Iterator[Cause]:
    linkage = facts.linkage
    if linkage is Linkage.LOADER_ONLY and (said := _said(facts, target, "-buildmode", "pie")):
        yield Cause(
            f"{said}: Go's own linker makes a position-independent program ask for a loader",
            hint="remove -buildmode=pie: Go's default (exe) is static",
        )
    if linkage is Linkage.DYNAMIC:
        for instrument in ("-race", "-asan", "-msan"):
            if said := _said(facts, target, instrument, "true"):
                yield Cause(f"{said}: its runtime is C code", hint=f"remove {instrument}, or keep it to test builds")
    if linkage is not Linkage.SYSTEM and (said := _said(facts, target, "-linkmode", "external")):
        yield Cause(
            f"{said}: the host's C linker adds its loader and libc",
            hint="remove -linkmode=external, or set `cgo: static` on this build",
        )


def _said(facts: BinaryFacts, target: Target | None, name: str, value: str) -> str:
    """`-buildmode=pie (imagekit.yaml:9)`, or the same from Go's build info; '' if neither has it."""
    for flag in _flags(target) if target else ():
        bare, equals, given = flag.replace("--", "-", 1).partition("=")
        if bare == name and (given if equals else "true") == value:
            return f"{flag} ({where_written(target, flag)})"
    go = facts.go
    if go is not None and go.settings.get(name) == value:
        return f"build info says {name}={value}"
    return ""


def _flags(target: Target) -> tuple[str, ...]:
    return (*target.flags, *target.ldflags.flags, *target.unsafe.flags)


def where_written(target: Target | None, flag: str) -> str:
    """The configuration line or option that set `flag`: `imagekit.yaml:9`, `default`."""
    origins = target.origins if target else ()
    return next((where for key, where in reversed(origins) if key.endswith("/" + flag)), "default")


def _by_cgo(graph: ImportGraph) -> Iterator[Cause]:
    """The nearest package of the user's or a module's that imports "C", else `net` or `os/user`."""
    users = frozenset(graph.cgo) & reached(graph.imports, graph.main) - {_RUNTIME}
    foreign = users - frozenset(graph.standard)
    chain = shortest(graph.imports, graph.main, (foreign or users).__contains__)
    if not chain:
        return
    if not foreign:
        yield Cause(f"{chain[-1]} uses cgo, because CGO_ENABLED=1", chain, _pure_way_out(users))
        return
    rest = users - foreign
    also = f"; then also {_pure_way_out(rest)}" if rest & _PURE_TAGS.keys() else ""
    hint = (
        f"{way_to_cut(with_c(graph, foreign), chain, foreign)}, or set `cgo: static`, which links musl into the program"
    )
    yield Cause(f'{chain[-1]} imports "C"', chain, hint + also)


def _by_dynamic_imports(graph: ImportGraph) -> Iterator[Cause]:
    goals = frozenset(graph.dynamic) - frozenset(graph.standard)
    chain = shortest(graph.imports, graph.main, goals.__contains__)
    if chain:
        what = "holds //go:cgo_import_dynamic, which asks for libraries even with CGO_ENABLED=0"
        yield Cause(f"{chain[-1]} {what}", chain, way_to_cut(graph, chain, goals))


def _pure_way_out(packages: frozenset[str]) -> str:
    tags = ", ".join(tag for package, tag in sorted(_PURE_TAGS.items()) if package in packages)
    by_tags = f"add `tags: [{tags}]`, or " if tags else ""
    return f"{by_tags}set `cgo: off` (CGO_ENABLED=0)"


def with_c(graph: ImportGraph, packages: Collection[str]) -> ImportGraph:
    """The graph in which these packages, and no others, import "C"."""
    importing = {package: (*graph.imports.get(package, ()), C) for package in sorted(packages)}
    bare = {package: [name for name in imported if name != C] for package, imported in graph.imports.items()}
    return msgspec.structs.replace(graph, imports={**bare, **importing})


def way_to_cut(graph: ImportGraph, chain: Sequence[str], goals: Collection[str]) -> str:
    """The one import to remove so that none of `goals` is reached; where there is none, who imports them.

    In a graph `with_c` it may be the import of "C" itself, if that stands in the main module.
    """
    to_c = any(C in graph.imports.get(goal, ()) for goal in goals)
    whole = (*chain, C) if to_c else tuple(chain)
    edge = edge_to_cut(graph, whole, C.__eq__ if to_c else goals.__contains__)
    if edge is None or (edge[1] == C and not is_own(graph, edge[0])):
        return _every_importer(graph, goals)
    return f'remove the import of "{edge[1]}" from {edge[0]}: no other way leads there'


def _every_importer(graph: ImportGraph, goals: Collection[str]) -> str:
    """No single import is to blame: name the packages to be rid of, each with those that import it."""
    linked = reached(graph.imports, graph.main)
    return "several imports lead there: " + "; ".join(
        f"{goal} is imported by {_some([name for name in importers(graph.imports, goal) if name in linked])}"
        for goal in sorted(linked.intersection(goals))[:_SHOWN]
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
