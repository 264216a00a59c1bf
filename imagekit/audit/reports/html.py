"""The report as one HTML page that needs nothing else: no network, no script for its tables, nothing that is obeyed.

The Content-Security-Policy admits the page's own style and script by their hashes and nothing besides; every word
passes `text.line` and HTML's escaping on its way through `text.render_html`. Touches disk: reads templates/.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256

import msgspec

from imagekit import __version__
from imagekit.audit.finding import Finding, Severity
from imagekit.audit.judge import Judged, Report
from imagekit.audit.reports import treemap
from imagekit.audit.reports.reading import Threshold, columns, worst, worst_first
from imagekit.audit.reports.tree import said, word
from imagekit.audit.rules import Rule
from imagekit.binary.facts import BinaryFacts, Evidence, GoModule
from imagekit.text import render_html, template_source

_GLYPHS = {"error": "✕", "warning": "!", "note": "i", "waived": "w", "": "·"}
_CHARACTER, _BOLD, _LINE = 6.3, 7.2, 15.0
"""Width of a letter, of one in a module's title, and height of a line in the map, in its units."""


class Mark(msgspec.Struct, frozen=True):
    """A cell of targets × rules: the worst severity (or `waived`, or ''), and how many findings."""

    rule: str
    word: str
    count: int

    @property
    def glyph(self) -> str:
        return _GLYPHS[self.word]


class Fact(msgspec.Struct, frozen=True):
    name: str
    value: str
    evidence: Evidence | None


class Target(msgspec.Struct, frozen=True):
    """One subject as the page shows it; `key` is its place in the report, which anchors are made of."""

    key: str
    judged: Judged
    verdict: str
    marks: tuple[Mark, ...]
    findings: tuple[tuple[str, Finding], ...]
    """Anchor and finding, the worst first; the first of a rule has the rule's anchor."""
    facts: tuple[Fact, ...]
    hardening: tuple[Fact, ...]


class Dependency(msgspec.Struct, frozen=True):
    """A module in one version, who replaces it, and the targets that hold it."""

    module: GoModule
    main: bool
    targets: tuple[Target, ...]


class Label(msgspec.Struct, frozen=True):
    text: str
    detail: str


class Map(msgspec.Struct, frozen=True):
    """One program's bytes: the drawing, and the same as a table."""

    target: Target
    total: int
    blocks: tuple[treemap.Block, ...]
    modules: tuple[treemap.Module, ...]


def page(report: Report, threshold: Threshold) -> bytes:
    """The page; the same report gives the same bytes."""
    from markupsafe import Markup

    style, script = template_source("audit.css"), template_source("audit.js")
    rules = columns(report)
    targets = tuple(_targets(report, rules))
    return render_html(
        "audit.html.j2",
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        style=Markup(style),  # noqa: S704  imagekit's own file, whose hash the policy names
        script=Markup(script),  # noqa: S704  likewise
        version=__version__,
        report=report,
        failed=report.exit_code(threshold.fail_on, allow_skipped=threshold.allow_skipped) != 0,
        failing=sum(any(map(threshold.fails, judged.findings)) for judged in report.subjects),
        counts={severity.word: report.count(severity) for severity in reversed(Severity)},
        rules=rules,
        targets=targets,
        dependencies=_dependencies(targets),
        maps=tuple(_maps(targets)),
        width=treemap.WIDTH,
        height=treemap.HEIGHT,
        label=label,
        bold=_BOLD,
        share=share,
        size=size,
        coordinate=coordinate,
        said=word,
    ).encode()


