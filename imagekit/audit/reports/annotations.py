"""GitHub annotations: one workflow command a finding, which the runner shows beside the file and in the summary.

GitHub shows the first ten errors, warnings and notices of a step, so the worst come first. What is not ours passes
`text.line` and then the runner's own escapes (actions/toolkit, packages/core/src/command.ts).
"""

from __future__ import annotations

from collections.abc import Iterator

from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import Judged, Report
from imagekit.audit.prose import sum_line
from imagekit.audit.reports.reading import Threshold, file_of
from imagekit.audit.reports.tree import shown
from imagekit.audit.rules import BY_ID
from imagekit.text import line

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def workflow_commands(report: Report, threshold: Threshold) -> bytes:
    """Findings, the worst first, then skips, each a line; the last line is the sum, and no command."""
    found = [(judged, finding) for judged in report.subjects for finding in judged.findings]
    found.sort(key=lambda pair: -pair[1].severity)
    lines = [
        *(_finding(judged, finding) for judged, finding in found),
        *(_skip(skip, threshold) for skip in report.skips),
        sum_line(report),
    ]
    return "".join(f"{each}\n" for each in lines).encode()


def _finding(judged: Judged, finding: Finding) -> str:
    told = "\n".join(_told(finding))
    title = f"{finding.rule}: {line(finding.subject)}"
    return _command(_COMMANDS[finding.severity], _file(judged), title, told)


def _told(finding: Finding) -> Iterator[str]:
    yield line(finding.message)
    for evidence in finding.evidence:
        yield f"evidence: {shown(evidence)}"
    if finding.chain:
        yield f"import chain: {' -> '.join(map(line, finding.chain))}"
    if finding.hint:
        yield f"way out: {line(finding.hint)}"
    yield f"see {BY_ID[finding.rule].docs}"


def _file(judged: Judged) -> str | None:
    """The file to show it beside; None for what is in an image, or no file at all."""
    return line(file_of(judged)) if judged.facts and judged.source.kind == "file" else None


def _skip(skip: Skip, threshold: Threshold) -> str:
    word = "warning" if threshold.allow_skipped else "error"
    return _command(word, line(skip.path), f"skipped: {line(skip.path)}", f"not examined: {line(skip.reason)}")


def _command(word: str, file: str | None, title: str, message: str) -> str:
    properties = {"file": file, "title": title}
    said = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value is not None)
    return f"::{word} {said}::{_text(message)}"


def _text(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _text(text).replace(":", "%3A").replace(",", "%2C")
