from __future__ import annotations

import datetime
import io
import json
import os
import subprocess
import sys
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
from imagekit.audit.reports import FORMATS
from imagekit.audit.rules import RULES
from imagekit.binary.facts import Evidence, GoModule, Linkage
from imagekit.source.weakness import Weakness

DOCS = Path(__file__).resolve().parents[2] / "docs"
TODAY = datetime.date(2027, 3, 31)
HOSTILE = "\x1b[31m::error::x\n::add-mask::[bold]"


@pytest.fixture
def report(subject, facts, expected):
    """A report in which every key of the document has something in it."""
    silent = {rule.id: "off" for rule in RULES if rule.id not in ("linkage", "cgo-required", "nss", "dirty-tree")}
    waiver, old = Waiver("nss", "*", TODAY, "r"), Waiver("cgo", "*", TODAY - datetime.timedelta(days=1), "r")
    early = Finding(rule="cgo-required", severity=Severity.ERROR, subject="app:linux/arm64", message="m", chain=("a",))
    bad = facts(linkage=Linkage.DYNAMIC, needed=("libc.so.6",), interpreter="/lib/ld.so", libc="glibc")
    silent = dict.fromkeys(("interpreter", "no-build-info"), "off")
    return judge(
        [
            subject(expected=expected()),
            subject(bad, path="bin/linux_arm64/app"),
            subject(facts(go=None, platform=None)),
        ],
        msgspec.structs.replace(SCRATCH, waivers=(waiver, old), rules=silent),
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


def test_hostile_names_are_in_the_json_and_obeyed_by_nothing(hostile_report, hostile):
    content = audit_json(hostile_report).decode()
    assert all(c == "\n" or c.isprintable() for c in content)
    assert "##[" not in content
    assert "##vso[" not in content
    read = json.loads(content)
    paths = {subject["path"] for subject in read["subjects"]}
    assert paths == {hostile.replace("\udcff", "\\udcff")}
    jsonschema.Draft202012Validator(audit_schema()).validate(read)


@pytest.mark.parametrize(
    "name", ["plain", "umlaut ü", "\u202e", "\x7f", "##[error]", "###[x", "##vso[x", "🐹", "\U000e0001"]
)
def test_a_reader_gets_the_name_as_it_is(full_report, name):
    skipped = msgspec.structs.replace(full_report, skips=(Skip(name, "r"),))
    content = audit_json(skipped)
    assert json.loads(content)["skips"][0]["path"] == name
    assert b"##[" not in content


def test_explanation_and_deep_look_are_null_where_nobody_asked(full_report, report):
    asked = next(s for s in json.loads(audit_json(full_report))["subjects"] if s["path"] == "bin/linux_amd64/app")
    assert asked["explanation"]["places"][0] == {"name": "scratch", "verdict": "no", "why": "no loader is there"}
    assert asked["deep"]["disagreements"][0]["parser"] == "lief"
    assert {(s["explanation"], s["deep"]) for s in json.loads(audit_json(report))["subjects"]} == {(None, None)}


def test_a_document_from_before_these_keys_is_read(full_report):
    old = json.loads(audit_json(full_report))
    for subject in old["subjects"]:
        del subject["explanation"], subject["deep"]
    assert read_audit(json.dumps(old).encode()).subjects[0].deep is None


ONE = """
import sys, hashlib
from pathlib import Path
from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import Judged, Report
from imagekit.audit.reports import FORMATS, render
from imagekit.binary.facts import BinaryFacts, CgoUse, Evidence, GoBuild, GoModule, Linkage
from imagekit.binary.sizes import PackageSize
go = GoBuild("go1.26.8", "a.b/c", GoModule("a.b/c", "v1"), (GoModule("d.e/f", "v2", "h1:x"),), {"k": "v", "a": "b"})
facts = BinaryFacts(format="elf", platform=None, linkage=Linkage.DYNAMIC, cgo=CgoUse.UNKNOWN, go=go,
    hardening={"z": True, "b": None}, evidence={"linkage": Evidence("w", 1, "v"), "go": Evidence("x", 2, "y")})
found = Finding(rule="linkage", severity=Severity.ERROR, subject="p", message="m")
sizes = (PackageSize("x", "d.e/f", 2), PackageSize("fmt", "", 9))
judged = Judged(path="p", facts=facts, findings=(found,), sizes=sizes)
report = Report(policy="p", policy_digest="sha256:" + "0" * 64, subjects=(judged, judged), skips=(Skip("s", "r"),))
"""


def _python(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", ONE + code], capture_output=True, check=True, text=True, env=os.environ | environment
    )
    return done.stdout


def test_every_format_gives_the_same_bytes_in_another_process():
    code = "print([hashlib.sha256(render(report, form)).hexdigest() for form in FORMATS])"
    one = _python(code, PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C", COLUMNS="40")
    other = _python(code, PYTHONHASHSEED="2", TZ="Asia/Tokyo", LC_ALL="C.UTF-8", COLUMNS="200")
    assert one == other


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "html"])
def test_only_the_page_imports_jinja2(form):
    heavy = {"jinja2", "rich", "lief", "elftools", "docker", "urllib3", "cryptography", "yaml", "jsonschema"}
    code = f"render(report, {form!r}); print(sorted(set(sys.modules) & {heavy!r}))"
    assert _python(code) == "[]\n"
