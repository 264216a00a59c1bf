"""One subject as a tree: every fact with its evidence, then why it is so, where it runs, and what the deep look says.

Every word that is not ours is escaped by `text.line` here, so that the tree can be shown as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from imagekit.audit.explain import Explanation
from imagekit.audit.judge import Judged
from imagekit.binary.deep import Deep
from imagekit.binary.facts import BinaryFacts, Evidence, GoBuild, GoModule
from imagekit.text import line

_INLINE = 3
"""Values to name in one line."""
_UNITS, _MODULES = 20, 20
"""Compile units and modules to name; the rest are counted."""


class Branch(msgspec.Struct, frozen=True):
    """One line, already safe to show, rich's style for it on a terminal, and what hangs on it."""

    text: str
    branches: tuple[Branch, ...] = ()
    style: str = ""


def branches(judged: Judged) -> tuple[Branch, ...]:
    """Facts, then explanation and deep look where they were asked for; () for what has no file."""
    if judged.facts is None:
        return ()
    return (*_facts(judged.facts), *looks(judged))


def looks(judged: Judged) -> tuple[Branch, ...]:
    """The explanation and the deep look alone, where they were asked for."""
    explained = _explanation(judged.explanation) if judged.explanation else ()
    return (*explained, *(_deep(judged.deep) if judged.deep else ()))


def indented(tree: tuple[Branch, ...], depth: int = 1) -> Iterator[Branch]:
    """The tree as lines, four spaces a level."""
    for branch in tree:
        yield Branch("    " * depth + branch.text, style=branch.style)
        yield from indented(branch.branches, depth + 1)


def shown(evidence: Evidence) -> str:
    """`.go.buildinfo at 0x1000: go1.26.8`."""
    at = "" if evidence.offset is None else f" at {evidence.offset:#x}"
    return f"{line(evidence.where)}{at}: {line(evidence.value)}"


def word(value: object) -> str:
    """A value of a fact in words: yes, no, unknown; tuples with commas."""
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return ", ".join(word(each) for each in value)
        case dict():
            return ", ".join(f"{line(str(key))}: {word(each)}" for key, each in value.items())
        case _:
            return line(str(value))


def said(facts: BinaryFacts) -> dict[str, object]:
    """Fact -> value for every fact that is not silent, in the order in which people ask; hardening and Go aside."""
    values: dict[str, object] = {
        "format": facts.format,
        "platform": facts.platform or "unknown",
        "linkage": facts.linkage,
        "cgo": facts.cgo,
        "libc": facts.libc,
        "glibc_min": facts.glibc_min,
        "interpreter": facts.interpreter,
        "needed": facts.needed,
        "rpath": facts.rpath,
        **{name: getattr(facts.traits, name) for name in facts.traits.__struct_fields__},
        "imports": {library: f"{len(names)} names" for library, names in facts.traits.imports.items()},
    }
    return {name: value for name, value in values.items() if value or name in facts.evidence}


def _facts(facts: BinaryFacts) -> Iterator[Branch]:
    told = said(facts)
    for name, value in told.items():
        if isinstance(value, tuple) and len(value) > _INLINE:
            listed = tuple(Branch(word(each)) for each in value)
            yield Branch(f"{name}: {len(value)}", (*_fact(name, "", facts).branches, *listed))
        else:
            yield _fact(name, word(value) if value else "none", facts)
    if facts.go:
        yield _go(facts.go, facts)
    if facts.hardening:
        hardening = (_fact(name, word(value), facts) for name, value in sorted(facts.hardening.items()))
        yield Branch("hardening", tuple(hardening), "bold")
    for name in sorted(set(facts.evidence) - {*told, *facts.hardening, "go"}):
        yield _fact(name, "", facts)


def _fact(name: str, value: str, facts: BinaryFacts) -> Branch:
    evidence = facts.evidence.get(name)
    because = (Branch(shown(evidence), style="dim"),) if evidence else ()
    return Branch(f"{line(name)}: {value}" if value else line(name), because)


def _go(go: GoBuild, facts: BinaryFacts) -> Branch:
    settings = tuple(Branch(f"{line(key)}={line(value)}") for key, value in sorted(go.settings.items()))
    inside = [*_fact("go", "", facts).branches, Branch(f"main package: {line(go.path)}")]
    inside += [Branch(f"main module: {module(go.main)}")] if go.main else []
    inside += [Branch(f"modules: {len(go.deps)}", tuple(_modules(go.deps)))] if go.deps else []
    inside += [Branch("settings", settings)] if settings else []
    return Branch(f"go: {line(go.version)}", tuple(inside))


def _modules(found: tuple[GoModule, ...]) -> Iterator[Branch]:
    yield from (Branch(module(each)) for each in found[:_MODULES])
    if len(found) > _MODULES:
        yield Branch(f"and {len(found) - _MODULES} more (--format json or html has them all)", style="dim")


def module(each: GoModule) -> str:
    """`example.org/m v1.2.3 h1:…`, and what replaces it."""
    text = " ".join(filter(None, (line(each.path), line(each.version), line(each.sum))))
    return f"{text} => {module(each.replace)}" if each.replace else text


def _explanation(told: Explanation) -> Iterator[Branch]:
    proofs = [
        *(f"{line(name)} proves cgo" for name in told.cgo_functions),
        *(f"cgo in package {line(name)}" for name in told.cgo_packages),
        *(f"import chain: {' -> '.join(map(line, chain))}" for chain in told.chains),
        *(f"linked in: {line(name)}" for name in told.packages),
        *(f"{line(library)}: {line(why)}" for library, why in told.libraries.items()),
    ]
    yield from _group("why", proofs)
    yield from _group(
        "where it runs", [f"{line(place.name)}: {line(place.verdict)}, {line(place.why)}" for place in told.places]
    )
    yield from _group("what a scratch image must hold", [f"{line(f.path)}: {line(f.why)}" for f in told.files])
    yield from _group("what would fix it", [line(fix) for fix in told.fixes])


def _deep(deep: Deep) -> Iterator[Branch]:
    units = Counter((line(unit.producer), line(unit.language)) for unit in deep.compile_units)
    compiled = [f"{count} compile units by {producer} ({language})" for (producer, language), count in units.items()]
    named = [f"{line(unit.name)}" for unit in deep.compile_units[:_UNITS]]
    signature = [f"signature: {line(deep.signature)}"] if deep.signature else []
    parsers = [
        f"{line(each.fact)}: we read {line(each.ours)}, {line(each.parser)} reads {line(each.theirs)}"
        for each in deep.disagreements
    ]
    more = len(deep.compile_units) - len(named)
    yield from _group("deep look", signature or ["no signature"])
    yield from _group("C code by its DWARF", [*compiled, *named, *([f"and {more} more"] if more else [])])
    yield from _group("parsers disagree", parsers or ["no: every fact is read the same"])


def _group(title: str, texts: list[str]) -> Iterator[Branch]:
    if texts:
        yield Branch(title, tuple(Branch(text) for text in texts), "bold")
