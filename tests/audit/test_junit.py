from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec
import pytest

from imagekit.audit.finding import Severity
from imagekit.audit.reports import render


def _suites(report, **options):
    root = _parsed(render(report, "junit", **options))
    assert root.tag == "testsuites"
    return root


def _parsed(content):
    return ET.fromstring(content)  # noqa: S314  our own XML


def _case(root, suite, name):
    return root.find(f"testsuite[@name='{suite}']/testcase[@name='{name}']")


def test_a_finding_at_the_threshold_is_a_failure(full_report):
    case = _case(_suites(full_report), "bin/linux_amd64/app", "linkage")
    failure = case.find("failure")
    assert failure.get("type") == "error"
    assert "dynamic" in failure.get("message")
    assert "evidence: program headers at 0x40" in failure.text


def test_a_weaker_finding_passes_and_is_told(full_report):
    case = _case(_suites(full_report), "source", "dirty-tree")
    assert case.find("failure") is None
    assert "changed: main.go" in case.find("system-out").text


def test_fail_on_decides_which(full_report):
    case = _case(_suites(full_report, fail_on=Severity.WARNING), "source", "dirty-tree")
    assert case.find("failure").get("type") == "warning"


def test_a_subject_passes_what_another_one_failed(full_report):
    case = _case(_suites(full_report), "bin/linux_arm64/app", "linkage")
    assert list(case) == []


def test_a_waived_finding_is_skipped_with_its_reason(full_report):
    case = _case(_suites(full_report), "bin/linux_arm64/app", "nss")
    assert case.find("skipped").get("message") == "waived until 2027-03-31: for now"


@pytest.mark.parametrize(("allowed", "tag"), [(False, "error"), (True, "skipped")])
def test_a_file_that_was_not_examined_fails_unless_allowed(full_report, allowed, tag):
    case = _case(_suites(full_report, allow_skipped=allowed), "not examined", "odd")
    assert case.find(tag).get("message") == "no permission"


@pytest.mark.parametrize("tag", ["testsuites", "testsuite"])
def test_the_counts_are_those_of_the_elements(full_report, tag):
    for counted in _suites(full_report).iter(tag):
        for attribute, element in {
            "tests": "testcase",
            "failures": "failure",
            "errors": "error",
            "skipped": "skipped",
        }.items():
            assert int(counted.get(attribute)) == len(list(counted.iter(element)))


def test_a_report_of_nothing_is_a_document(full_report):
    empty = msgspec.structs.replace(full_report, subjects=(), skips=(), waived=())
    assert _suites(empty).get("tests") == "0"


def test_hostile_names_add_no_element(full_report, hostile_report):
    content = render(hostile_report, "junit").decode()
    hostile = _parsed(content)
    assert {element.tag for element in hostile.iter()} == {
        *("testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out"),
    }
    assert len(list(hostile.iter("testsuite"))) == len(list(_suites(full_report).iter("testsuite")))
    assert all(c == "\n" or c.isprintable() for c in content)
    assert "##[" not in content
    assert "]]>" not in content
    assert not any(line.lstrip().startswith("::") for line in content.splitlines())
