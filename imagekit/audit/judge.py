"""Judge: subjects and a policy in, a Report out; no I/O, no clock."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from imagekit.audit.explain import Explanation
from imagekit.audit.finding import Finding, Remark, Severity, Skip
from imagekit.audit.policy import Policy, Waiver
from imagekit.audit.rules import BY_ID, RULES, Rule
from imagekit.audit.subject import Source, Subject
from imagekit.binary.deep import Deep
from imagekit.binary.facts import BinaryFacts
from imagekit.binary.sizes import PackageSize
from imagekit.content import Digest
from imagekit.errors import ConfigError
from imagekit.platform import Platform
from imagekit.source.weakness import Weakness

SOURCE_SUBJECT = "source"
"""The subject of what weakens the trust in the source as a whole."""


class Waived(msgspec.Struct, frozen=True):
    """A finding that a waiver takes out of the count."""

    finding: Finding
    waiver: Waiver


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One subject with what the rules say of it.

    What was judged without a file (a target that did not compile, the source tree) has no digest, size or facts.
    """

    path: str
    digest: Digest | None = None
    size: int | None = None
    source: Source = Source()
    facts: BinaryFacts | None = None
    findings: tuple[Finding, ...] = ()
    sizes: tuple[PackageSize, ...] | None = None
    explanation: Explanation | None = None
    deep: Deep | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged, by which policy, and the outcome; `other` counts files in no executable format."""

    policy: str
    policy_digest: Digest
    subjects: tuple[Judged, ...] = ()
    skips: tuple[Skip, ...] = ()
    waived: tuple[Waived, ...] = ()
    expired: tuple[Waiver, ...] = ()
    other: int = 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings that count, in the order of the report."""
        return tuple(finding for judged in self.subjects for finding in judged.findings)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def exit_code(self, fail_on: Severity = Severity.ERROR, *, allow_skipped: bool = False) -> int:
        """10 for a finding at or above `fail_on`, or for a skip that is not allowed; else 0."""
        failed = any(finding.severity >= fail_on for finding in self.findings)
        return 10 if failed or (self.skips and not allow_skipped) else 0


def judge(
    subjects: Sequence[Subject],
    policy: Policy,
    *,
    today: datetime.date,
    weaknesses: Iterable[Weakness] = (),
    findings: Iterable[Finding] = (),
    skips: Iterable[Skip] = (),
    other: int = 0,
) -> Report:
    """Every rule on every subject, and on all together; weaknesses and findings from before the link join them.

    Subjects keep their order; what concerns no file comes first. `today` decides which waivers still count.
    """
    court = _Court(policy, today)
    for early in (*_of_weaknesses(weaknesses), *findings):
        court.hear(BY_ID[early.rule], early.subject, _as_remark(early))
    for rule in RULES:
        if rule.severity_under(policy) is not None:
            for subject, remark in _remarks(rule, subjects, policy):
                court.hear(rule, subject, remark)
    return Report(
        policy=policy.name,
        policy_digest=policy.digest,
        subjects=(*court.without_file(), *(court.judged(subject) for subject in subjects)),
        skips=tuple(skips),
        waived=tuple(court.waived),
        expired=tuple(waiver for waiver in policy.waivers if waiver.expired(today)),
        other=other,
    )


def _remarks(rule: Rule, subjects: Sequence[Subject], policy: Policy) -> Iterator[tuple[Subject, Remark]]:
    for subject in subjects:
        if rule.check is not None:
            yield from ((subject, remark) for remark in rule.check(subject, policy))
    if rule.across is not None:
        yield from rule.across(subjects)


def _of_weaknesses(weaknesses: Iterable[Weakness]) -> Iterator[Finding]:
    for weakness in sorted(set(weaknesses)):
        yield Finding(
            rule=weakness.rule,
            severity=BY_ID[weakness.rule].severity,
            subject=SOURCE_SUBJECT,
            message=_placed(weakness),
            hint=weakness.hint,
        )


def _placed(weakness: Weakness) -> str:
    """The message after its place; an absolute one is left out: the report must not depend on where the tree is."""
    place = weakness.where
    return f"{place}: {weakness.message}" if place and not place.startswith(("/", "\\")) else weakness.message


def _as_remark(finding: Finding) -> Remark:
    return Remark(
        message=finding.message,
        evidence=finding.evidence,
        chain=finding.chain,
        hint=finding.hint,
        severity=finding.severity,
    )


class _Court:
    """Collects findings by subject while the rules speak; a subject without a file is known by its label."""

    def __init__(self, policy: Policy, today: datetime.date) -> None:
        self.policy = policy
        self.waivers = tuple(waiver for waiver in policy.waivers if not waiver.expired(today))
        self.found: defaultdict[int | str, list[Finding]] = defaultdict(list)
        self.waived: list[Waived] = []

    def hear(self, rule: Rule, subject: Subject | str, remark: Remark) -> None:
        """Give the remark its severity, and file it as a finding, as waived, or, where the rule is off, not at all."""
        severity = rule.severity_under(self.policy, remark.severity)
        if severity is None:
            return
        finding = _finding(rule, severity, subject, remark)
        target = _target(subject)
        waiver = next((w for w in self.waivers if w.covers(rule.id, finding.subject, target)), None)
        if waiver:
            self.waived.append(Waived(finding, waiver))
        else:
            self.found[_key(subject)].append(finding)

    def without_file(self) -> Iterator[Judged]:
        """What concerns no file, in the order it was heard."""
        for label, findings in self.found.items():
            if isinstance(label, str):
                yield Judged(path=label, source=Source(path=label), findings=tuple(findings))

    def judged(self, subject: Subject) -> Judged:
        return Judged(
            path=subject.path,
            digest=subject.digest,
            size=subject.size,
            source=subject.source,
            facts=subject.facts,
            findings=tuple(self.found[_key(subject)]),
            sizes=subject.sizes,
            explanation=subject.explanation,
            deep=subject.deep,
        )


def _key(subject: Subject | str) -> int | str:
    """Two subjects may bear one label (a path in two images): a subject with a file is known by itself."""
    return subject if isinstance(subject, str) else id(subject)


def _finding(rule: Rule, severity: Severity, subject: Subject | str, remark: Remark) -> Finding:
    return Finding(
        rule=rule.id,
        severity=severity,
        subject=subject if isinstance(subject, str) else subject.path,
        message=remark.message,
        evidence=remark.evidence,
        chain=remark.chain,
        hint=remark.hint,
    )


def _target(subject: Subject | str) -> tuple[str, Platform] | None:
    """Build and platform of a subject that a target became, or of a label that is a target's id."""
    if isinstance(subject, str):
        return _parsed(subject)
    return (subject.expected.target.build, subject.expected.target.platform) if subject.expected else None


def _parsed(label: str) -> tuple[str, Platform] | None:
    build, colon, platform = label.rpartition(":")
    try:
        return (build, Platform.parse(platform)) if colon else None
    except ConfigError:
        return None
