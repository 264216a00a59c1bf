"""trimpath, leaked-path: what the program tells of the machine that built it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import demanded, evidence, is_go
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_TRIM = "build with -trimpath (imagekit always does)"
_SHOWN = 3


def trimmed(subject: Subject, policy: Policy) -> Iterator[Remark]:
    """By the build info; where it holds no settings, by the function table's list of files."""
    facts = subject.facts
    settings = facts.go.settings if facts.go else {}
    if not is_go(facts) or settings.get("-trimpath") == "true":
        return
    if settings:
        yield Remark(
            message="built without -trimpath: the same commit gives other bytes in another folder",
            evidence=evidence(facts, "go"),
            hint=_TRIM,
        )
    elif facts.traits.leaked_paths is None and demanded(policy, "trimpath"):
        yield Remark(message="whether it was built with -trimpath is not proven", evidence=evidence(facts, "go"))


def no_paths(subject: Subject, policy: Policy) -> Iterator[Remark]:
    facts = subject.facts
    paths, total = facts.traits.leaked_paths, facts.traits.leaked_total
    if paths:
        more = max(total, len(paths)) - len(paths[:_SHOWN])
        yield Remark(
            message=f"names files of its builder: {', '.join(paths[:_SHOWN])}" + (f" and {more} more" if more else ""),
            evidence=evidence(facts, "leaked_paths"),
            hint=f"{_TRIM}; for C code also with -ffile-prefix-map in CGO_CFLAGS",
        )
    elif paths is None and is_go(facts) and demanded(policy, "leaked-path"):
        yield Remark(
            message="no readable list of source files: that no path leaked is not proven",
            evidence=evidence(facts, "go"),
            hint="ship the file as Go's linker wrote it",
        )
