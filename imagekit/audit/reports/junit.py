"""JUnit XML, as CI servers read it: a suite a subject, a case a rule that found something anywhere, one for skips.

A finding at or above `--fail-on` is a failure; a weaker one passes and is told in `system-out`. A waived finding is a
skipped case with the waiver's reason; a file that was not examined is an error, or skipped where that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from imagekit.audit.finding import Finding, Skip
from imagekit.audit.judge import Judged, Report, Waived
from imagekit.audit.prose import told
from imagekit.audit.reports.reading import Threshold, columns, worst_first
from imagekit.text import line


class _Case(msgspec.Struct, frozen=True):
    """One `<testcase>`: at most one verdict (`failure`, `error`, `skipped`) with its message and text."""

    name: str
    verdict: str = ""
    kind: str = ""
    message: str = ""
    text: str = ""


class _Suite(msgspec.Struct, frozen=True):
    name: str
    cases: tuple[_Case, ...]

    def count(self, verdict: str) -> int:
        return sum(case.verdict == verdict for case in self.cases)


def junit(report: Report, threshold: Threshold) -> bytes:
    """The XML; no time and no host name are in it."""
    suites = [_suite(judged, report, threshold) for judged in report.subjects]
    suites += [_skips(report.skips, threshold)] if report.skips else []
    return "".join(f"{each}\n" for each in _document(report, suites)).encode()


def _suite(judged: Judged, report: Report, threshold: Threshold) -> _Suite:
    waived = [each for each in report.waived if each.finding.subject == judged.path]
    cases = (_case(rule.id, judged.findings, waived, threshold) for rule in columns(report))
    return _Suite(judged.path, tuple(cases))


def _case(rule: str, findings: Sequence[Finding], waived: Sequence[Waived], threshold: Threshold) -> _Case:
    found = worst_first([finding for finding in findings if finding.rule == rule])
    text = "\n".join(each.text for finding in found for each in told(finding))
    if found and threshold.fails(found[0]):
        return _Case(rule, "failure", found[0].severity.word, found[0].message, text)
    excused = next((each.waiver for each in waived if each.finding.rule == rule), None)
    if excused and not found:
        return _Case(rule, "skipped", message=f"waived until {excused.until}: {excused.reason}")
    return _Case(rule, text=text)


def _skips(skips: Sequence[Skip], threshold: Threshold) -> _Suite:
    verdict = "skipped" if threshold.allow_skipped else "error"
    return _Suite("not examined", tuple(_Case(skip.path, verdict, "skip", skip.reason) for skip in skips))


def _document(report: Report, suites: Sequence[_Suite]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f"<testsuites {_attributes(name=f'imagekit audit ({report.policy})', **_counts(suites))}>"
    for suite in suites:
        yield f"  <testsuite {_attributes(name=suite.name, **_counts([suite]))}>"
        for case in suite.cases:
            yield from _lines(suite, case)
        yield "  </testsuite>"
    yield "</testsuites>"


def _counts(suites: Sequence[_Suite]) -> dict[str, str]:
    words = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {key: sum(suite.count(word) for suite in suites) for key, word in words.items()}
    return {key: str(number) for key, number in ({"tests": sum(len(s.cases) for s in suites)} | counts).items()}


def _lines(suite: _Suite, case: _Case) -> Iterator[str]:
    head = f"    <testcase {_attributes(classname=suite.name, name=case.name)}"
    if not case.verdict and not case.text:
        yield f"{head}/>"
        return
    yield f"{head}>"
    if case.verdict:
        attributes = _attributes(**({"type": case.kind} if case.kind else {}), message=case.message)
        yield f"      <{case.verdict} {attributes}>{_escaped(case.text)}</{case.verdict}>"
    else:
        yield f"      <system-out>{_escaped(case.text)}</system-out>"
    yield "    </testcase>"


def _attributes(**values: str) -> str:
    return " ".join(f'{key}="{_escaped(line(value))}"' for key, value in values.items())


def _escaped(text: str) -> str:
    """Text that has passed `text.line` line by line, so that it holds only characters that XML 1.0 admits (2.2)."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text
