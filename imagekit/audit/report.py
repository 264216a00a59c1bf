"""The report as JSON: `urn:imagekit:audit:v1` (docs/schema/audit.schema.json), its types and its JSON Schema.

Every key is always there; None is unknown. The structs below are the document, key by key.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from imagekit import __version__
from imagekit.audit.explain import Explanation
from imagekit.audit.finding import Finding, Severity
from imagekit.audit.judge import Judged, Report, Waived
from imagekit.audit.policy import Waiver
from imagekit.binary.deep import Deep
from imagekit.binary.facts import BinaryFacts, Evidence, GoBuild, Traits
from imagekit.content import parse_json, readable_json
from imagekit.text import json_of

SCHEMA = "urn:imagekit:audit:v1"
_OBEYED = re.compile(r"##(?=\[|vso\[)")
_NOT_PLAIN = re.compile(r"[^\n -~]")


class Tool(msgspec.Struct, frozen=True):
    name: str
    version: str


class PolicyEntry(msgspec.Struct, frozen=True):
    name: str
    digest: str


class SourceEntry(msgspec.Struct, frozen=True):
    kind: str
    ref: str | None
    manifest: str | None
    platform: str | None
    layer: str | None
    path: str | None


class FactsEntry(msgspec.Struct, frozen=True):
    format: str
    platform: str | None
    linkage: str
    cgo: str
    libc: str | None
    glibc_min: str | None
    interpreter: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    go: GoBuild | None
    hardening: dict[str, str | bool | None]
    traits: Traits
    evidence: dict[str, Evidence]


class FindingEntry(msgspec.Struct, frozen=True):
    rule: str
    severity: Literal["error", "warning", "note"]
    message: str
    evidence: tuple[Evidence, ...]
    chain: tuple[str, ...]
    hint: str


class SubjectEntry(msgspec.Struct, frozen=True):
    path: str
    digest: str | None
    size: int | None
    source: SourceEntry
    facts: FactsEntry | None
    findings: tuple[FindingEntry, ...]
    explanation: Explanation | None = None
    """Null where nobody asked (`--explain`)."""
    deep: Deep | None = None
    """Null where nobody asked (`--deep`)."""


class SkipEntry(msgspec.Struct, frozen=True):
    path: str
    reason: str


class WaiverEntry(msgspec.Struct, frozen=True):
    rule: str
    select: str
    until: str
    reason: str


class WaivedEntry(msgspec.Struct, frozen=True):
    path: str
    finding: FindingEntry
    waiver: WaiverEntry


class Summary(msgspec.Struct, frozen=True):
    """Counts; findings that a waiver covers are counted in `waived` alone."""

    subjects: int
    errors: int
    warnings: int
    notes: int
    skipped: int
    other: int
    waived: tuple[WaivedEntry, ...]
    expired: tuple[WaiverEntry, ...]


class AuditDocument(msgspec.Struct, frozen=True):
    """The whole file."""

    schema: Literal["urn:imagekit:audit:v1"]
    tool: Tool
    policy: PolicyEntry
    subjects: tuple[SubjectEntry, ...]
    skips: tuple[SkipEntry, ...]
    summary: Summary


def audit_json(report: Report) -> bytes:
    """The report for machines: sorted keys, two spaces, a final newline; the same report gives the same bytes."""
    return inert_json(document(report))


def inert_json(value: Any) -> bytes:
    """Readable JSON that a terminal or a CI log obeys as little as `text.plain`: what it might obey is `\\u`-escaped.

    The value that a reader gets is the same, save for unpaired surrogates, which JSON cannot hold: they stay escapes.
    """
    content = json_of(value, readable_json)
    if content.isascii() and b"##" not in content and b"\x7f" not in content:
        return content
    text = content.decode()
    obeyed = "".join(c for c in sorted(set(_NOT_PLAIN.findall(text))) if not c.isprintable())
    if obeyed:
        text = re.sub(f"[{re.escape(obeyed)}]", _unit_escapes, text)
    return _OBEYED.sub("#\\\\u0023", text).encode()


def _unit_escapes(character: re.Match[str]) -> str:
    units = character[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def document(report: Report) -> AuditDocument:
    """The report in the shape of the JSON."""
    return AuditDocument(
        schema="urn:imagekit:audit:v1",
        tool=Tool("imagekit", __version__),
        policy=PolicyEntry(report.policy, report.policy_digest),
        subjects=tuple(_subject(judged) for judged in report.subjects),
        skips=tuple(SkipEntry(skip.path, skip.reason) for skip in report.skips),
        summary=_summary(report),
    )


def read_audit(content: bytes) -> AuditDocument:
    """An audit.json read back; raises `msgspec.DecodeError` for anything else."""
    return parse_json(content, AuditDocument)


def audit_schema() -> dict[str, Any]:
    """The JSON Schema of the document (docs/schema/audit.schema.json); every key is required."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(AuditDocument)}
    for definition in schema["$defs"].values():
        if "properties" in definition:
            definition["required"] = sorted(definition["properties"])
    return {"$id": SCHEMA, **schema}


def _subject(judged: Judged) -> SubjectEntry:
    source = judged.source
    return SubjectEntry(
        path=judged.path,
        digest=judged.digest,
        size=judged.size,
        source=SourceEntry(source.kind, source.ref, source.manifest, source.platform, source.layer, source.path),
        facts=_facts(judged.facts) if judged.facts else None,
        findings=tuple(_finding(finding) for finding in judged.findings),
        explanation=judged.explanation,
        deep=judged.deep,
    )


def _facts(facts: BinaryFacts) -> FactsEntry:
    return FactsEntry(
        format=facts.format,
        platform=str(facts.platform) if facts.platform else None,
        linkage=facts.linkage,
        cgo=facts.cgo,
        libc=facts.libc,
        glibc_min=facts.glibc_min,
        interpreter=facts.interpreter,
        needed=facts.needed,
        rpath=facts.rpath,
        go=facts.go,
        hardening=facts.hardening,
        traits=facts.traits,
        evidence=facts.evidence,
    )


def _finding(finding: Finding) -> FindingEntry:
    word: Literal["error", "warning", "note"] = _WORDS[finding.severity]
    return FindingEntry(finding.rule, word, finding.message, finding.evidence, finding.chain, finding.hint)


_WORDS: dict[Severity, Literal["error", "warning", "note"]] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "note",
}


def _summary(report: Report) -> Summary:
    return Summary(
        subjects=len(report.subjects),
        errors=report.count(Severity.ERROR),
        warnings=report.count(Severity.WARNING),
        notes=report.count(Severity.NOTE),
        skipped=len(report.skips),
        other=report.other,
        waived=tuple(_waived(waived) for waived in report.waived),
        expired=tuple(_waiver(waiver) for waiver in report.expired),
    )


def _waived(waived: Waived) -> WaivedEntry:
    return WaivedEntry(waived.finding.subject, _finding(waived.finding), _waiver(waived.waiver))


def _waiver(waiver: Waiver) -> WaiverEntry:
    return WaiverEntry(waiver.rule, waiver.select, waiver.until.isoformat(), waiver.reason)
