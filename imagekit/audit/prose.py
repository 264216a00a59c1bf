"""The report for people: one line a subject, then what was found, why, and the way out. `show` writes to a stream.

Every word that is not ours (paths, evidence, chains) is escaped by `text.line` before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import msgspec

from imagekit.audit.finding import Finding, Severity
from imagekit.audit.judge import Judged, Report
from imagekit.audit.rules import BY_ID
from imagekit.binary.facts import BinaryFacts, Evidence
from imagekit.text import line

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


class Line(msgspec.Struct, frozen=True):
    """One line, already safe to show, and rich's style for it on a terminal."""

    text: str
    style: str = ""


def show(report: Report, stream: TextIO, *, subjects: bool = True) -> None:
    """Write the report: with colours and a table on a terminal, as plain lines elsewhere; findings only if asked so."""
    said = (*_findings(report), *_rest(report))
    if not stream.isatty():
        stream.writelines(each.text + "\n" for each in (lines(report) if subjects else said))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream)
    if subjects:
        console.print(_table(report))
    for each in said:
        console.print(Text(each.text, each.style), soft_wrap=True)


def text(report: Report) -> str:
    """The whole report as plain lines."""
    return "".join(each.text + "\n" for each in lines(report))


def lines(report: Report) -> Iterator[Line]:
    """Subjects, findings (the worst first, then in the order of the report), skips, waivers, the sum."""
    for judged in report.subjects:
        if judged.facts:
            yield Line(f"{line(judged.path)}: {', '.join(_cells(judged.facts))}: {_verdict(judged)}")
    yield from _findings(report)
    yield from _rest(report)


def _findings(report: Report) -> Iterator[Line]:
    for finding in sorted(report.findings, key=lambda finding: -finding.severity):
        yield from _told(finding)


def _told(finding: Finding) -> Iterator[Line]:
    yield Line(f"{finding.severity.word} {finding.rule}: {line(finding.subject)}", _STYLES[finding.severity])
    yield Line(f"    {line(finding.message)}")
    for evidence in finding.evidence:
        yield Line(f"    evidence: {_shown(evidence)}", "dim")
    if finding.chain:
        yield Line(f"    import chain: {' -> '.join(line(package) for package in finding.chain)}")
    if finding.hint:
        yield Line(f"    way out: {line(finding.hint)}")
    yield Line(f"    see {BY_ID[finding.rule].docs}", "dim")


def _shown(evidence: Evidence) -> str:
    at = "" if evidence.offset is None else f" at {evidence.offset:#x}"
    return f"{line(evidence.where)}{at}: {line(evidence.value)}"


def _rest(report: Report) -> Iterator[Line]:
    for skip in report.skips:
        yield Line(f"skipped {line(skip.path)}: {line(skip.reason)}", "yellow")
    for waived in report.waived:
        finding, waiver = waived.finding, waived.waiver
        told = f"waived {finding.rule}: {line(finding.subject)}: until {waiver.until}, {line(waiver.reason)}"
        yield Line(told, "dim")
    for waiver in report.expired:
        yield Line(f"a waiver of {waiver.rule} for {line(waiver.select)} ended on {waiver.until}", "yellow")
    yield Line(_sum(report))


def _sum(report: Report) -> str:
    counts = {"files": sum(judged.facts is not None for judged in report.subjects)}
    counts |= {f"{severity.word}s": report.count(severity) for severity in reversed(Severity)}
    rare = {"skipped": len(report.skips), "waived": len(report.waived)}
    counts |= {word: number for word, number in rare.items() if number}
    return f"{', '.join(f'{word}: {number}' for word, number in counts.items())} (policy {line(report.policy)})"


def _cells(facts: BinaryFacts) -> tuple[str, ...]:
    """Platform, linkage, cgo with its libc, Go's version."""
    libc = f" ({line(facts.libc)})" if facts.libc else ""
    return (
        line(str(facts.platform or "unknown platform")),
        facts.linkage,
        f"cgo {facts.cgo}{libc}",
        line(facts.go.version) if facts.go else "no Go build info",
    )


def _verdict(judged: Judged) -> str:
    worst = max((finding.severity for finding in judged.findings), default=None)
    return worst.word if worst else "ok"


def _table(report: Report) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("file", "platform", "linkage", "cgo", "go", "verdict", box=None, padding=(0, 2, 0, 0))
    for judged in report.subjects:
        if judged.facts:
            worst = max((finding.severity for finding in judged.findings), default=None)
            cells = (line(judged.path), *_cells(judged.facts))
            table.add_row(*map(Text, cells), Text(_verdict(judged), _STYLES[worst] if worst else "green"))
    return table
