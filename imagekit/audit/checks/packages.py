"""forbidden-package: Go packages that a policy forbids, each with the import chain where that is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import chain_to, evidence, is_go
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_SHOWN = 50


def nothing_forbidden(subject: Subject, policy: Policy) -> Iterator[Remark]:
    """One remark a package; where the list of packages is not known, one that says so. What is not Go has none."""
    if not policy.forbidden_packages or not is_go(subject.facts):
        return
    if subject.packages is None:
        yield Remark(
            message="no readable function table: that no forbidden package is linked in is not proven",
            evidence=evidence(subject.facts, "go"),
            hint="ship the file as Go's linker wrote it, neither packed nor obfuscated",
        )
        return
    for glob in policy.forbidden_packages:
        found = [name for name in subject.packages if fnmatchcase(name, glob)]
        for package in found[:_SHOWN]:
            yield _remark(subject, policy, package, glob)
        if len(found) > _SHOWN:
            yield Remark(message=f"{len(found) - _SHOWN} more packages match {glob!r}")


def _remark(subject: Subject, policy: Policy, package: str, glob: str) -> Remark:
    return Remark(
        message=f"{package} is linked in; policy {policy.name} forbids {glob!r}",
        evidence=evidence(subject.facts, "go"),
        chain=chain_to(subject, package),
        hint="remove the import that brings it in (`imagekit audit --source DIR` shows the chain), or waive the rule",
    )
