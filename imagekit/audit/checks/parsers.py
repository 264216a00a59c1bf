"""parsers-disagree: what two parsers read differently is not proven by either."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import evidence
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy


def parsers_agree(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """One remark for each fact; only a deep look compares."""
    for found in subject.deep.disagreements if subject.deep else ():
        yield Remark(
            message=f"{found.fact}: imagekit reads {found.ours}, {found.parser} reads {found.theirs}",
            evidence=evidence(subject.facts, found.fact),
            hint="a file that says two things is damaged or made to deceive: build it again from source",
        )
