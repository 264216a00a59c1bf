"""Each rule on a subject that it must pass and on subjects that it must not."""

from __future__ import annotations

import msgspec
import pytest

from imagekit.audit.checks.cgo import cgo_where_off
from imagekit.audit.checks.consistency import same_across_targets
from imagekit.audit.checks.linkage import must_be_allowed
from imagekit.audit.checks.mismatch import must_be_what_was_asked, wanted_settings
from imagekit.audit.checks.nss import no_nss_in_static_glibc
from imagekit.audit.checks.unsafe import nothing_unsafe
from imagekit.audit.checks.x_value import must_hold_x_values
from imagekit.audit.finding import Severity
from imagekit.audit.policy import SCRATCH, Policy
from imagekit.audit.rules import RULES
from imagekit.audit.subject import Vcs, XCheck, XOutcome
from imagekit.binary.facts import CgoUse, Evidence, GoModule, Linkage, Traits
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Ldflags, Unsafe, XValue

LOADER = "/lib64/ld-linux-x86-64.so.2"


def test_a_plain_static_program_passes_every_rule(subject, expected):
    good = subject(expected=expected())
    asked = [rule for rule in RULES if rule.check and rule.severity_under(SCRATCH)]
    assert [(rule.id, remark) for rule in asked for remark in rule.check(good, SCRATCH)] == []


