"""Which files each target compiles, and why not the others: pure functions over `Packages`.

The standard library is left out everywhere: its files are Go's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from imagekit.golang import constraints
from imagekit.golang.packages import Excluded, Package, Packages

_STUB_NAME = re.compile(r"(^|_)(stubs?|nocgo|no_cgo|purego)(_|\.)")
_STUB_TAG = re.compile(r"!\s*cgo\b|(?<![!\w])\s*nocgo\b")


class FileChoice(msgspec.Struct, frozen=True):
    """One package on one target: what is compiled, and what was left out with its constraint."""

    package: str
    compiled: tuple[str, ...]
    excluded: tuple[Excluded, ...]


class Difference(msgspec.Struct, frozen=True):
    """Two targets compared: packages on one of them only, and in those on both the files of one only. Sorted."""

    first: str
    second: str
    packages_first: tuple[str, ...]
    packages_second: tuple[str, ...]
    files_first: tuple[tuple[str, str], ...]
    """(package, file) pairs that only the first target compiles."""
    files_second: tuple[tuple[str, str], ...]


class Unselected(msgspec.Struct, frozen=True, order=True):
    """A file that no target compiles; `constraint` is all that it asks for."""

    package: str
    name: str
    constraint: str


class Stub(msgspec.Struct, frozen=True, order=True):
    """A file chosen because cgo is off (or named as a stand-in): it makes a build green and may fail at run time."""

    target: str
    package: str
    name: str
    constraint: str
    instead: tuple[str, ...] = ()
    """The files of the package that would be compiled with cgo, where that is why they were left out."""


def choices(packages: Packages) -> tuple[FileChoice, ...]:
    """Every package outside the standard library, main last, with the files of this target."""
    return tuple(
        FileChoice(package.path, tuple(sorted(package.files)), tuple(sorted(packages.excluded(package))))
        for package in _own(packages)
    )


def compare(first: Packages, second: Packages) -> Difference:
    """What two targets compile differently."""
    one, other = _compiled(first), _compiled(second)
    shared = one.keys() & other.keys()
    return Difference(
        first=first.target,
        second=second.target,
        packages_first=tuple(sorted(one.keys() - shared)),
        packages_second=tuple(sorted(other.keys() - shared)),
        files_first=_pairs(one, other, shared),
        files_second=_pairs(other, one, shared),
    )


def _pairs(
    one: dict[str, frozenset[str]], other: dict[str, frozenset[str]], shared: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    return tuple((path, name) for path in sorted(shared) for name in sorted(one[path] - other[path]))


def unselected(targets: Sequence[Packages]) -> tuple[Unselected, ...]:
    """The files of the packages in any target that no target compiles, test files aside. Sorted."""
    compiled = {(package.path, name) for packages in targets for package in _own(packages) for name in package.files}
    left_out = {(p.path, name): p for packages in targets for p in _own(packages) for name in p.ignored}
    return tuple(
        sorted(
            Unselected(path, name, constraints.constraint_of(package.directory / name))
            for (path, name), package in left_out.items()
            if (path, name) not in compiled and not name.endswith("_test.go")
        )
    )


def stubs(packages: Packages) -> tuple[Stub, ...]:
    """The compiled files that stand in for others: `!cgo` or `nocgo` in the constraint, `_stub` in the name. Sorted."""
    return tuple(sorted(stub for package in _own(packages) for stub in _stubs_of(packages, package)))


def _stubs_of(packages: Packages, package: Package) -> Iterator[Stub]:
    for name in package.go_files:
        constraint = constraints.constraint_of(package.directory / name)
        if _STUB_TAG.search(constraint) or _STUB_NAME.search(name):
            yield Stub(packages.target, package.path, name, constraint, _needing_cgo(packages, package))


def _needing_cgo(packages: Packages, package: Package) -> tuple[str, ...]:
    """The files left out only because cgo is off."""
    with_cgo = msgspec.structs.replace(packages.tags, cgo=True)
    names = (name for name in package.ignored_go_files if not name.endswith("_test.go"))
    return tuple(sorted(name for name in names if not constraints.reason(package.directory / name, with_cgo)))


def only_on_one(targets: Sequence[Packages]) -> tuple[tuple[str, str], ...]:
    """(target, package) for each package that exactly one of several targets compiles. Sorted."""
    homes: dict[str, list[str]] = {}
    for packages in targets:
        for package in _own(packages):
            homes.setdefault(package.path, []).append(packages.target)
    alone = ((names[0], path) for path, names in homes.items() if len(names) == 1)
    return tuple(sorted(alone)) if len(targets) > 1 else ()


def _own(packages: Packages) -> Iterator[Package]:
    return (package for package in packages.by_path.values() if not package.standard)


def _compiled(packages: Packages) -> dict[str, frozenset[str]]:
    return {package.path: frozenset(package.files) for package in _own(packages)}
