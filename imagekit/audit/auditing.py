"""The audit as a whole: examine, judge, leave out what is known. Touches what the subjects are in, and the clock."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from imagekit.audit.baseline import Baseline, only_new
from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import Report, judge
from imagekit.audit.policy import Policy
from imagekit.audit.subject import Subject
from imagekit.audit.subjects import Options, examine
from imagekit.cancellation import Cancellation
from imagekit.errors import ImagekitError, RefusedError, worst


class Audited(msgspec.Struct, frozen=True):
    """The report, what could not be read of the arguments, and how many findings the baseline already had."""

    report: Report
    errors: tuple[ImagekitError, ...] = ()
    known: int = 0


def audit(
    words: Sequence[str],
    policy: Policy,
    options: Options,
    cancellation: Cancellation,
    *,
    baseline: Baseline | None = None,
    today: datetime.date | None = None,
) -> Audited:
    """Every program behind the arguments, judged by the policy; what `baseline` has is left out.

    `today` (the day it is) decides which waivers count. Raises `UsageError` for what can be no argument.
    """
    subjects: list[Subject] = []
    skips: list[Skip] = []
    findings: list[Finding] = []
    errors: list[ImagekitError] = []
    other = 0
    for examined in examine(words, options, cancellation):
        subjects += examined.subjects
        skips += examined.skips
        findings += examined.findings
        errors += examined.errors
        other += examined.other
    day = today or datetime.datetime.now(datetime.UTC).date()
    report = judge(subjects, policy, today=day, findings=findings, skips=skips, other=other)
    new = only_new(report, baseline) if baseline else report
    return Audited(new, tuple(errors), _count(report) - _count(new))


def _count(report: Report) -> int:
    return len(report.findings) + len(report.skips)


def conclusion(audited: Audited, fail_on: Severity, *, allow_skipped: bool) -> ImagekitError | None:
    """What the audit ends with: None for 0, else the error whose exit code is the first of 5, 4, 6, 3, 10.

    Of several with one code it is the first; the report has them all among its skips.
    """
    refused = _refused(audited.report, fail_on, allow_skipped=allow_skipped)
    every = [*audited.errors, *([refused] if refused else [])]
    if not every:
        return None
    code = worst(error.exit_code for error in every)
    return next(error for error in every if error.exit_code == code)


def _refused(report: Report, fail_on: Severity, *, allow_skipped: bool) -> RefusedError | None:
    failing = [finding for finding in report.findings if finding.severity >= fail_on]
    if failing:
        rules = ", ".join(sorted({finding.rule for finding in failing}))
        files = len({finding.subject for finding in failing})
        message = f"the policy {report.policy} does not allow {files} of the files ({rules})"
        return RefusedError(message, hint="the findings say why, and the way out; docs/rules/ has a page for each")
    if report.skips and not allow_skipped:
        skip = report.skips[0]
        message = f"{len(report.skips)} not examined, first {skip.path}: {skip.reason}"
        return RefusedError(message, hint="make them readable, or pass over them with --allow-skipped")
    return None
