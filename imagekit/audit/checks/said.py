"""What several checks ask: the evidence of facts, whether Go made the program, what a policy demands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from imagekit.audit.chains import shortest
from imagekit.audit.finding import Severity
from imagekit.audit.subject import Subject
from imagekit.binary.facts import BinaryFacts, CgoUse, Evidence, Linkage

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_SHOWN = 5


def evidence(facts: BinaryFacts, *names: str) -> tuple[Evidence, ...]:
    """The evidence of these facts, in this order; of those that are silent none."""
    return tuple(facts.evidence[name] for name in names if name in facts.evidence)


def is_go(facts: BinaryFacts) -> bool:
    """Whether build info, function table or build id says so; what is broken says nothing."""
    if facts.linkage is Linkage.BROKEN:
        return False
    return facts.go is not None or facts.cgo is not CgoUse.UNKNOWN or "go" in facts.traits.build_ids


def demanded(policy: Policy, rule: str) -> bool:
    """Whether the policy itself makes the rule a warning or an error: then what cannot be seen is told too."""
    word = policy.rules.get(rule)
    return word is not None and word != "off" and Severity.parse(word) > Severity.NOTE


def chain_to(subject: Subject, package: str) -> tuple[str, ...]:
    """The shortest import chain from main to the package; () where the source is not at hand."""
    graph = subject.imports() if subject.imports else None
    return shortest(graph.imports, graph.main, lambda name: name == package) if graph else ()


def listed(words: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    every = tuple(words)
    return ", ".join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")
