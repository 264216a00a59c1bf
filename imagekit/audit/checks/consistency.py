"""mismatch, across targets: one build is one source, one toolchain and one set of module versions on every platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.binary.facts import GoBuild


def same_across_targets(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, Remark]]:
    """Each subject against the first of its build that says something of the same thing, in the order given."""
    built = [subject for subject in subjects if subject.expected is not None and subject.facts.go is not None]
    for _, group in groupby(sorted(built, key=_build), key=_build):
        first: dict[str, tuple[str, Subject]] = {}
        for subject in group:
            for thing, value in _things(subject):
                other, elsewhere = first.setdefault(thing, (value, subject))
                if value != other:
                    yield subject, _remark(thing, value, other, elsewhere)


def _build(subject: Subject) -> str:
    return subject.expected.target.build if subject.expected else ""


def _things(subject: Subject) -> Iterator[tuple[str, str]]:
    """(what, its value) for all that must not differ between the targets of one build."""
    go, expected = subject.facts.go, subject.expected
    if go is None or expected is None:
        return
    yield "toolchain", go.version
    yield from _source(go)
    if "CGO_ENABLED" in go.settings:
        yield f"CGO_ENABLED under `cgo: {expected.target.cgo}`", go.settings["CGO_ENABLED"]
    for module in go.deps:
        end = module.replace or module
        yield f"module {module.path}", " ".join(filter(None, (end.path, end.version, end.sum)))


def _source(go: GoBuild) -> Iterator[tuple[str, str]]:
    if go.main is not None:
        yield "main module", f"{go.main.path} {go.main.version}"
    if go.settings:
        for name in ("vcs.revision", "vcs.modified"):
            yield name, go.settings.get(name, "none")


def _remark(thing: str, value: str, other: str, elsewhere: Subject) -> Remark:
    return Remark(
        message=f"{thing}: {value} here, {other} in {elsewhere.path}",
        hint="build all targets from one clean commit with one toolchain, in one run or from one lock of inputs",
    )
