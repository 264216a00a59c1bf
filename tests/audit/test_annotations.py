from __future__ import annotations

import re

import msgspec
import pytest

from imagekit.audit.finding import Finding, Severity
from imagekit.audit.judge import Judged
from imagekit.audit.reports import render


def _parsed(text):
    """(command, properties, message) as actions/runner reads a line (ActionCommand.TryParseV2), or None."""
    if not text.lstrip().startswith("::"):
        return None
    head, message = text.lstrip()[2:].split("::", 1)
    command, _, properties = head.partition(" ")
    pairs = dict(pair.split("=", 1) for pair in properties.split(",") if "=" in pair)
    return command, {key: _unescaped(value) for key, value in pairs.items()}, _unescaped(message)


def _unescaped(text):
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def _commands(report, **options):
    lines = render(report, "github", **options).decode().splitlines()
    return [parsed for line in lines if (parsed := _parsed(line))]


def test_a_finding_is_an_annotation_beside_its_file(full_report):
    command, properties, message = next(c for c in _commands(full_report) if "linkage" in c[1]["title"])
    assert command == "error"
    assert properties == {"file": "bin/linux_amd64/app", "title": "linkage: bin/linux_amd64/app"}
    assert "evidence: program headers at 0x40: " in message
    assert message.endswith("see docs/rules/linkage.md")


def test_the_worst_come_first_and_then_skips(full_report):
    assert [command for command, _, _ in _commands(full_report)] == ["error", "error", "warning", "error"]
    assert [command for command, _, _ in _commands(full_report, allow_skipped=True)][-1] == "warning"


def test_what_is_in_no_file_names_none(full_report):
    early = next(c for c in _commands(full_report) if "cgo-required" in c[1]["title"])
    assert set(early[1]) == {"title"}
    assert "import chain: example.org/app -> example.org/c" in early[2]


def test_a_note_is_a_notice_and_a_slice_belongs_to_the_file(full_report, facts):
    note = Finding(rule="nss", severity=Severity.NOTE, subject="app#arm64", message="m")
    judged = Judged(path="app#arm64", facts=facts(slice="arm64"), findings=(note,))
    report = msgspec.structs.replace(full_report, subjects=(judged,), skips=())
    assert _commands(report)[0][:2] == ("notice", {"file": "app", "title": "nss: app#arm64"})


def test_the_last_line_is_the_sum_and_no_command(full_report):
    last = render(full_report, "github").decode().splitlines()[-1]
    assert last == "files: 2, errors: 2, warnings: 1, notes: 0, skipped: 1, waived: 1 (policy scratch)"


def test_hostile_names_bring_no_command_of_their_own(full_report, hostile_report):
    content = render(hostile_report, "github").decode()
    found = _commands(hostile_report)
    assert len(found) == len(_commands(full_report))
    assert {command for command, _, _ in found} == {"error", "warning"}
    assert all(set(properties) <= {"file", "title"} for _, properties, _ in found)
    assert all(c == "\n" or c.isprintable() for c in content)
    assert not re.search(r"##(\[|vso\[)", content)
    for _, _, message in found:
        assert not any(line.lstrip().startswith("::") for line in message.splitlines())


@pytest.mark.parametrize("name", ["a,title=x", "a%0Ab", "a:b", "a::b"])
def test_a_name_stays_within_its_property(full_report, facts, name):
    finding = Finding(rule="nss", severity=Severity.NOTE, subject=name, message="m")
    judged = Judged(path=name, facts=facts(), findings=(finding,))
    report = msgspec.structs.replace(full_report, subjects=(judged,), skips=())
    assert _commands(report)[0][1] == {"file": name, "title": f"nss: {name}"}
