from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from jsonschema import Draft4Validator

from imagekit.audit.finding import Severity
from imagekit.audit.judge import Judged
from imagekit.audit.reports import render
from imagekit.audit.reports.sarif import path_uri, uri
from imagekit.audit.rules import RULES

HERE = Path(__file__).parent / "sarif"
SCHEMA = json.loads((HERE / "sarif-schema-2.1.0.json").read_bytes())


def _run(report, **options):
    content = json.loads(render(report, "sarif", **options))
    Draft4Validator(SCHEMA, format_checker=Draft4Validator.FORMAT_CHECKER).validate(content)
    (run,) = content["runs"]
    return run


def test_the_schema_is_the_official_one():
    digest = hashlib.sha256((HERE / "sarif-schema-2.1.0.json").read_bytes()).hexdigest()
    assert digest == "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"
    assert digest in (HERE / "README.md").read_text()


def test_a_result_names_rule_level_file_and_evidence(full_report):
    run = _run(full_report)
    result = next(result for result in run["results"] if result["ruleId"] == "linkage")
    assert result["level"] == "error"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "linkage"
    assert "dynamic" in result["message"]["text"]
    assert "docs/rules/linkage.md" in result["message"]["text"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "bin/linux_amd64/app"
    assert run["artifacts"][place["artifactLocation"]["index"]]["length"] == 1 << 20
    assert place["region"] == {"startLine": 1}
    evidence = result["relatedLocations"][0]
    assert evidence["physicalLocation"]["region"] == {"byteOffset": 64}
    assert evidence["message"]["text"].startswith("program headers: ")


def test_a_file_in_an_image_says_which_image(full_report):
    place = next(each for each in _run(full_report)["artifacts"] if "properties" in each)
    assert place["properties"]["kind"] == "image"
    assert place["properties"]["ref"] == "oci:dist/oci:app"


def test_every_rule_is_described_and_in_the_order_of_the_report(full_report):
    described = _run(full_report)["tool"]["driver"]["rules"]
    assert [each["id"] for each in described] == [rule.id for rule in RULES]
    assert [each["defaultConfiguration"]["level"] for each in described] == [rule.severity.word for rule in RULES]


def test_a_waived_finding_is_a_suppressed_result(full_report):
    suppressed = [result for result in _run(full_report)["results"] if "suppressions" in result]
    assert [result["ruleId"] for result in suppressed] == ["nss"]
    assert suppressed[0]["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "until 2027-03-31: for now"}
    ]


@pytest.mark.parametrize(("allowed", "level"), [(False, "error"), (True, "warning")])
def test_a_skip_is_a_notification(full_report, allowed, level):
    (invocation,) = _run(full_report, allow_skipped=allowed)["invocations"]
    (notification,) = invocation["toolExecutionNotifications"]
    assert notification["level"] == level
    assert notification["message"]["text"] == "Not examined: odd: no permission"


def test_the_exit_code_is_that_of_the_command(full_report):
    clean = msgspec.structs.replace(full_report, subjects=(), skips=())
    assert _run(full_report)["invocations"][0]["exitCode"] == 10
    assert _run(clean, fail_on=Severity.NOTE)["invocations"][0]["exitCode"] == 0


def test_a_fingerprint_tells_findings_apart_and_stays(full_report):
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in _run(full_report)["results"]]
    assert len(set(prints)) == len(prints)
    again = msgspec.structs.replace(full_report, policy="another")
    assert prints == [r["partialFingerprints"]["primaryLocationLineHash"] for r in _run(again)["results"]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dist/app", "dist/app"),
        ("/usr/bin/app", "file:///usr/bin/app"),
        ("//host/share", "file:///host/share"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("a b#c?d%e", "a%20b%23c%3Fd%25e"),
        ("bad\udcff", "bad%FF"),
        ("lone\ud800", "lone%5Cud800"),
        ("", "."),
    ],
)
def test_a_path_is_a_uri_reference_that_nothing_in_it_can_end(path, expected):
    assert path_uri(path) == expected


def test_what_is_said_twice_is_still_valid(full_report):
    twice = {name: getattr(full_report, name) * 2 for name in ("subjects", "skips", "waived")}
    run = _run(msgspec.structs.replace(full_report, **twice))
    assert len({each["location"]["uri"] for each in run["artifacts"]}) == len(run["artifacts"])


def test_a_slice_is_of_the_whole_file(facts):
    assert uri(Judged(path="app#arm64", facts=facts(slice="arm64"))) == "app"
    assert uri(Judged(path="app#arm64", facts=facts())) == "app%23arm64"


def test_hostile_names_are_neither_links_nor_commands(hostile_report):
    content = render(hostile_report, "sarif").decode()
    run = _run(hostile_report)
    assert all(c == "\n" or c.isprintable() for c in content)
    assert "##[" not in content
    texts = [result["message"]["text"] for result in run["results"]]
    assert texts
    for text in texts:
        assert "](" not in text.replace("\\](", "")
        assert all(c == "\n" or c.isprintable() for c in text)
    uris = [each["location"]["uri"] for each in run["artifacts"]]
    assert all(":" not in each and "<" not in each for each in uris)
