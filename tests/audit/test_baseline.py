"""What an earlier report knew, and how several ends become one."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.audit.auditing import Audited, audit, conclusion
from imagekit.audit.baseline import Baseline, load, only_new, read
from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import Report, judge
from imagekit.audit.policy import SCRATCH
from imagekit.audit.report import audit_json
from imagekit.audit.subject import Subject
from imagekit.audit.subjects import Options
from imagekit.binary.facts import BinaryFacts, Linkage
from imagekit.cancellation import Cancellation
from imagekit.errors import (
    ImagekitError,
    IntegrityError,
    NetworkError,
    ToolError,
    UnreadableError,
)

TODAY = datetime.date(2026, 11, 24)
SKIP = Skip("image:linux/arm64", "no such blob")
UNREADABLE = Finding(rule="unreadable", severity=Severity.ERROR, subject="tree/closed", message="cannot be read")


@pytest.fixture
def report(subject: Callable[..., Subject], facts: Callable[..., BinaryFacts]) -> Report:
    """Two refused programs, a folder that cannot be read, and a skip."""
    refused = [subject(facts(linkage=Linkage.LOADER_ONLY), path=path) for path in ("a", "b")]
    return judge(refused, SCRATCH, today=TODAY, findings=[UNREADABLE], skips=[SKIP])


def test_a_report_is_its_own_baseline(report: Report) -> None:
    new = only_new(report, read(audit_json(report), "old.json"))
    assert (new.findings, new.skips) == ((), ())
    assert [judged.path for judged in new.subjects] == ["a", "b"]
    assert new.exit_code(Severity.NOTE) == 0


def test_what_is_new_stays(report: Report) -> None:
    known = Baseline(frozenset((one.rule, one.subject, one.message) for one in report.findings if one.subject != "b"))
    new = only_new(report, known)
    assert {one.subject for one in new.findings} == {"b"}
    assert new.skips == (SKIP,)


@pytest.mark.parametrize("changed", [("rule", "linkage", "b"), ("linkage", "b", "another message")])
def test_another_rule_file_or_message_is_new(report: Report, changed: tuple[str, str, str]) -> None:
    new = only_new(report, Baseline(frozenset([changed])))
    assert new.findings == report.findings


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no report"),
        (b"{", "no report"),
        (b"[" * 100_000, "no report"),
        (b'"\xff"', "no report"),
        (b"{}", "schema"),
        (b'{"schema": "urn:other", "subjects": []}', "its schema is 'urn:other'"),
        (b'{"schema": "urn:imagekit:audit:v1"}', "subjects"),
        (b'{"schema": "urn:imagekit:audit:v1", "subjects": [{"path": 1, "findings": []}]}', "path"),
    ],
)
def test_what_is_no_report(content: bytes, said: str) -> None:
    with pytest.raises(UnreadableError, match=said) as caught:
        read(content, "old.json")
    assert "old.json" in caught.value.message
    assert "--format json" in caught.value.hint


def test_keys_of_other_versions_are_passed_over() -> None:
    subject = {"path": "a", "future": 1, "findings": [{"rule": "r", "message": "m", "future": 1}]}
    content = json.dumps({"schema": "urn:imagekit:audit:v1", "subjects": [subject], "future": []}).encode()
    assert read(content, "old.json") == Baseline(frozenset([("r", "a", "m")]))


def test_a_baseline_that_is_not_there_or_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("nothing", "fifo", ""):
        with pytest.raises(UnreadableError):
            load(tmp_path / name)


# --- how it ends ---------------------------------------------------------------------------------------------------

BROKEN, GONE = IntegrityError("5"), UnreadableError("4")
OFFLINE, MISSING = NetworkError("6"), ToolError("3")
CLEAN = Report(policy="scratch", policy_digest=SCRATCH.digest)


@pytest.mark.parametrize(
    ("errors", "refused", "code"),
    [
        ((), False, 0),
        ((), True, 10),
        ((MISSING,), True, 3),
        ((MISSING, OFFLINE), True, 6),
        ((MISSING, OFFLINE, GONE), True, 4),
        ((OFFLINE, GONE, MISSING, BROKEN), True, 5),
    ],
)
def test_the_first_of_5_4_6_3_10(
    report: Report, errors: tuple[ImagekitError, ...], *, refused: bool, code: int
) -> None:
    end = conclusion(Audited(report if refused else CLEAN, errors), Severity.ERROR, allow_skipped=False)
    assert (end.exit_code if end else 0) == code


def test_a_skip_fails_unless_it_is_allowed() -> None:
    skipped = Audited(Report(policy="scratch", policy_digest=SCRATCH.digest, skips=(SKIP,)))
    end = conclusion(skipped, Severity.ERROR, allow_skipped=False)
    assert end is not None
    assert (end.exit_code, SKIP.path in end.message) == (10, True)
    assert conclusion(skipped, Severity.ERROR, allow_skipped=True) is None


def test_known_findings_are_counted(tmp_path: Path) -> None:
    program = str(Path("/bin/true").resolve())
    first = audit([program], SCRATCH, Options(), Cancellation(), today=TODAY)
    again = audit(
        [program], SCRATCH, Options(), Cancellation(), today=TODAY, baseline=read(audit_json(first.report), "old")
    )
    assert (first.known, again.known) == (0, len(first.report.findings))
    assert again.report.findings == ()
