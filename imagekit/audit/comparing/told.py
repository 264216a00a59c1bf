"""Facts as words, so that two programs can be compared fact by fact. Computes only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from imagekit.audit.comparing.difference import Change, SizeChange
from imagekit.binary.facts import BinaryFacts, GoBuild, GoModule
from imagekit.binary.sizes import PackageSize


def changes(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs between two mappings, in the order of the first, then of the second."""
    names = dict.fromkeys((*one, *other))
    return tuple(Change(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name))


def facts(said: BinaryFacts) -> dict[str, str]:
    """Every fact that is not silent, modules and settings aside."""
    return {name: text for name, text in _facts(said) if text}


def _facts(said: BinaryFacts) -> Iterator[tuple[str, str]]:
    for name in ("format", "platform", "linkage", "cgo", "libc", "glibc_min", "interpreter", "needed", "rpath"):
        yield name, _text(getattr(said, name))
    if said.go:
        yield "go version", said.go.version
        yield "main package", said.go.path
    yield from ((f"hardening: {name}", _text(value)) for name, value in said.hardening.items())
    traits = said.traits
    if traits.leaked_paths:
        yield "leaked paths", f"{traits.leaked_total}, the first is {traits.leaked_paths[0]}"
    for name in ("instrumented", "endpoints", "loads", "nss", "fips", "overlay", "packer"):
        yield name, _text(getattr(traits, name))
    yield from ((f"build id: {name}", value) for name, value in traits.build_ids.items())
    yield from ((f"imports of {library}", _text(names)) for library, names in traits.imports.items())


def _text(value: object) -> str:
    match value:
        case None | () | 0:
            return "" if value is not False else "false"
        case tuple():
            return ", ".join(str(each) for each in value)
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def modules(one: GoBuild | None, other: GoBuild | None) -> tuple[Change, ...]:
    """The modules whose version or replacement differs; of equal ones those whose tree does, by its checksum."""
    before, after = _modules(one), _modules(other)
    found = []
    for path in dict.fromkeys((*before, *after)):
        left, right = before.get(path), after.get(path)
        words = (_version(left) if left else None, _version(right) if right else None)
        if words[0] == words[1]:
            words = (_sum(left) if left else None, _sum(right) if right else None)
        if words[0] != words[1]:
            found.append(Change(path, *words))
    return tuple(found)


def _modules(build: GoBuild | None) -> dict[str, GoModule]:
    every = (*([build.main] if build.main else ()), *build.deps) if build else ()
    return {module.path: module for module in every}


def _version(module: GoModule) -> str:
    said = module.version or "(no version)"
    return f"{said} => {module.replace.path} {_version(module.replace)}" if module.replace else said


def _sum(module: GoModule) -> str:
    """The checksum of the tree that was compiled, after its version."""
    compiled = module.replace or module
    return f"{_version(module)} {compiled.sum or '(no checksum)'}"


def settings(build: GoBuild | None) -> dict[str, str]:
    return build.settings if build else {}


def sizes(one: Iterable[PackageSize], other: Iterable[PackageSize]) -> tuple[SizeChange, ...]:
    """The packages whose code has another size, the largest change first."""
    before = {each.package: each for each in one}
    after = {each.package: each for each in other}
    found = []
    for package in {**before, **after}:
        old, new = before.get(package), after.get(package)
        sizes_ = (old.size if old else 0, new.size if new else 0)
        if sizes_[0] != sizes_[1]:
            found.append(SizeChange(package, ((new or old) or PackageSize("", "", 0)).module, *sizes_))
    return tuple(sorted(found, key=lambda change: (-abs(change.other - change.one), change.package)))
