"""How the formats read a report: what fails it, what comes first, which rules and which file are meant."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from imagekit.audit.finding import Finding, Severity
from imagekit.audit.judge import Judged, Report
from imagekit.audit.rules import BY_ID, RULES, Rule


class Threshold(msgspec.Struct, frozen=True):
    """`--fail-on` and `--allow-skipped`, which turn a report into an exit code."""

    fail_on: Severity = Severity.ERROR
    allow_skipped: bool = False

    def fails(self, finding: Finding) -> bool:
        return finding.severity >= self.fail_on


def worst(findings: Sequence[Finding]) -> Severity | None:
    """The highest severity among them; None without findings."""
    return max((finding.severity for finding in findings), default=None)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Errors, warnings, notes; each in the order of the report."""
    return sorted(findings, key=lambda finding: -finding.severity)


def columns(report: Report) -> tuple[Rule, ...]:
    """The rules that a table of the report has columns for: `linkage`, and every other that found something.

    A rule that found nothing says as much by its absence, and thirty empty columns would hide the ones that did.
    """
    spoke = {finding.rule for finding in report.findings} | {waived.finding.rule for waived in report.waived}
    return tuple(rule for rule in RULES if rule.id in spoke or rule is BY_ID["linkage"])


def file_of(judged: Judged) -> str:
    """The subject's label without the slice (`#arm64`) of a fat file."""
    cut = f"#{judged.facts.slice}" if judged.facts and judged.facts.slice else ""
    return judged.path.removesuffix(cut)
