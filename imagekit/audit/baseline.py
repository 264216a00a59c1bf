"""Baseline: the findings of an earlier audit.json, which a later report leaves out. `load` touches disk."""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagekit.audit.finding import Finding, Skip
from imagekit.audit.judge import Report
from imagekit.content import parse_json
from imagekit.errors import UnreadableError
from imagekit.oci.files import open_regular

_LIMIT = 512 << 20
"""Bytes: a report of some hundred thousand programs."""
_SCHEMA = "urn:imagekit:audit:v1"


class _Finding(msgspec.Struct, frozen=True):
    rule: str
    message: str


class _Subject(msgspec.Struct, frozen=True):
    path: str
    findings: tuple[_Finding, ...]


class _Skip(msgspec.Struct, frozen=True):
    path: str
    reason: str


class _Document(msgspec.Struct, frozen=True):
    """Only as much of an audit.json as tells what was known; whatever other keys its version has."""

    schema: str
    subjects: tuple[_Subject, ...]
    skips: tuple[_Skip, ...] = ()


class Baseline(msgspec.Struct, frozen=True):
    """What was known: (rule, path, message) of findings, (path, reason) of skips."""

    findings: frozenset[tuple[str, str, str]] = frozenset()
    skips: frozenset[tuple[str, str]] = frozenset()

    def has(self, finding: Finding) -> bool:
        """The same rule said the same of the same file; the bytes of the file may have changed."""
        return (finding.rule, finding.subject, finding.message) in self.findings

    def has_skip(self, skip: Skip) -> bool:
        return (skip.path, skip.reason) in self.skips


def load(path: Path) -> Baseline:
    """The baseline that an audit.json is; raises `UnreadableError` for anything else."""
    try:
        with open_regular(path) as stream:
            content = stream.read(_LIMIT + 1)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}", hint="name a report of `audit --format json`") from error
    return read(content, str(path))


def read(content: bytes, name: str) -> Baseline:
    """The same from bytes; `name` is what an error calls them."""
    try:
        if len(content) > _LIMIT:
            raise msgspec.DecodeError(f"more than {_LIMIT} bytes")
        document = parse_json(content, _Document)
        if document.schema != _SCHEMA:
            raise msgspec.ValidationError(f"its schema is {document.schema[:100]!r}, not {_SCHEMA}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        hint = "make one with `imagekit audit --format json --output FILE`"
        raise UnreadableError(f"{name} is no report of `imagekit audit`: {error}", hint=hint) from error
    return Baseline(
        frozenset(
            (finding.rule, subject.path, finding.message)
            for subject in document.subjects
            for finding in subject.findings
        ),
        frozenset((skip.path, skip.reason) for skip in document.skips),
    )


def only_new(report: Report, baseline: Baseline) -> Report:
    """The report with all its subjects, and of findings and skips only those that the baseline does not have.

    What concerns no file (a folder that cannot be read) is left out as a whole once nothing new is said of it.
    """
    subjects = []
    for judged in report.subjects:
        new = tuple(finding for finding in judged.findings if not baseline.has(finding))
        if new or judged.digest is not None:
            subjects.append(msgspec.structs.replace(judged, findings=new))
    skips = tuple(skip for skip in report.skips if not baseline.has_skip(skip))
    return msgspec.structs.replace(report, subjects=tuple(subjects), skips=skips)
