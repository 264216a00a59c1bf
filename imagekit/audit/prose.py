"""The report for people: a table (a tree for one file), then what was found, and the way out.

`show` writes to a stream.

Every word that is not ours (paths, evidence, chains) is escaped by `text.line` before it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import msgspec

from imagekit.audit.finding import Finding, Severity
from imagekit.audit.judge import Judged, Report
from imagekit.audit.reports.tree import Branch, branches, indented, looks, shown
from imagekit.audit.rules import BY_ID
from imagekit.binary.facts import BinaryFacts
from imagekit.text import line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.tree import Tree

_FOLDED_COMMAND = re.compile(r"(?m)^(\s*)::")
"""A name that is folded may begin a line with what was harmless in its middle; a CI's log can be a terminal too."""
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


class Line(msgspec.Struct, frozen=True):
    """One line, already safe to show, and rich's style for it on a terminal."""

    text: str
    style: str = ""


def show(report: Report, stream: TextIO, *, subjects: bool = True, tree: bool = False) -> None:
    """Write the report: with colours and a table on a terminal, as plain lines elsewhere.

    Findings only, unless `subjects`; with `tree`, one file alone is shown with all its facts and their evidence.
    """
    rest = (*_findings(report), *_rest(report))
    if not stream.isatty():
        stream.writelines(each.text + "\n" for each in (lines(report, tree=tree) if subjects else rest))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    if subjects:
        with console.capture() as drawn:
            _show_subjects(report, console, tree=tree)
        stream.write(_FOLDED_COMMAND.sub(r"\1\\x3a:", drawn.get()))
    for each in rest:
        console.print(Text(each.text, each.style), soft_wrap=True)


def text(report: Report, *, tree: bool = False) -> str:
    """The whole report as plain lines."""
    return "".join(each.text + "\n" for each in lines(report, tree=tree))


def lines(report: Report, *, tree: bool = False) -> Iterator[Line]:
    """Subjects, findings (the worst first, then in the order of the report), skips, waivers, the sum."""
    alone = tree and _alone(report)
    for judged in report.subjects:
        if judged.facts:
            yield Line(_head(judged, judged.facts))
            hanging = branches(judged) if alone else looks(judged)
            yield from (Line(each.text, each.style) for each in indented(hanging))
    yield from _findings(report)
    yield from _rest(report)


def _alone(report: Report) -> bool:
    return sum(judged.facts is not None for judged in report.subjects) == 1


def _head(judged: Judged, facts: BinaryFacts) -> str:
    return f"{line(judged.path)}: {', '.join(_cells(facts))}: {_verdict(judged)}"


def _show_subjects(report: Report, console: Console, *, tree: bool) -> None:
    alone = tree and _alone(report)
    if not alone:
        console.print(_table(report))
    for judged in report.subjects:
        hanging = branches(judged) if alone else looks(judged)
        if judged.facts and hanging:
            console.print(_tree(Branch(_head(judged, judged.facts), hanging, _style(judged))))


def _tree(root: Branch) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(root.text, root.style, overflow="fold"), guide_style="dim")
    for branch in root.branches:
        tree.children.append(_tree(branch))
    return tree


def _findings(report: Report) -> Iterator[Line]:
    for finding in sorted(report.findings, key=lambda finding: -finding.severity):
        yield from told(finding)


def told(finding: Finding) -> Iterator[Line]:
    """One finding: rule and subject, message, evidence, import chain, way out, page."""
    yield Line(f"{finding.severity.word} {finding.rule}: {line(finding.subject)}", _STYLES[finding.severity])
    yield Line(f"    {line(finding.message)}")
    for evidence in finding.evidence:
        yield Line(f"    evidence: {shown(evidence)}", "dim")
    if finding.chain:
        yield Line(f"    import chain: {' -> '.join(line(package) for package in finding.chain)}")
    if finding.hint:
        yield Line(f"    way out: {line(finding.hint)}")
    yield Line(f"    see {BY_ID[finding.rule].docs}", "dim")


def _rest(report: Report) -> Iterator[Line]:
    for skip in report.skips:
        yield Line(f"skipped {line(skip.path)}: {line(skip.reason)}", "yellow")
    for waived in report.waived:
        finding, waiver = waived.finding, waived.waiver
        text = f"waived {finding.rule}: {line(finding.subject)}: until {waiver.until}, {line(waiver.reason)}"
        yield Line(text, "dim")
    for waiver in report.expired:
        yield Line(f"a waiver of {waiver.rule} for {line(waiver.select)} ended on {waiver.until}", "yellow")
    yield Line(sum_line(report))


def sum_line(report: Report) -> str:
    """`files: 3, errors: 1, warnings: 0, notes: 2 (policy scratch)`."""
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


def _style(judged: Judged) -> str:
    worst = max((finding.severity for finding in judged.findings), default=None)
    return _STYLES[worst] if worst else "green"


def _table(report: Report) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("file", "platform", "linkage", "cgo", "go", "verdict", box=None, padding=(0, 2, 0, 0))
    for judged in report.subjects:
        if judged.facts:
            cells = (line(judged.path), *_cells(judged.facts))
            table.add_row(*(Text(cell, overflow="fold") for cell in cells), Text(_verdict(judged), _style(judged)))
    return table