def _hash(text: str) -> str:
    """A source of CSP: the element holds exactly this text."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _targets(report: Report, rules: tuple[Rule, ...]) -> Iterator[Target]:
    waived = {(each.finding.subject, each.finding.rule) for each in report.waived}
    for number, judged in enumerate(report.subjects):
        severity = worst(judged.findings)
        yield Target(
            key=f"t{number}",
            judged=judged,
            verdict=severity.word if severity else "ok",
            marks=tuple(_mark(rule, judged, waived) for rule in rules),
            findings=tuple(_anchored(f"t{number}", judged)),
            facts=tuple(_facts(judged.facts)) if judged.facts else (),
            hardening=tuple(_hardening(judged.facts)) if judged.facts else (),
        )


def _mark(rule: Rule, judged: Judged, waived: set[tuple[str, str]]) -> Mark:
    found = [finding for finding in judged.findings if finding.rule == rule.id]
    severity = worst(found)
    if severity is None:
        return Mark(rule.id, "waived" if (judged.path, rule.id) in waived else "", 0)
    return Mark(rule.id, severity.word, len(found))


def _anchored(key: str, judged: Judged) -> Iterator[tuple[str, Finding]]:
    seen: defaultdict[str, int] = defaultdict(int)
    for finding in worst_first(judged.findings):
        seen[finding.rule] += 1
        again = f"-{seen[finding.rule]}" if seen[finding.rule] > 1 else ""
        yield f"{key}-{finding.rule}{again}", finding


def _facts(facts: BinaryFacts) -> Iterator[Fact]:
    told = said(facts)
    for name, value in told.items():
        yield Fact(name, word(value) if value else "none", facts.evidence.get(name))
    if facts.go:
        yield Fact("go", facts.go.version, facts.evidence.get("go"))
        yield Fact("main package", facts.go.path, None)
        for key, value in sorted(facts.go.settings.items()):
            yield Fact(f"setting {key}", value, None)
    for name in sorted(set(facts.evidence) - {*told, *facts.hardening, "go"}):
        yield Fact(name, "", facts.evidence[name])


def _hardening(facts: BinaryFacts) -> Iterator[Fact]:
    for name, value in sorted(facts.hardening.items()):
        yield Fact(name, word(value), facts.evidence.get(name))


def _dependencies(targets: tuple[Target, ...]) -> tuple[Dependency, ...]:
    """Every module in every version, by path and version, the main modules first."""
    held: dict[tuple[bool, GoModule], list[Target]] = defaultdict(list)
    for target in targets:
        go = target.judged.facts.go if target.judged.facts else None
        if go and go.main:
            held[True, go.main].append(target)
        for module in dict.fromkeys(go.deps if go else ()):
            held[False, module].append(target)
    found = [Dependency(module, main, tuple(users)) for (main, module), users in held.items()]
    return tuple(sorted(found, key=_place))


def _place(dependency: Dependency) -> tuple[bool, str, str, str, str]:
    module = dependency.module
    replaced = repr(module.replace) if module.replace else ""
    return not dependency.main, module.path, module.version, module.sum, replaced


def _maps(targets: tuple[Target, ...]) -> Iterator[Map]:
    for target in targets:
        modules = treemap.modules(target.judged.sizes or (), target.judged.facts)
        if modules:
            total = sum(module.size for module in modules)
            yield Map(target, total, treemap.treemap(modules), modules)


def label(text: str, box: treemap.Box, detail: str = "", width: float = _CHARACTER) -> Label:
    """What fits into a box: the name, without its first elements if need be, and below it the detail; '' for nothing.

    `width` is that of a letter. The page's script does the same where a module is enlarged.
    """
    room = int((box.width - 8) / width)
    if box.height < _LINE or room < 3:
        return Label("", "")
    detailed = box.height >= 2 * _LINE + 4 and len(detail) <= room
    return Label(_fitting(text, room), detail if detailed else "")


def _fitting(text: str, room: int) -> str:
    while len(text) > room and "/" in text.removeprefix("…/"):
        text = "…/" + text.removeprefix("…/").partition("/")[2]
    if len(text) > room:
        text = text.removeprefix("…/")
    return text if len(text) <= room else f"{text[: room - 1]}…"


def coordinate(length: float) -> str:
    """A length in the map with one decimal."""
    return f"{length:.1f}"


def size(count: int) -> str:
    """Bytes in binary units: `512 B`, `1.5 KiB`, `12.0 MiB`."""
    number, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"


def share(part: int, whole: int) -> str:
    """`12.3 %`."""
    return f"{100 * part / whole:.1f} %" if whole else ""
