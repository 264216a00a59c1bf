"""linkage: what is not proven startable on its OS does not pass; unknown never passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, assert_never

from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.audit.why import causes
from imagekit.binary.facts import BinaryFacts, CgoUse, Linkage

if TYPE_CHECKING:
    from imagekit.audit.policy import Policy

_PROOF = ("linkage", "interpreter", "needed", "cgo")
"""The facts whose evidence shows a linkage, in the order of the report."""


def must_be_allowed(subject: Subject, policy: Policy) -> Iterator[Remark]:
    """A scratch image has no loader: what is not proven static cannot start there."""
    facts = subject.facts
    allowed = policy.allowed_linkage(facts.platform)
    if facts.linkage in allowed and facts.linkage is not Linkage.UNKNOWN:
        return
    why = causes(subject)
    yield Remark(
        message="; ".join(
            [f"{facts.linkage}: {_what_it_asks(facts)}", _allows(policy, facts), *(c.message for c in why)]
        ),
        evidence=tuple(facts.evidence[fact] for fact in _PROOF if fact in facts.evidence and _bears(fact, facts)),
        chain=next((cause.chain for cause in why if cause.chain), ()),
        hint="; ".join(cause.hint for cause in why) or _general_way_out(facts, allowed),
    )


def _bears(fact: str, facts: BinaryFacts) -> bool:
    return fact != "cgo" or facts.cgo is CgoUse.PROVEN


def _what_it_asks(facts: BinaryFacts) -> str:
    loader = f"the loader {facts.interpreter}" if facts.interpreter else "no loader"
    libraries = ", ".join(facts.needed) or "no library"
    match facts.linkage:
        case Linkage.STATIC | Linkage.STATIC_PIE:
            return "asks for no loader and no library"
        case Linkage.LOADER_ONLY:
            return f"asks for {loader}, though it needs no library"
        case Linkage.DYNAMIC | Linkage.SYSTEM:
            return f"needs {libraries}" + (f" and {loader}" if facts.interpreter else "")
        case Linkage.LIBRARY:
            return "is a library, not a program"
        case Linkage.BROKEN:
            return "cannot start: " + _read(facts)
        case Linkage.UNKNOWN:
            return "what it needs could not be proved: " + _read(facts)
        case _:
            assert_never(facts.linkage)


def _read(facts: BinaryFacts) -> str:
    evidence = facts.evidence.get("linkage")
    return evidence.value if evidence else f"format {facts.format}"


def _allows(policy: Policy, facts: BinaryFacts) -> str:
    words = " or ".join(policy.allowed_linkage(facts.platform)) or "nothing"
    system = facts.platform.os if facts.platform else "a program that names no OS"
    return f"policy {policy.name} allows {words} for {system}"


def _general_way_out(facts: BinaryFacts, allowed: tuple[Linkage, ...]) -> str:
    if not allowed:
        system = facts.platform.os if facts.platform else "its OS"
        return (
            f"build for an OS that the policy knows, or add `linkage: {{{system}: [{facts.linkage}]}}` to a policy.yaml"
        )
    if facts.cgo is CgoUse.PROVEN:
        return "build it with `cgo: off` (CGO_ENABLED=0), or with `cgo: static`"
    if facts.linkage is Linkage.UNKNOWN:
        return "ship the file as the linker wrote it, neither packed nor in another format"
    return "build it as a static program: CGO_ENABLED=0 and -buildmode=exe"
