from __future__ import annotations

import datetime
import io
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import judge
from imagekit.audit.pages import pages
from imagekit.audit.policy import SCRATCH, Waiver
from imagekit.audit.prose import show, text
from imagekit.audit.report import audit_json, audit_schema, read_audit
from imagekit.audit.rules import RULES
from imagekit.binary.facts import Evidence, GoModule, Linkage
from imagekit.source.weakness import Weakness

DOCS = Path(__file__).resolve().parents[2] / "docs"
TODAY = datetime.date(2027, 3, 31)
HOSTILE = "\x1b[31m::error::x\n::add-mask::[bold]"


@pytest.fixture
def report(subject, facts, expected):
    """A report in which every key of the document has something in it."""
    waiver, old = Waiver("nss", "*", TODAY, "r"), Waiver("cgo", "*", TODAY - datetime.timedelta(days=1), "r")
    early = Finding(rule="cgo-required", severity=Severity.ERROR, subject="app:linux/arm64", message="m", chain=("a",))
    bad = facts(linkage=Linkage.DYNAMIC, needed=("libc.so.6",), interpreter="/lib/ld.so", libc="glibc")
    return judge(
        [
            subject(expected=expected()),
            subject(bad, path="bin/linux_arm64/app"),
            subject(facts(go=None, platform=None)),
        ],
        msgspec.structs.replace(SCRATCH, waivers=(waiver, old)),
        today=TODAY,
        weaknesses=[Weakness("dirty-tree", "changed: main.go")],
        findings=[early, Finding(rule="nss", severity=Severity.WARNING, subject="x", message="waived")],
        skips=[Skip("odd", "no permission")],
        other=3,
    )


def test_the_document_has_exactly_the_keys_of_the_surface(report):
    read = json.loads(audit_json(report))
    assert set(read) == {"schema", "tool", "policy", "subjects", "skips", "summary"}
    assert read["schema"] == "urn:imagekit:audit:v1"
    assert set(read["tool"]) == {"name", "version"}
    assert set(read["policy"]) == {"name", "digest"}
    for subject in read["subjects"]:
        assert set(subject) == {"path", "digest", "size", "source", "facts", "findings", "explanation", "deep"}
        assert set(subject["source"]) == {"kind", "ref", "manifest", "platform", "layer", "path"}
        for finding in subject["findings"]:
            assert set(finding) == {"rule", "severity", "message", "evidence", "chain", "hint"}
            assert finding["severity"] in ("error", "warning", "note")
    facts = [subject["facts"] for subject in read["subjects"] if subject["facts"]]
    assert len(facts) == 3
    for fact in facts:
        assert set(fact) == {
            *("format", "platform", "linkage", "cgo", "libc", "glibc_min", "interpreter", "needed", "rpath", "go"),
            *("hardening", "traits", "evidence"),
        }
    go = facts[0]["go"]
    assert set(go) == {"version", "path", "main", "deps", "settings"}
    assert set(go["deps"][0]) == {"path", "version", "sum", "replace"}
    assert facts[0]["platform"] == "linux/amd64"
    assert set(facts[0]["evidence"]["linkage"]) == {"where", "offset", "value"}
    assert facts[2]["go"] is None
    assert facts[2]["platform"] is None


def test_the_summary_counts(report):
    summary = json.loads(audit_json(report))["summary"]
    assert (summary["errors"], summary["warnings"], summary["notes"]) == (3, 1, 0)
    assert (summary["skipped"], summary["other"]) == (1, 3)
    assert [waived["finding"]["rule"] for waived in summary["waived"]] == ["nss"]
    assert [waiver["rule"] for waiver in summary["expired"]] == ["cgo"]


def test_the_document_fits_its_schema(report):
    jsonschema.Draft202012Validator(audit_schema()).validate(json.loads(audit_json(report)))


def test_the_schema_demands_every_key(report):
    read = json.loads(audit_json(report))
    del read["subjects"][0]["source"]["layer"]
    with pytest.raises(jsonschema.ValidationError, match="layer"):
        jsonschema.Draft202012Validator(audit_schema()).validate(read)


def test_a_document_is_read_back(report):
    assert (
        audit_json(report)
        == msgspec.json.format(msgspec.json.encode(read_audit(audit_json(report)), order="sorted"), indent=2) + b"\n"
    )


def test_the_same_report_gives_the_same_bytes(report, subject, facts):
    assert audit_json(report) == audit_json(report)


@pytest.mark.parametrize(("path", "content"), pages().items(), ids=pages())
def test_generated_pages_are_in_step(path, content):
    assert (DOCS / path).read_bytes() == content, "run: python -m imagekit.audit.pages"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_page_that_says_what_why_and_how(rule):
    page = (DOCS.parent / rule.docs).read_text()
    assert page.startswith(f"# {rule.id}\n")
    assert all(heading in page for heading in ("**What.**", "**Why.**", "**How to fix.**"))


def test_no_page_without_a_rule():
    assert {page.stem for page in (DOCS / "rules").glob("*.md")} == {"README", *(rule.id for rule in RULES)}


def test_text_tells_evidence_chain_and_way_out(report):
    told = text(report)
    for words in (
        "bin/linux_arm64/app: linux/amd64, dynamic, cgo absent (glibc), go1.26.8: error",
        "error linkage: bin/linux_arm64/app",
        "evidence: program headers at 0x40: no PT_INTERP, no PT_DYNAMIC",
        "import chain: a",
        "way out: ",
        "see docs/rules/linkage.md",
        "skipped odd: no permission",
        "waived nss: x: until 2027-03-31, r",
        "a waiver of cgo for * ended on 2027-03-30",
        "files: 3, errors: 3, warnings: 1, notes: 0, skipped: 1, waived: 1 (policy scratch)",
    ):
        assert words in told


def test_errors_are_told_first(report):
    told = text(report)
    assert told.index("error linkage") < told.index("warning dirty-tree")


def _hostile(facts, go_build):
    go = type(go_build)(HOSTILE, HOSTILE, GoModule(HOSTILE, HOSTILE), (), {})
    return facts(
        go=go,
        libc=HOSTILE,
        linkage=Linkage.DYNAMIC,
        interpreter=HOSTILE,
        needed=(HOSTILE,),
        evidence={"linkage": Evidence(HOSTILE, 1, HOSTILE)},
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["plain", "terminal"])
def test_names_in_binaries_do_not_reach_the_terminal(subject, facts, go_build, stream, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "400")
    out = stream()
    hostile = judge(
        [subject(_hostile(facts, go_build), path=HOSTILE)], SCRATCH, today=TODAY, skips=[Skip(HOSTILE, HOSTILE)]
    )
    show(hostile, out)
    told = out.getvalue()
    assert "\x1b[31m::" not in told
    assert not any(line.lstrip().startswith("::") for line in told.splitlines())
    assert "\\x1b[31m" in told
    assert "[bold]" in told


def test_a_terminal_gets_a_table(report, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    show(report, out)
    assert "verdict" in out.getvalue()
    assert "docs/rules/linkage.md" in out.getvalue()
