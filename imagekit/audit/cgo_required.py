"""cgo-required: a compile that failed only because cgo is off becomes a finding with its import chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from imagekit.audit.chains import ImportGraph, shortest
from imagekit.audit.finding import Finding, Severity
from imagekit.audit.why import way_to_cut, with_c
from imagekit.binary.facts import Evidence
from imagekit.targets.target import Target

_SHOWN = 3
"""How many kept-out files a finding names."""


class KeptOut(msgspec.Struct, frozen=True, kw_only=True):
    """A Go file that the target's constraints leave out.

    `constraint` is what of it the target does not give: `//go:build linux && cgo`, `import "C" with CGO_ENABLED=0`.
    `needs_cgo`: it would be compiled if cgo were on, all else being the same.
    """

    file: str
    constraint: str
    needs_cgo: bool

    @property
    def imports_c(self) -> bool:
        return self.constraint.startswith('import "C"')


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """What Go said of one package: all its files are `excluded`, or an identifier is `undefined`.

    `files` are the kept-out files of the package, for `undefined` those that declare the identifier; `where` is
    `file:line:column` of Go's message, '' if it gave none.
    """

    kind: Literal["excluded", "undefined"]
    package: str
    files: tuple[KeptOut, ...]
    identifier: str = ""
    where: str = ""


def cgo_required(obstacles: Iterable[Obstacle], target: Target, graph: ImportGraph) -> tuple[Finding, ...]:
    """A finding for each obstacle that cgo alone would remove, in the order given, none twice.

    Its subject is the target. An obstacle without such a file gives none: it is an ordinary failure of the compiler.
    """
    findings = (_finding(obstacle, target, graph) for obstacle in obstacles if _by_cgo(obstacle))
    return tuple(dict.fromkeys(findings))


def _by_cgo(obstacle: Obstacle) -> tuple[KeptOut, ...]:
    return tuple(file for file in obstacle.files if file.needs_cgo)


def _finding(obstacle: Obstacle, target: Target, graph: ImportGraph) -> Finding:
    chain = shortest(graph.imports, graph.main, obstacle.package.__eq__)
    return Finding(
        rule="cgo-required",
        severity=Severity.ERROR,
        subject=target.id,
        message=f"{_said(obstacle)}, and the build says `cgo: {target.cgo}`",
        evidence=tuple(_evidence(obstacle)),
        chain=chain,
        hint="; or ".join(_ways_out(obstacle, target, graph, chain)),
    )


def _said(obstacle: Obstacle) -> str:
    files = _by_cgo(obstacle)
    named = ", ".join(_kept_out(file) for file in files[:_SHOWN])
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    if obstacle.kind == "undefined":
        at = f" ({obstacle.where})" if obstacle.where else ""
        return f"{obstacle.package}: undefined: {obstacle.identifier}{at}; it is declared in {named}{more}"
    return f"{obstacle.package} has no Go file left without cgo: {named}{more}"


def _kept_out(file: KeptOut) -> str:
    return f"{file.file}, kept out by {file.constraint}"


def _evidence(obstacle: Obstacle) -> Iterator[Evidence]:
    for file in _by_cgo(obstacle):
        yield Evidence(where=file.file, offset=None, value=file.constraint)


def _ways_out(obstacle: Obstacle, target: Target, graph: ImportGraph, chain: tuple[str, ...]) -> Iterator[str]:
    if len(chain) > 1:
        yield way_to_cut(_wanting_c(obstacle, graph), chain, (obstacle.package,))
    if target.platform.os == "linux":
        yield "set `cgo: static` on the build, which compiles the C code against musl"
    else:
        yield f"set `cgo: allow`, with a C compiler for {target.platform}"
        yield f'leave the platform out: `exclude: ["{target.platform}"]`'


def _wanting_c(obstacle: Obstacle, graph: ImportGraph) -> ImportGraph:
    """The graph with the import of "C" that keeps the package's files out, if it is that and no constraint."""
    imports_c = obstacle.kind == "excluded" and all(file.imports_c for file in obstacle.files)
    return with_c(graph, (obstacle.package,)) if imports_c else graph
