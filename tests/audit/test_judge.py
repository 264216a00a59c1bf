from __future__ import annotations

import datetime

import msgspec
import pytest

from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import SOURCE_SUBJECT, judge
from imagekit.audit.policy import SCRATCH, Waiver
from imagekit.audit.rules import BY_ID
from imagekit.binary.facts import CgoUse, Linkage
from imagekit.source.weakness import Weakness

TODAY = datetime.date(2027, 3, 31)
DIRTY = Weakness("dirty-tree", "the tree is not what was committed: main.go", "/home/me/app")
REPLACED = Weakness("local-replace", "x is replaced by ../x", "go.mod:5", "use a version")


def policy(**changes):
    return msgspec.structs.replace(SCRATCH, **changes)


def test_a_clean_subject(subject, expected):
    report = judge([subject(expected=expected())], SCRATCH, today=TODAY)
    assert report.findings == ()
    assert report.exit_code() == 0
    assert report.policy_digest == SCRATCH.digest


def test_a_refused_subject_fails_the_run(subject, facts):
    report = judge([subject(facts(linkage=Linkage.LOADER_ONLY)), subject(path="good")], SCRATCH, today=TODAY)
    assert [judged.path for judged in report.subjects] == ["bin/linux_amd64/app", "good"]
    assert [finding.rule for finding in report.subjects[0].findings] == ["linkage"]
    assert report.exit_code() == 10


FAIL_ON = {
    "errors, one is there": (Severity.ERROR, [], 0),
    "warnings fail on warning": (Severity.WARNING, [DIRTY], 10),
    "warnings pass on error": (Severity.ERROR, [DIRTY], 0),
    "warnings fail on note": (Severity.NOTE, [DIRTY], 10),
}


@pytest.mark.parametrize(("threshold", "weaknesses", "code"), FAIL_ON.values(), ids=FAIL_ON)
def test_fail_on(subject, threshold, weaknesses, code):
    assert judge([subject()], SCRATCH, today=TODAY, weaknesses=weaknesses).exit_code(threshold) == code


def test_a_skip_fails_unless_allowed(subject):
    report = judge([subject()], SCRATCH, today=TODAY, skips=[Skip("x", "permission denied")])
    assert report.exit_code() == 10
    assert report.exit_code(allow_skipped=True) == 0


def test_weaknesses_are_findings_of_the_source_none_twice():
    report = judge([], SCRATCH, today=TODAY, weaknesses=[REPLACED, DIRTY, REPLACED])
    (source,) = report.subjects
    assert source.path == SOURCE_SUBJECT
    assert source.facts is None
    assert [finding.rule for finding in source.findings] == ["dirty-tree", "local-replace"]
    assert source.findings[1].message == "go.mod:5: x is replaced by ../x"
    assert source.findings[1].hint == "use a version"


def test_the_place_of_the_tree_does_not_reach_the_report():
    report = judge([], SCRATCH, today=TODAY, weaknesses=[DIRTY])
    assert "/home/me" not in report.findings[0].message


def test_findings_from_before_the_link_keep_chain_and_subject():
    early = Finding(
        rule="cgo-required",
        severity=Severity.ERROR,
        subject="app:freebsd/amd64",
        message="m",
        chain=("a", "b"),
        hint="h",
    )
    report = judge([], SCRATCH, today=TODAY, findings=[early])
    assert report.findings == (early,)
    assert report.exit_code() == 10


OVERRIDES = {
    "lowered": ({"linkage": "note"}, [Severity.NOTE]),
    "off": ({"linkage": "off"}, []),
    "untouched": ({"nss": "error"}, [Severity.ERROR]),
}


@pytest.mark.parametrize(("rules", "severities"), OVERRIDES.values(), ids=OVERRIDES)
def test_the_policy_gives_the_severity(subject, facts, rules, severities):
    report = judge([subject(facts(linkage=Linkage.BROKEN))], policy(rules=rules), today=TODAY)
    assert [finding.severity for finding in report.findings] == severities


def test_a_policy_can_forbid_what_is_a_note(subject, facts):
    with_c = [subject(facts(cgo=CgoUse.PROVEN, go=None))]
    assert judge(with_c, SCRATCH, today=TODAY).exit_code() == 0
    assert judge(with_c, policy(rules={"cgo": "error"}), today=TODAY).exit_code() == 10


def test_a_waived_finding_does_not_count_but_is_told(subject, facts):
    waiver = Waiver("linkage", "*/debug", TODAY, "profiling build")
    debug, app = (subject(facts(linkage=Linkage.DYNAMIC), path) for path in ("bin/debug", "bin/app"))
    report = judge([debug, app], policy(waivers=(waiver,)), today=TODAY)
    assert [finding.subject for finding in report.findings] == ["bin/app"]
    assert [(waived.finding.subject, waived.waiver.reason) for waived in report.waived] == [
        ("bin/debug", "profiling build")
    ]


def test_an_expired_waiver_does_not_count(subject, facts):
    waiver = Waiver("linkage", "*", TODAY, "r")
    report = judge(
        [subject(facts(linkage=Linkage.DYNAMIC))],
        policy(waivers=(waiver,)),
        today=TODAY + datetime.timedelta(days=1),
    )
    assert report.exit_code() == 10
    assert report.expired == (waiver,)
    assert report.waived == ()


def test_waivers_select_by_target(subject, facts, expected):
    waiver = Waiver("linkage", "app:linux/*", TODAY, "r")
    one = subject(facts(linkage=Linkage.DYNAMIC), path="x", expected=expected())
    assert judge([one], policy(waivers=(waiver,)), today=TODAY).exit_code() == 0
    early = Finding(rule="linkage", severity=Severity.ERROR, subject="app:linux/arm64", message="m")
    assert judge([], policy(waivers=(waiver,)), today=TODAY, findings=[early]).exit_code() == 0
    other = Finding(rule="linkage", severity=Severity.ERROR, subject="app:windows/arm64", message="m")
    assert judge([], policy(waivers=(waiver,)), today=TODAY, findings=[other]).exit_code() == 10


def test_two_subjects_of_one_label_keep_their_own_findings(subject, facts):
    report = judge([subject(path="app"), subject(facts(linkage=Linkage.BROKEN), path="app")], SCRATCH, today=TODAY)
    assert [len(judged.findings) for judged in report.subjects] == [0, 1]


def test_every_rule_has_an_id_of_its_own():
    from imagekit.audit.rules import RULES

    assert len(BY_ID) == len(RULES)


def test_severities_are_those_of_the_surface():
    errors = {"linkage", "cgo-required", "cgo", "mismatch", "x-value", "vendor-mismatch"}
    warnings = {
        *("dirty-tree", "sumdb-off", "sumdb-unreached", "local-replace", "go-sum-missing", "vendor-unverified"),
        *("unsafe", "nss"),
    }
    assert all(BY_ID[rule].severity is Severity.ERROR for rule in errors)
    assert all(BY_ID[rule].severity is Severity.WARNING for rule in warnings)
