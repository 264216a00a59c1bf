"""What the go command said of a target, as the plain values that chains and `cgo_required` take.

Touches disk: headers of kept-out files, and sources for `//go:cgo_import_dynamic`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from imagekit.audit.cgo_required import KeptOut, Obstacle
from imagekit.audit.chains import ImportGraph
from imagekit.audit.named import named_libraries
from imagekit.golang import constraints
from imagekit.golang.failures import Kind, Problem, declares, declaring_excluded_file
from imagekit.golang.packages import Package, Packages


def graph_of(packages: Packages) -> ImportGraph:
    """The import graph of the program that `packages` lists, and which of them reach for C."""
    root = packages.roots[0] if packages.roots else None
    every = packages.by_path.values()
    return ImportGraph(
        main=root.path if root else "",
        module=root.module.path if root and root.module else "",
        imports=packages.graph(),
        cgo=frozenset(package.path for package in every if package.cgo_files),
        dynamic=frozenset(packages.dynamic_importers()),
        standard=frozenset(package.path for package in every if package.standard),
        libraries=named_libraries(packages),
    )


def obstacles(problems: Iterable[Problem], packages: Packages) -> tuple[Obstacle, ...]:
    """The problems that a kept-out file could explain, with these files, in the compiler's order."""
    return tuple(obstacle for problem in problems for obstacle in _obstacle(problem, packages))


def _obstacle(problem: Problem, packages: Packages) -> Iterator[Obstacle]:
    match problem.kind:
        case Kind.CONSTRAINTS:
            for package in _excluded_package(problem, packages):
                files = tuple(_kept_out(packages, package, name) for name in package.ignored_go_files if _is_code(name))
                yield Obstacle(kind="excluded", package=package.path, files=files)
        case Kind.UNDEFINED:
            files = tuple(_declaring(problem, packages))
            yield Obstacle(
                kind="undefined",
                package=problem.package,
                files=files,
                identifier=problem.identifier,
                where=problem.position,
            )
        case Kind.OTHER:
            return


def _excluded_package(problem: Problem, packages: Packages) -> Iterator[Package]:
    """By its import path, else by the folder at the end of Go's message (`main.go:3:8: build constraints …`)."""
    named = packages.by_path.get(problem.package)
    if named is not None and not named.go_files:
        yield named
    else:
        folder = problem.message.rpartition(" exclude all Go files in ")[2]
        yield from (package for package in packages.by_path.values() if package.folder == folder)


def _declaring(problem: Problem, packages: Packages) -> Iterator[KeptOut]:
    """Every kept-out file, of the package that has the first one, which declares the identifier."""
    found = declaring_excluded_file(packages, problem.package, problem.identifier)
    if found is None:
        return
    qualifier, _, name = problem.identifier.rpartition(".")
    for package in packages.by_path.values():
        if package.directory == found[0].parent:
            for file in package.ignored_go_files:
                if _is_code(file) and declares(package.directory / file, name, qualifier.rpartition(".")[2]):
                    yield _kept_out(packages, package, file)


def _is_code(name: str) -> bool:
    return not name.endswith("_test.go")


def _kept_out(packages: Packages, package: Package, name: str) -> KeptOut:
    path = package.directory / name
    with_cgo = msgspec.structs.replace(packages.tags, cgo=True)
    return KeptOut(
        file=f"{package.path}/{name}",
        constraint=constraints.reason(path, packages.tags),
        needs_cgo=_asks_for_something(path) and not constraints.reason(path, with_cgo),
    )


def _asks_for_something(path: Path) -> bool:
    """A file without any constraint is left out for a reason that cgo does not remove."""
    header = constraints.header_of(path)
    return bool(header.expression or header.imports_c)
