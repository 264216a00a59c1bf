"""cgo: C code in a program that was to have none is an error, elsewhere a note."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.finding import Remark, Severity
from imagekit.audit.subject import Subject
from imagekit.audit.why import causes
from imagekit.binary.facts import CgoUse
from imagekit.targets.target import Cgo

if TYPE_CHECKING:
    from imagekit.audit.policy import Policy


def cgo_where_off(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """Proven by the function table, never by CGO_ENABLED alone, which says only that cgo was possible."""
    facts = subject.facts
    if facts.cgo is CgoUse.ABSENT:
        return
    said_off = _said_off(subject)
    evidence = tuple(facts.evidence[fact] for fact in ("cgo", "libc") if fact in facts.evidence)
    if facts.cgo is CgoUse.UNKNOWN:
        if said_off and facts.go is not None:
            yield Remark(
                message=f"no readable function table: that no C code is linked, though {said_off}, is not proven",
                evidence=evidence,
                severity=Severity.NOTE,
            )
        return
    libc = f" with {facts.libc}" if facts.libc else ""
    why = causes(subject) if said_off else ()
    yield Remark(
        message=f"C code is linked{libc}" + (f", though {said_off}" if said_off else ""),
        evidence=evidence,
        chain=next((cause.chain for cause in why if cause.chain), ()),
        hint="build it without cgo, or say `cgo: static` or `cgo: allow` on the build" if said_off else "",
        severity=Severity.ERROR if said_off else Severity.NOTE,
    )


def _said_off(subject: Subject) -> str:
    """Who says that there is no cgo; '' if nobody does."""
    if subject.expected is not None:
        return "the build says `cgo: off`" if subject.expected.target.cgo is Cgo.OFF else ""
    go = subject.facts.go
    return "its build info says CGO_ENABLED=0" if go and go.settings.get("CGO_ENABLED") == "0" else ""
