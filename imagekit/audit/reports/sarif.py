"""SARIF 2.1.0 (OASIS standard with errata 01): rules, one result a finding, waivers as suppressions.

A skip is a notification of the run's invocation: it says something of the run, not of the file. What is not ours
passes `text.line`; brackets that would make a link in a message (3.11.6) are escaped; paths become relative or file
URI references in which every reserved character but `/` is percent-encoded.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote

import msgspec

from imagekit import __version__
from imagekit.audit.finding import Finding, Skip
from imagekit.audit.judge import Judged, Report
from imagekit.audit.policy import Waiver
from imagekit.audit.report import inert_json
from imagekit.audit.reports.reading import Threshold, file_of
from imagekit.audit.rules import BY_ID, RULES, Rule
from imagekit.binary.facts import Evidence
from imagekit.content import hex_of
from imagekit.text import line

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_INDEX = {rule.id: number for number, rule in enumerate(RULES)}
Document = dict[str, Any]


def sarif(report: Report, threshold: Threshold) -> bytes:
    """The log with its one run; the same report gives the same bytes."""
    return inert_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report, threshold)]})


def _run(report: Report, threshold: Threshold) -> Document:
    artifacts, places = _artifacts(report)
    found = [_result(finding, judged, places) for judged in report.subjects for finding in judged.findings]
    by_path = {judged.path: judged for judged in report.subjects}
    for waived in report.waived:
        path = waived.finding.subject
        found.append(_result(waived.finding, by_path.get(path, Judged(path=path)), places, waived.waiver))
    return {
        "tool": {"driver": _driver()},
        "artifacts": artifacts,
        "results": found,
        "invocations": [_invocation(report, threshold)],
        "properties": {"policy": line(report.policy), "policyDigest": report.policy_digest, "otherFiles": report.other},
    }


def _artifacts(report: Report) -> tuple[list[Document], dict[str, int]]:
    """Each file once, though every slice of a fat one is a subject; URI -> its index."""
    artifacts: dict[str, Document] = {}
    for judged in report.subjects:
        artifacts.setdefault(uri(judged), _artifact(judged))
    return list(artifacts.values()), {key: number for number, key in enumerate(artifacts)}


def _driver() -> Document:
    return {
        "name": "imagekit",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in RULES],
    }


def _rule(rule: Rule) -> Document:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "help": {"text": f"What, why and how to fix: {rule.docs}"},
        "defaultConfiguration": {"level": rule.severity.word},
        "properties": {"tags": ["linkage", "supply-chain"], "precision": "very-high"},
    }


def _artifact(judged: Judged) -> Document:
    artifact: Document = {"location": {"uri": uri(judged)}, "roles": ["analysisTarget"]}
    if judged.size is not None:
        artifact["length"] = judged.size
    if judged.digest is not None:
        artifact["hashes"] = {"sha-256": hex_of(judged.digest)}
    if judged.source.kind != "file":
        where = msgspec.structs.asdict(judged.source)
        artifact["properties"] = {key: line(value) for key, value in where.items() if value is not None}
    return artifact


def _result(finding: Finding, judged: Judged, places: dict[str, int], waiver: Waiver | None = None) -> Document:
    result: Document = {
        "ruleId": finding.rule,
        "ruleIndex": _INDEX[finding.rule],
        "level": finding.severity.word,
        "message": {"text": _message(finding)},
        "locations": [_location(judged, places)],
        "partialFingerprints": {"primaryLocationLineHash": f"{_fingerprint(finding)}:1"},
    }
    if finding.evidence:
        result["relatedLocations"] = [_evidence(n, each, judged, places) for n, each in enumerate(finding.evidence, 1)]
    if finding.chain:
        result["properties"] = {"importChain": [line(package) for package in finding.chain]}
    if waiver:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": _reason(waiver)}]
    return result


def _message(finding: Finding) -> str:
    """Message, subject and way out in one text: many viewers show nothing else."""
    parts = [line(finding.message), f"In {line(finding.subject)}."]
    parts += [f"Import chain: {' -> '.join(map(line, finding.chain))}."] if finding.chain else []
    parts += [f"Way out: {line(finding.hint)}."] if finding.hint else []
    parts.append(f"See {BY_ID[finding.rule].docs}.")
    return _without_links("\n".join(parts))


def _without_links(text: str) -> str:
    return text.replace("](", "\\](")


def _reason(waiver: Waiver) -> str:
    return f"until {waiver.until.isoformat()}: {line(waiver.reason)}"


def _location(judged: Judged, places: dict[str, int]) -> Document:
    """Line 1 of a file that has no lines: GitHub's code scanning shows no result without one."""
    return {
        "physicalLocation": {"artifactLocation": _pointer(judged, places), "region": {"startLine": 1}},
        "logicalLocations": [{"fullyQualifiedName": line(judged.path), "kind": "module"}],
    }


def _evidence(number: int, evidence: Evidence, judged: Judged, places: dict[str, int]) -> Document:
    place: Document = {"artifactLocation": _pointer(judged, places)}
    if evidence.offset is not None:
        place["region"] = {"byteOffset": evidence.offset}
    text = _without_links(f"{line(evidence.where)}: {line(evidence.value)}")
    return {"id": number, "physicalLocation": place, "message": {"text": text}}


def _pointer(judged: Judged, places: dict[str, int]) -> Document:
    place = uri(judged)
    return {"uri": place, "index": places[place]} if place in places else {"uri": place}


def uri(judged: Judged) -> str:
    """The file as a URI reference: relative as it was given, `file:` where absolute; a slice's `#arm64` left out."""
    return path_uri(file_of(judged))


def path_uri(path: str) -> str:
    """No character of a path can end it, start a scheme or name a host."""
    encoded = quote(path, safe="/", errors="surrogateescape" if _from_os(path) else "backslashreplace")
    slashes = re.sub("^/+", "/", encoded)
    return f"file://{slashes}" if slashes.startswith("/") else slashes or "."


def _from_os(path: str) -> bool:
    """Whether every unpaired surrogate stands for a byte that is no UTF-8 (os.fsdecode)."""
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in path)


def _fingerprint(finding: Finding) -> str:
    """What stays the same while the finding does, for tools that follow it from run to run."""
    words = "\0".join((finding.rule, finding.subject, finding.message))
    return hashlib.sha256(words.encode(errors="backslashreplace")).hexdigest()[:16]


def _invocation(report: Report, threshold: Threshold) -> Document:
    return {
        "executionSuccessful": True,
        "exitCode": report.exit_code(threshold.fail_on, allow_skipped=threshold.allow_skipped),
        "toolExecutionNotifications": [_notification(skip, threshold) for skip in report.skips],
    }


def _notification(skip: Skip, threshold: Threshold) -> Document:
    return {
        "level": "warning" if threshold.allow_skipped else "error",
        "message": {"text": _without_links(f"Not examined: {line(skip.path)}: {line(skip.reason)}")},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": path_uri(skip.path)}}}],
    }
