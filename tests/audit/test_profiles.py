"""What each built-in profile makes of programs and of rules."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import msgspec
import pytest

from imagekit.audit.finding import Severity
from imagekit.audit.judge import judge
from imagekit.audit.loaders import GLIBC, MUSL, canonical
from imagekit.audit.pages import rows, rules_index
from imagekit.audit.policy import PROFILES, SCRATCH, Policy, load
from imagekit.audit.profiles import names, profile
from imagekit.audit.rules import BY_ID, RULES
from imagekit.binary.facts import CgoUse, Linkage, Traits
from imagekit.cli.main import main
from imagekit.errors import ConfigError
from imagekit.platform import Platform

TODAY = datetime.date(2027, 3, 31)
README = Path(__file__).resolve().parents[2] / "docs" / "rules" / "README.md"
EVERY = ("scratch", "distroless", "alpine", "glibc-2.36", "release", "hardened")
GLIBC_LOADER, MUSL_LOADER = GLIBC["amd64"][0], MUSL["amd64"][0]
LOADER_ONLY = {"linkage": Linkage.LOADER_ONLY}
DYNAMIC = {"linkage": Linkage.DYNAMIC, "cgo": CgoUse.UNKNOWN, "go": None}
WITH_GLIBC = {**DYNAMIC, "libc": "glibc", "interpreter": GLIBC_LOADER, "needed": ("libc.so.6", "libm.so.6")}
WITH_MUSL = {**DYNAMIC, "libc": "musl", "interpreter": MUSL_LOADER, "needed": ("libc.musl-x86_64.so.1",)}

RUNS = {
    "static": ({}, {*EVERY}),
    "static-pie": ({"linkage": Linkage.STATIC_PIE}, {*EVERY}),
    "a Go PIE for glibc": ({**LOADER_ONLY, "interpreter": GLIBC_LOADER}, {"glibc-2.36"}),
    "a Go PIE for musl": ({**LOADER_ONLY, "interpreter": MUSL_LOADER}, {"alpine"}),
    "old glibc": ({**WITH_GLIBC, "glibc_min": "2.28"}, {"glibc-2.36"}),
    "the same glibc": ({**WITH_GLIBC, "glibc_min": "2.36"}, {"glibc-2.36"}),
    "new glibc": ({**WITH_GLIBC, "glibc_min": "2.38"}, set()),
    "glibc of no version": (WITH_GLIBC, set()),
    "another library": ({**WITH_GLIBC, "glibc_min": "2.28", "needed": ("libc.so.6", "libssl.so.3")}, set()),
    "glibc without a loader": ({**WITH_GLIBC, "glibc_min": "2.28", "interpreter": None}, set()),
    "glibc and a loader of Nix": ({**WITH_GLIBC, "glibc_min": "2.28", "interpreter": "/nix/store/x/ld.so"}, set()),
    "musl": (WITH_MUSL, {"alpine"}),
    "musl by its compiler's name": ({**WITH_MUSL, "needed": ("libc.so",)}, {"alpine"}),
    "musl without a loader": ({**WITH_MUSL, "interpreter": None}, set()),
    "macOS": ({"platform": Platform("darwin", "arm64"), "linkage": Linkage.SYSTEM}, {*EVERY}),
    "macOS with a library of its own": ({"platform": Platform("darwin", "arm64"), "linkage": Linkage.DYNAMIC}, set()),
    "broken": ({"linkage": Linkage.BROKEN}, set()),
    "unknown": ({"linkage": Linkage.UNKNOWN}, set()),
    "a library, which these images hold too": ({"linkage": Linkage.LIBRARY}, {"alpine", "glibc-2.36"}),
    "musl and what apk needs": ({**WITH_MUSL, "needed": ("libz.so.1", "libcrypto.so.3")}, {"alpine"}),
    "musl and more": ({**WITH_MUSL, "needed": ("libc.musl-x86_64.so.1", "libstdc++.so.6")}, set()),
    "no platform": ({"platform": None}, set()),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("changes", "runs"), RUNS.values(), ids=RUNS)
def test_who_may_run_what(subject, facts, name, changes, runs):
    report = judge([subject(facts(**changes))], load(name), today=TODAY)
    assert (report.exit_code() == 0) is (name in runs), [finding.message for finding in report.findings]


def test_glibc_is_a_profile_for_every_version():
    assert load("glibc-2.17").glibc_min == "2.17"
    assert load("glibc-2.36").name == "glibc-2.36"
    assert load("glibc-2.36").digest != load("glibc-2.37").digest


@pytest.mark.parametrize("name", ["glibc", "glibc-", "glibc-N", "glibc-2", "glibc-02.36", "glibc-2.36.1", "glibc-2.x"])
def test_what_is_no_version_of_glibc_is_no_profile(name):
    assert profile(name) is None
    with pytest.raises(ConfigError) as caught:
        load(name)
    assert "glibc-2.36" in caught.value.hint


def test_every_profile_has_one_name_of_its_own():
    assert [one.name for one in PROFILES] == [name for name in names() if name != "glibc-N"]
    assert all(load(name).name == name for name in EVERY)


def test_profiles_speak_of_rules_that_there_are():
    assert {rule for name in EVERY for rule in load(name).rules} <= set(BY_ID)


def test_no_profile_makes_a_rule_weaker_than_scratch():
    def weight(rule, policy):
        return rule.severity_under(policy) or 0

    for rule in RULES:
        for name in EVERY:
            assert weight(rule, load(name)) >= weight(rule, SCRATCH), (rule.id, name)
    for rule in RULES:
        assert weight(rule, load("hardened")) >= weight(rule, load("release")), rule.id


SEVERITIES = {
    "pprof": "warning warning warning warning warning error",
    "expvar": "note note note note note warning",
    "instrumented": "warning warning warning warning error error",
    "interpreter": "warning warning error error warning warning",
    "leaked-path": "note note note note warning warning",
    "vcs-dirty": "note note note note error error",
    "no-vcs": "off off off off warning warning",
    "symbols": "off off off off note note",
    "debug": "off off off off note note",
    "relro": "off off off off off error",
    "pie": "off off off off off warning",
    "aslr": "off off off off off error",
    "fips": "off off off off off off",
    "health": "off off off off off off",
    "unreadable": "error error error error error error",
    "parsers-disagree": "warning warning warning warning error error",
}


@pytest.mark.parametrize(("rule", "words"), SEVERITIES.items(), ids=SEVERITIES)
def test_severities_by_profile(rule, words):
    (row,) = (row for row in rows() if row.id == rule)
    assert list(row.severity.values()) == words.split()


def test_a_rule_on_request_is_heard_only_where_a_policy_names_it(subject, facts):
    with_symbols = [subject(facts(hardening={"symbols": True}))]
    assert judge(with_symbols, SCRATCH, today=TODAY).findings == ()
    (finding,) = judge(
        with_symbols, Policy(name="p", linkage=SCRATCH.linkage, rules={"symbols": "error"}), today=TODAY
    ).findings
    assert (finding.rule, finding.severity) == ("symbols", Severity.ERROR)


def test_an_ordinary_build_has_no_finding_under_scratch_and_release(subject, facts, go_build):
    settings = {**go_build.settings, "vcs.revision": "a" * 40, "vcs.modified": "false"}
    ordinary = facts(
        go=msgspec.structs.replace(go_build, settings=settings),
        hardening={
            **{"pie": False, "nx": True, "relro": "n/a", "writable_code": False, "text_relocations": False},
            **{"symbols": False, "debug": False},
        },
        traits=Traits(leaked_paths=(), build_ids={"go": "x"}),
    )
    for name in ("scratch", "distroless", "alpine", "glibc-2.36", "release"):
        assert judge([subject(ordinary)], load(name), today=TODAY).findings == ()
    report = judge([subject(ordinary)], load("hardened"), today=TODAY)
    assert [(finding.rule, finding.severity) for finding in report.findings] == [("pie", Severity.WARNING)]


def test_a_check_is_not_made_where_its_rule_is_off(subject):
    def never():
        raise AssertionError("not asked")

    off = Policy(name="p", forbidden_packages=("plugin",), rules={"forbidden-package": "off", "linkage": "off"})
    assert judge([subject(packages=("plugin",), imports=never)], off, today=TODAY).findings == ()


LOADERS = {
    ("linux", "amd64"): "/lib64/ld-linux-x86-64.so.2",
    ("linux", "arm64"): "/lib/ld-linux-aarch64.so.1",
    ("linux", "s390x"): "/lib/ld64.so.1",
    ("linux", "riscv64"): "/lib/ld-linux-riscv64-lp64d.so.1",
    ("freebsd", "amd64"): "/libexec/ld-elf.so.1",
    ("openbsd", "arm64"): "/usr/libexec/ld.so",
    ("darwin", "arm64"): "/usr/lib/dyld",
}


@pytest.mark.parametrize(("platform", "loader"), LOADERS.items(), ids=map("/".join, LOADERS))
def test_the_usual_loader_comes_first(platform, loader):
    assert canonical(Platform(*platform))[0] == loader


def test_an_os_without_a_known_loader():
    assert canonical(Platform("plan9", "386")) == ()


def test_the_index_is_what_the_command_prints(capfd):
    assert main(["rules", "--format", "markdown"]) == 0
    assert capfd.readouterr().out == README.read_text() == rules_index()


def test_the_command_prints_a_row_a_rule(capfd):
    assert main(["rules"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["rule", *(rule.id for rule in RULES)]
    assert lines[0].split()[1:7] == list(names())
    assert all(line.endswith(f"docs/rules/{line.split()[0]}.md") for line in lines[1:])


def test_the_command_prints_json(capfd):
    assert main(["rules", "--format", "json"]) == 0
    read = json.loads(capfd.readouterr().out)
    assert read["schema"] == "urn:imagekit:rules:v1"
    assert [rule["id"] for rule in read["rules"]] == [rule.id for rule in RULES]
    assert set(read["rules"][0]) == {"id", "severity", "summary", "docs"}
    assert set(read["rules"][0]["severity"]) == set(read["profiles"]) == set(names())


def test_another_format_is_exit_2(capfd):
    assert main(["rules", "--format", "yaml"]) == 2
    assert "table, json, markdown" in capfd.readouterr().err