REFUSED = {
    "loader-only": ({"linkage": Linkage.LOADER_ONLY, "interpreter": LOADER}, ["loader-only", LOADER, "no library"]),
    "dynamic": (
        {"linkage": Linkage.DYNAMIC, "interpreter": LOADER, "needed": ("libc.so.6", "libm.so.6")},
        ["dynamic", "libc.so.6, libm.so.6", LOADER],
    ),
    "library": ({"linkage": Linkage.LIBRARY}, ["not a program"]),
    "broken": (
        {"linkage": Linkage.BROKEN, "evidence": {"linkage": Evidence("ELF header", 0, "cut at byte 12")}},
        ["cannot start", "cut at byte 12"],
    ),
    "unknown": (
        {"linkage": Linkage.UNKNOWN, "evidence": {"linkage": Evidence("file", 236, "packed with UPX")}},
        ["could not be proved", "packed with UPX"],
    ),
    "unknown, no evidence": ({"linkage": Linkage.UNKNOWN, "evidence": {}, "format": "wasm"}, ["format wasm"]),
    "system on linux": ({"linkage": Linkage.SYSTEM, "needed": ("libc.so",)}, ["system", "libc.so"]),
    "static on an OS that the policy does not know": (
        {"platform": Platform("plan9", "386")},
        ["allows nothing for plan9"],
    ),
    "static without an OS": ({"platform": None}, ["a program that names no OS"]),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_linkage_refuses(subject, facts, changes, words):
    (remark,) = must_be_allowed(subject(facts(**changes)), SCRATCH)
    for word in [*words, "policy scratch"]:
        assert word in remark.message
    assert remark.hint


def test_unknown_never_passes_even_where_a_policy_lists_it(subject, facts):
    careless = Policy(name="careless", linkage={"linux": (Linkage.UNKNOWN,)})
    assert list(must_be_allowed(subject(facts(linkage=Linkage.UNKNOWN)), careless))


@pytest.mark.parametrize("system", ["darwin", "windows", "openbsd"])
def test_system_passes_where_it_is_all_there_is(subject, facts, system):
    system_facts = facts(platform=Platform(system, "arm64"), linkage=Linkage.SYSTEM, needed=("libSystem.B.dylib",))
    assert not list(must_be_allowed(subject(system_facts), SCRATCH))


CGO = {
    "proven, build says off": (CgoUse.PROVEN, Cgo.OFF, Severity.ERROR),
    "proven, build says allow": (CgoUse.PROVEN, Cgo.ALLOW, Severity.NOTE),
    "proven, build says static": (CgoUse.PROVEN, Cgo.STATIC, Severity.NOTE),
    "absent, build says off": (CgoUse.ABSENT, Cgo.OFF, None),
    "absent, build says allow": (CgoUse.ABSENT, Cgo.ALLOW, None),
    "unknown, build says off": (CgoUse.UNKNOWN, Cgo.OFF, Severity.NOTE),
    "unknown, build says allow": (CgoUse.UNKNOWN, Cgo.ALLOW, None),
}


@pytest.mark.parametrize(("use", "said", "severity"), CGO.values(), ids=CGO)
def test_cgo_is_an_error_only_where_it_was_to_be_off(subject, facts, expected, target, use, said, severity):
    judged = subject(facts(cgo=use, libc="musl"), expected=expected(target=target(cgo=said)))
    assert [remark.severity for remark in cgo_where_off(judged, SCRATCH)] == ([severity] if severity else [])


def _never():
    raise AssertionError("the import graph costs a `go list`, and was not needed")


def test_the_import_graph_is_asked_for_only_to_explain_a_refusal(subject, facts, expected, target):
    allowed = facts(cgo=CgoUse.PROVEN, libc="musl")
    asked = expected(target=target(cgo=Cgo.STATIC))
    for rule in RULES:
        if rule.check:
            list(rule.check(subject(allowed, expected=asked, imports=_never), SCRATCH))


@pytest.mark.parametrize(("setting", "severity"), [("0", Severity.ERROR), ("1", Severity.NOTE)])
def test_cgo_of_a_stranger_is_judged_by_its_build_info(subject, facts, go_build, setting, severity):
    go = msgspec.structs.replace(go_build, settings={**go_build.settings, "CGO_ENABLED": setting})
    (remark,) = cgo_where_off(subject(facts(cgo=CgoUse.PROVEN, go=go)), SCRATCH)
    assert remark.severity is severity


def test_cgo_enabled_alone_is_nothing(subject, facts, go_build):
    go = msgspec.structs.replace(go_build, settings={**go_build.settings, "CGO_ENABLED": "1"})
    assert not list(cgo_where_off(subject(facts(go=go)), SCRATCH))


NSS = {
    "static glibc asks for hosts": ({"libc": "glibc"}, {"nss": ("getaddrinfo",)}, ["netgo"]),
    "static-pie asks for both": (
        {"libc": "glibc", "linkage": Linkage.STATIC_PIE},
        {"nss": ("getaddrinfo", "getpwnam_r")},
        ["netgo", "osusergo"],
    ),
    "glibc's own function tells not which": ({"libc": "glibc"}, {"nss": ("__nss_next",)}, ["netgo", "osusergo"]),
    "not Go has no tags": (
        {"libc": "glibc", "cgo": CgoUse.UNKNOWN, "go": None},
        {"nss": ("getaddrinfo",)},
        ["link musl"],
    ),
    "loading is the same trouble": ({"libc": "glibc"}, {"loads": ("dlopen",)}, ["link musl"]),
    "static glibc asks nobody": ({"libc": "glibc"}, {}, []),
    "musl does not load libraries": ({"libc": "musl"}, {"nss": ("getaddrinfo",)}, []),
    "no libc": ({}, {"loads": ("plugin.Open",)}, []),
    "dynamic is another rule's": ({"libc": "glibc", "linkage": Linkage.DYNAMIC}, {"nss": ("getaddrinfo",)}, []),
}


@pytest.mark.parametrize(("changes", "traits", "words"), NSS.values(), ids=NSS)
def test_nss(subject, facts, changes, traits, words):
    said = {fact: Evidence("function table", 1, fact) for fact in traits}
    remarks = list(no_nss_in_static_glibc(subject(facts(**changes, traits=Traits(**traits), evidence=said)), SCRATCH))
    assert len(remarks) == bool(words)
    for remark in remarks:
        assert all(word in remark.hint for word in words)
        assert all(name in remark.message for names in traits.values() for name in names)
        assert remark.evidence == tuple(said.values())


def _with(go, **changes):
    return msgspec.structs.replace(go, **changes)


def _settings(go, **changes):
    """Build settings with changes; None removes one, `_` stands for `-` in front and `__` for a dot."""
    settings = {**go.settings}
    for key, value in changes.items():
        name = key.replace("__", ".")
        name = "-" + name[1:] if name.startswith("_") else name
        settings.pop(name, None)
        if value is not None:
            settings[name] = value
    return _with(go, settings=settings)


H1 = "h1:" + "B" * 43 + "="
DIFFERENT = {
    "level": (lambda go: _settings(go, GOAMD64="v3"), {}, ["GOAMD64", "v1", "v3"]),
    "cgo on": (lambda go: _settings(go, CGO_ENABLED="1"), {}, ["CGO_ENABLED", "0", "1"]),
    "a tag too many": (lambda go: _settings(go, _tags="netgo"), {}, ["-tags", "netgo", "none"]),
    "race": (lambda go: _settings(go, _race="true"), {}, ["-race"]),
    "build mode": (lambda go: _settings(go, _buildmode="pie"), {}, ["-buildmode", "exe", "pie"]),
    "experiment": (lambda go: _settings(go, GOEXPERIMENT="jsonv2"), {}, ["GOEXPERIMENT", "jsonv2"]),
    "toolchain": (lambda go: _with(go, version="go1.25.1"), {}, ["toolchain", "go1.26.8", "go1.25.1"]),
    "main package": (lambda go: _with(go, path="example.org/app/cmd/other"), {}, ["main package", "cmd/other"]),
    "main module": (lambda go: _with(go, main=GoModule("example.org/fork", "")), {}, ["main module", "fork"]),
    "no main module": (lambda go: _with(go, main=None), {}, ["main module", "unknown"]),
    "module version": (
        lambda go: _with(go, deps=(GoModule("example.org/errors", "v0.9.2"),)),
        {},
        ["example.org/errors", "v0.9.1", "v0.9.2"],
    ),
    "module sum": (lambda go: _with(go, deps=(GoModule("example.org/errors", "v0.9.1", H1),)), {}, [H1]),
    "module replaced": (
        lambda go: _with(go, deps=(GoModule("example.org/errors", "v0.9.1", "", GoModule("../e", "")),)),
        {},
        ["=> ../e"],
    ),
    "module too many": (
        lambda go: _with(go, deps=(*go.deps, GoModule("example.org/x", "v1.0.0"))),
        {},
        ["example.org/x", "asked for none"],
    ),
    "module missing": (lambda go: _with(go, deps=()), {}, ["example.org/errors", "built with none"]),
    "another commit": (
        lambda go: _settings(go, vcs__revision="b" * 40, vcs__modified="false"),
        {"vcs": Vcs("a" * 40, False)},
        ["vcs.revision", "a" * 40, "b" * 40],
    ),
    "dirty": (
        lambda go: _settings(go, vcs__revision="a" * 40, vcs__modified="true"),
        {"vcs": Vcs("a" * 40, False)},
        ["vcs.modified", "false", "true"],
    ),
    "another setting": (lambda go: go, {"settings": {"-pgo": "default.pgo"}}, ["-pgo", "default.pgo", "none"]),
}


@pytest.mark.parametrize(("change", "asked", "words"), DIFFERENT.values(), ids=DIFFERENT)
def test_each_difference_is_one_mismatch(subject, facts, expected, go_build, change, asked, words):
    (remark,) = must_be_what_was_asked(subject(facts(go=change(go_build)), expected=expected(**asked)), SCRATCH)
    assert all(word in remark.message for word in words), remark.message


SAME = {
    "tags in another order": (lambda go: _settings(go, _tags="b,a"), {"tags": ("a", "b")}),
    "tags by a flag": (lambda go: _settings(go, _tags="a"), {"flags": ("-tags=a",)}),
    "race asked for": (
        lambda go: _settings(go, _race="true", CGO_ENABLED="1"),
        {"flags": ("-race",), "cgo": Cgo.ALLOW},
    ),
    "race refused": (lambda go: go, {"flags": ("-race=false",)}),
    "pie asked for": (lambda go: _settings(go, _buildmode="pie"), {"flags": ("-buildmode=pie",)}),
    "experiment of the toolchain in its version": (lambda go: _with(go, version="go1.26.8 X:nodwarf5"), {}),
    "a level that was not asked": (lambda go: _settings(go, GOAMD64="v4"), {"level": ""}),
    "a vendored build has no sums": (lambda go: _with(go, deps=(GoModule("example.org/errors", "v0.9.1"),)), {}),
    "a main module by its pseudo-version": (lambda go: _with(go, main=GoModule("example.org/app", "v0.0.1-0.2")), {}),
}


@pytest.mark.parametrize(("change", "asked"), SAME.values(), ids=SAME)
def test_what_is_the_same_is_no_mismatch(subject, facts, expected, target, go_build, change, asked):
    judged = subject(facts(go=change(go_build)), expected=expected(target=target(**asked)))
    assert not list(must_be_what_was_asked(judged, SCRATCH))


def test_arm_levels_are_compared_in_go_s_spelling(subject, facts, expected, target, go_build):
    arm = Platform("linux", "arm", "v6")
    for level, found in (("6", 0), ("7", 1)):
        go = _settings(go_build, GOARM=f"{level},hardfloat" if level == "6" else level)
        judged = subject(facts(platform=arm, go=go), expected=expected(target=target(platform=arm, level="6")))
        assert len(list(must_be_what_was_asked(judged, SCRATCH))) == found


def test_another_platform(subject, facts, expected):
    judged = subject(facts(platform=Platform("linux", "arm64")), expected=expected())
    (remark,) = must_be_what_was_asked(judged, SCRATCH)
    assert "linux/amd64" in remark.message
    assert "linux/arm64" in remark.message


PUBLISHED = {
    "devel, as Go writes it": ("(devel)", 0),
    "its version": ("v1.2.3", 0),
    "another version": ("v1.2.4", 1),
}


@pytest.mark.parametrize(("version", "found"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_published_module_is_devel_in_its_build_info(subject, facts, expected, go_build, version, found):
    go = _with(go_build, main=GoModule("example.org/app", version))
    asked = expected(module=GoModule("example.org/app", "v1.2.3", H1), published=True)
    assert len(list(must_be_what_was_asked(subject(facts(go=go), expected=asked), SCRATCH))) == found


@pytest.mark.parametrize("wiped", ["settings", "all"])
def test_what_was_wiped_cannot_be_proved(subject, facts, expected, go_build, wiped):
    go = _with(go_build, settings={}) if wiped == "settings" else None
    (remark,) = must_be_what_was_asked(subject(facts(go=go), expected=expected()), SCRATCH)
    assert "cannot be proved" in remark.message
    assert "CGO_ENABLED" in remark.message
    assert remark.severity is None


def test_a_prebuilt_file_without_build_info_is_a_warning(subject, facts, expected, target):
    asked = expected(target=target(main="", prebuilt="out/app"), toolchain="", package="", module=None, modules=None)
    (remark,) = must_be_what_was_asked(subject(facts(go=None), expected=asked), SCRATCH)
    assert remark.severity is Severity.WARNING


def test_a_prebuilt_file_is_asked_only_for_platform_and_level(expected, target):
    assert wanted_settings(expected(target=target(main="", prebuilt="out/app"))) == {"GOAMD64": "v1"}


def test_a_stranger_has_nothing_to_differ_from(subject):
    assert not list(must_be_what_was_asked(subject(), SCRATCH))


def test_targets_of_one_build_must_agree(subject, facts, expected, target, go_build):
    stamped = _settings(go_build, vcs__revision="a" * 40, vcs__modified="false")
    arm = Platform("linux", "arm64")
    other = _settings(_with(stamped, version="go1.25.1"), vcs__revision="b" * 40)
    other = _with(other, deps=(GoModule("example.org/errors", "v0.8.0"),))
    first = subject(facts(go=stamped), expected=expected())
    second = subject(
        facts(go=other, platform=arm), "bin/linux_arm64/app", expected=expected(target=target(platform=arm))
    )
    found = list(same_across_targets([first, second]))
    assert [one.path for one, _ in found] == ["bin/linux_arm64/app"] * 3
    things = [remark.message.partition(":")[0] for _, remark in found]
    assert things == ["toolchain", "vcs.revision", "module example.org/errors"]
    assert all("bin/linux_amd64/app" in remark.message for _, remark in found)


def test_different_builds_may_differ(subject, facts, expected, target, go_build):
    first = subject(expected=expected())
    second = subject(facts(go=_with(go_build, version="go1.25.1")), expected=expected(target=target(build="tool")))
    assert not list(same_across_targets([first, second]))


def test_a_module_that_only_one_platform_needs_is_no_difference(subject, facts, expected, go_build):
    more = _with(go_build, deps=(*go_build.deps, GoModule("example.org/windows", "v1.0.0")))
    both = [subject(expected=expected()), subject(facts(go=more), expected=expected())]
    assert not list(same_across_targets(both))


def test_strangers_are_not_compared(subject, facts, go_build):
    assert not list(same_across_targets([subject(), subject(facts(go=_with(go_build, version="go1.25.1")))]))


X_VALUES = {
    "present": (XOutcome.PRESENT, "main.version", []),
    "wrong": (XOutcome.WRONG, "main.version", ["'dev'", "'1.4.0'"]),
    "missing": (XOutcome.MISSING, "main.versoin", ["no such string variable"]),
    "dropped": (XOutcome.DROPPED, "main.version", ["nothing reads"]),
    "unchecked": (XOutcome.UNCHECKED, "main.version", ["could not be checked", "xcoff"]),
}


@pytest.mark.parametrize(("outcome", "name", "words"), X_VALUES.values(), ids=X_VALUES)
def test_x_values(subject, expected, target, outcome, name, words):
    check = XCheck(name=name, value="1.4.0", outcome=outcome, found="dev", reason="xcoff has no reader")
    asked = target(
        ldflags=Ldflags(values=(XValue(name, "1.4.0"),)), origins=((f"ldflags/set/{name}", "imagekit.yaml:7"),)
    )
    remarks = list(must_hold_x_values(subject(expected=expected(target=asked, x_values=(check,))), SCRATCH))
    assert len(remarks) == bool(words)
    for remark in remarks:
        assert all(word in remark.message for word in [*words, f"-X {name} (imagekit.yaml:7)"])


def test_the_main_package_s_path_is_no_x_name(subject, expected):
    check = XCheck(name="example.org/app/cmd/app.version", value="1", outcome=XOutcome.MISSING)
    (remark,) = must_hold_x_values(subject(expected=expected(x_values=(check,))), SCRATCH)
    assert "write main.version" in remark.hint


def test_each_unsafe_setting_is_named_with_its_line(subject, expected, target):
    asked = target(
        unsafe=Unsafe(flags=("-toolexec=x",), env=(("CC", "clang"),)),
        origins=(("unsafe/flags/-toolexec=x", "imagekit.yaml:9"), ("unsafe/env/CC", "imagekit.yaml:10")),
    )
    said = [remark.message for remark in nothing_unsafe(subject(expected=expected(target=asked)), SCRATCH)]
    assert [m.split(" ")[0] for m in said] == ["-toolexec=x", "CC=clang"]
    assert "imagekit.yaml:9" in said[0]
    assert "imagekit.yaml:10" in said[1]
