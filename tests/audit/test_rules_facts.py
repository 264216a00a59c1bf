"""Each rule that judges a program's own facts: on facts that it must tell of, and on facts that it must pass."""

from __future__ import annotations

import msgspec
import pytest

from imagekit.audit.chains import ImportGraph
from imagekit.audit.policy import SCRATCH, Policy
from imagekit.audit.rules import BY_ID, RULES
from imagekit.audit.subject import Vcs
from imagekit.binary.deep import Deep, Disagreement
from imagekit.binary.facts import CgoUse, Evidence, GoModule, Linkage, Traits
from imagekit.platform import Platform

LINUX, WINDOWS, MAC = Platform("linux", "amd64"), Platform("windows", "amd64"), Platform("darwin", "arm64")
GLIBC, MUSL = "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"
NOT_GO = {"go": None, "cgo": CgoUse.UNKNOWN}
BROKEN = {"linkage": Linkage.BROKEN}


def _traits(**changes):
    return {"traits": Traits(**changes)}


def _hardening(**changes):
    return {"hardening": changes}


def _settings(**changes):
    """A change of the Go build: settings whose names begin with `_` for `-` and hold `__` for a dot."""
    return lambda go: msgspec.structs.replace(
        go,
        settings={name.replace("__", ".").replace("_", "-", name.startswith("_")): v for name, v in changes.items()},
    )


def _main(version):
    return lambda go: msgspec.structs.replace(go, main=GoModule("example.org/app", version))


def _lists(**changes):
    return Policy(name="p", **changes)


TELLS = {
    # rule, policy, changes of the facts, changes of the Go build, words of the message
    "libraries": (
        "libraries",
        {"libraries": {"linux": ("libc.so.6",)}},
        {"needed": ("libc.so.6", "libx.so")},
        "libx.so",
    ),
    "libraries, an empty list": ("libraries", {"libraries": {"linux": ()}}, {"needed": ("libc.so.6",)}, "libc.so.6"),
    "libraries, climbing out of a glob": (
        "libraries",
        {"libraries": {"darwin": ("/usr/lib/*",)}},
        {"platform": MAC, "needed": ("/usr/lib/../../tmp/x.dylib",)},
        "x.dylib",
    ),
    "interpreter of one machine": (
        "interpreter",
        {},
        {"interpreter": "/nix/store/x/ld-linux-x86-64.so.2"},
        f"linux/amd64 has it at {GLIBC}",
    ),
    "interpreter of another architecture": (
        "interpreter",
        {},
        {"interpreter": "/lib/ld-linux-aarch64.so.1"},
        "aarch64",
    ),
    "interpreter of another libc": (
        "interpreter",
        {"interpreters": {"linux": ("/lib/ld-musl-*",)}},
        {"interpreter": GLIBC},
        "does not have",
    ),
    "interpreter missing": (
        "interpreter",
        {"interpreters": {"linux": ("/lib/ld-musl-*",)}},
        {"linkage": Linkage.DYNAMIC, "needed": ("libc.so",)},
        "names no loader",
    ),
    "glibc-min": ("glibc-min", {"glibc_min": "2.28"}, {"needed": ("libc.so.6",), "glibc_min": "2.34"}, "2.34"),
    "glibc-min, by number": (
        "glibc-min",
        {"glibc_min": "2.9"},
        {"needed": ("libc.so.6",), "glibc_min": "2.10"},
        "2.10",
    ),
    "glibc-min, no version": ("glibc-min", {"glibc_min": "2.28"}, {"needed": ("libc.so.6",)}, "unproven"),
    "glibc-min, no number": (
        "glibc-min",
        {"glibc_min": "2.28"},
        {"needed": ("libc.so.6",), "glibc_min": "2.x"},
        "unproven",
    ),
    "rpath": ("rpath", {}, {"rpath": ("/opt/lib",)}, "'/opt/lib': libraries there win"),
    "rpath, empty": ("rpath", {}, {"rpath": ("/opt/lib", "")}, "whatever folder"),
    "rpath, relative": ("rpath", {}, {"rpath": ("lib",)}, "depends on the folder"),
    "rpath, anyone's": ("rpath", {}, {"rpath": ("/tmp/build/lib",)}, "others than root"),
    "loads-code": ("loads-code", {}, _traits(loads=("plugin.Open",)), "plugin.Open"),
    "no-build-info": ("no-build-info", {}, {"go": None}, "no Go build info"),
    "no-build-info, by the build id": (
        "no-build-info",
        {},
        {**NOT_GO, **_traits(build_ids={"go": "x"})},
        "no Go build info",
    ),
    "instrumented": ("instrumented", {}, _traits(instrumented=("race",)), "-race"),
    "leaked-path": (
        "leaked-path",
        {},
        _traits(leaked_paths=("/a", "/b", "/c", "/d"), leaked_total=9),
        "/a, /b, /c and 6 more",
    ),
    "leaked-path, not known where it is demanded": (
        "leaked-path",
        {"rules": {"leaked-path": "warning"}},
        _traits(leaked_paths=None),
        "not proven",
    ),
    "pprof": ("pprof", {}, _traits(endpoints=("expvar", "pprof")), "net/http/pprof"),
    "expvar": ("expvar", {}, _traits(endpoints=("expvar",)), "expvar"),
    "health": ("health", {"rules": {"health": "warning"}}, _traits(endpoints=("pprof",)), "no health endpoint"),
    "health of what is not Go": ("health", {"rules": {"health": "warning"}}, NOT_GO, "only a Go function table"),
    "fips": ("fips", {"rules": {"fips": "error"}}, {}, "nothing shows"),
    "fips, latest": ("fips", {"rules": {"fips": "error"}}, _traits(fips="GOFIPS140=latest"), "no frozen version"),
    "fips, switched on": ("fips", {"rules": {"fips": "error"}}, _traits(fips="fips140=on"), "no frozen version"),
    "writable-code": ("writable-code", {}, _hardening(writable_code=True), "writable and executable"),
    "writable-code by relocations": ("writable-code", {}, _hardening(text_relocations=True), "DT_TEXTREL"),
    "nx": ("nx", {}, _hardening(nx=False), "stack is executable"),
    "nx on Windows": ("nx", {}, {"format": "pe", **_hardening(nx=False)}, "memory without code"),
    "relro none": ("relro", {"rules": {"relro": "error"}}, _hardening(relro="none"), "none"),
    "relro partial": ("relro", {"rules": {"relro": "error"}}, _hardening(relro="partial"), "partial"),
    "pie": ("pie", {"rules": {"pie": "error"}}, _hardening(pie=False), "same address"),
    "aslr": ("aslr", {"rules": {"aslr": "error"}}, _hardening(aslr=False), "DYNAMIC_BASE"),
    "aslr in 32 bits": (
        "aslr",
        {"rules": {"aslr": "error"}},
        _hardening(aslr=True, high_entropy_va=False),
        "HIGH_ENTROPY_VA",
    ),
    "signature": ("signature", {}, {"format": "macho", "platform": MAC, **_hardening(signature="none")}, "not signed"),
    "signature on iOS": (
        "signature",
        {},
        {"format": "macho", "platform": Platform("ios", "amd64"), **_hardening(signature="none")},
        "not signed",
    ),
    "signature that does not fit": (
        "signature",
        {},
        {"format": "macho", "platform": MAC, **_hardening(signature="adhoc", page_hashes="bad")},
        "does not fit",
    ),
    "signature of a new kind": ("signature", {}, {"format": "macho", **_hardening(signature="odd")}, "odd"),
    "debug": ("debug", {"rules": {"debug": "note"}}, _hardening(debug=True), "DWARF"),
    "symbols": ("symbols", {"rules": {"symbols": "note"}}, _hardening(symbols=True), "symbol table"),
    "timestamp": ("timestamp", {}, {"format": "pe", **_hardening(timestamp="0x5f000000")}, "0x5f000000"),
    "packer": ("packer", {}, {"linkage": Linkage.UNKNOWN, **_traits(packer="UPX")}, "UPX"),
    "overlay": ("overlay", {}, _traits(overlay=123), "123 bytes"),
}
OF_GO = {
    "required-setting": ({"required_settings": {"CGO_ENABLED": "0"}}, _settings(CGO_ENABLED="1"), "requires 0"),
    "required-setting, missing": ({"required_settings": {"-tags": "?*"}}, _settings(CGO_ENABLED="0"), "with none"),
    "required-setting, forbidden": ({"required_settings": {"-race": ""}}, _settings(_race="true"), "requires none"),
    "required-setting, no settings": ({"required_settings": {"-race": ""}}, _settings(), "no build info proves it"),
    "no-build-info, no settings": ({}, _settings(), "holds no settings"),
    "vcs-dirty": ({}, _settings(vcs__modified="true", vcs__revision="abc"), "abc"),
    "vcs-dirty by version": ({}, _main("v1.2.3+dirty"), "v1.2.3+dirty"),
    "no-vcs": ({"rules": {"no-vcs": "warning"}}, _main("(devel)"), "neither a commit"),
    "trimpath": ({}, _settings(CGO_ENABLED="0"), "without -trimpath"),
    "trimpath, not known where it is demanded": ({"rules": {"trimpath": "error"}}, _settings(), "not proven"),
}


@pytest.mark.parametrize(("rule", "policy", "changes", "word"), TELLS.values(), ids=TELLS)
def test_a_rule_tells(subject, facts, rule, policy, changes, word):
    judged = subject(facts(**{"evidence": {}, **changes}))
    (remark,) = BY_ID[rule].check(judged, _lists(**policy))
    assert word in remark.message
    assert remark.hint
    assert BY_ID[rule].severity_under(_lists(**policy)) is not None


@pytest.mark.parametrize(("name", "case"), OF_GO.items(), ids=OF_GO)
def test_a_rule_tells_of_what_go_stamped(subject, facts, go_build, name, case):
    policy, change, word = case
    (remark,) = BY_ID[name.partition(",")[0].partition(" ")[0]].check(
        subject(facts(go=change(go_build))), _lists(**policy)
    )
    assert word in remark.message


PASSES = {
    "libraries, none listed": ("libraries", {}, {"needed": ("libx.so",)}),
    "libraries of another OS": ("libraries", {"libraries": {"darwin": ()}}, {"needed": ("libx.so",)}),
    "libraries by glob": ("libraries", {"libraries": {"linux": ("libx.so*",)}}, {"needed": ("libx.so.3",)}),
    "libraries of Windows without case": (
        "libraries",
        {"libraries": {"windows": ("Kernel32.dll",)}},
        {"platform": WINDOWS, "needed": ("KERNEL32.dll",)},
    ),
    "libraries of no platform": ("libraries", {"libraries": {"linux": ()}}, {"platform": None, "needed": ("x",)}),
    "interpreter of glibc": ("interpreter", {}, {"interpreter": GLIBC}),
    "interpreter of musl": ("interpreter", {}, {"interpreter": MUSL}),
    "interpreter of OpenBSD": (
        "interpreter",
        {},
        {"platform": Platform("openbsd", "amd64"), "interpreter": "/usr/libexec/ld.so"},
    ),
    "interpreter of macOS": ("interpreter", {}, {"platform": MAC, "interpreter": "/usr/lib/dyld"}),
    "interpreter of a system not known": (
        "interpreter",
        {},
        {"platform": Platform("plan9", "386"), "interpreter": "/x"},
    ),
    "interpreter of an architecture not known": (
        "interpreter",
        {},
        {"platform": Platform("linux", "sparc64"), "interpreter": "/lib64/ld64.so.1"},
    ),
    "interpreter none for a static program": ("interpreter", {"interpreters": {"linux": (MUSL,)}}, {}),
    "glibc-min not set": ("glibc-min", {}, {"needed": ("libc.so.6",), "glibc_min": "2.99"}),
    "glibc-min as new": ("glibc-min", {"glibc_min": "2.34"}, {"needed": ("libc.so.6",), "glibc_min": "2.34"}),
    "glibc-min of a static program": ("glibc-min", {"glibc_min": "2.34"}, {}),
    "glibc-min of a Go PIE": ("glibc-min", {"glibc_min": "2.34"}, {"linkage": Linkage.LOADER_ONLY}),
    "glibc-min of musl": ("glibc-min", {"glibc_min": "2.34"}, {"needed": ("libc.so",), "libc": "musl"}),
    "glibc-min elsewhere": ("glibc-min", {"glibc_min": "2.34"}, {"platform": MAC, "needed": ("/usr/lib/libx",)}),
    "rpath": ("rpath", {}, {}),
    "loads-code": ("loads-code", {}, {}),
    "no-build-info of what is not Go": ("no-build-info", {}, NOT_GO),
    "no-build-info of what is broken": ("no-build-info", {}, {**BROKEN, "go": None}),
    "required-setting of what is not Go": ("required-setting", {"required_settings": {"-race": "x"}}, NOT_GO),
    "required-setting of another architecture": ("required-setting", {"required_settings": {"GOARM64": "v8.0"}}, {}),
    "required-setting by glob": ("required-setting", {"required_settings": {"GOAMD64": "v[12]", "-race": ""}}, {}),
    "vcs-dirty": ("vcs-dirty", {}, {}),
    "vcs-dirty of what is not Go": ("vcs-dirty", {}, NOT_GO),
    "no-vcs of what is not Go": ("no-vcs", {}, NOT_GO),
    "trimpath": ("trimpath", {"rules": {"trimpath": "error"}}, {}),
    "trimpath of what is not Go": ("trimpath", {"rules": {"trimpath": "error"}}, NOT_GO),
    "leaked-path": ("leaked-path", {"rules": {"leaked-path": "error"}}, _traits(leaked_paths=())),
    "leaked-path of what is not Go": ("leaked-path", {"rules": {"leaked-path": "error"}}, NOT_GO),
    "leaked-path not known, and a note": ("leaked-path", {}, _traits(leaked_paths=None)),
    "leaked-path not known, and off": ("leaked-path", {"rules": {"leaked-path": "off"}}, {}),
    "instrumented": ("instrumented", {}, {}),
    "pprof": ("pprof", {}, _traits(endpoints=("expvar", "health"))),
    "expvar": ("expvar", {}, _traits(endpoints=("pprof",))),
    "health": ("health", {}, _traits(endpoints=("health",))),
    "fips": ("fips", {}, _traits(fips="GOFIPS140=v1.0.0")),
    "fips by BoringCrypto": ("fips", {}, _traits(fips="boringcrypto")),
    "writable-code": ("writable-code", {}, _hardening(writable_code=False, text_relocations=False)),
    "nx": ("nx", {}, _hardening(nx=True)),
    "nx by the kernel": ("nx", {}, _hardening(nx="n/a")),
    "nx not known": ("nx", {}, {}),
    "relro": ("relro", {}, _hardening(relro="full")),
    "relro of a static program": ("relro", {}, _hardening(relro="n/a")),
    "pie": ("pie", {}, _hardening(pie=True)),
    "pie of a library": ("pie", {}, {"linkage": Linkage.LIBRARY, **_hardening(pie=False)}),
    "aslr": ("aslr", {}, _hardening(aslr=True, high_entropy_va=True)),
    "aslr of 32 bits": ("aslr", {}, _hardening(aslr=True, high_entropy_va="n/a")),
    "signature by the linker": (
        "signature",
        {},
        {"format": "macho", **_hardening(signature="linker-signed", page_hashes="good")},
    ),
    "signature of an Intel Mac": (
        "signature",
        {},
        {"format": "macho", "platform": Platform("darwin", "amd64"), **_hardening(signature="none")},
    ),
    "signature of Windows": ("signature", {}, {"format": "pe", **_hardening(signature="none")}),
    "signature of ELF": ("signature", {}, {}),
    "debug": ("debug", {}, _hardening(debug=False)),
    "symbols": ("symbols", {}, _hardening(symbols=False)),
    "timestamp": ("timestamp", {}, _hardening(timestamp="none")),
    "packer": ("packer", {}, {}),
    "overlay": ("overlay", {}, {}),
    "overlay of what is broken": ("overlay", {}, {**BROKEN, **_traits(overlay=9)}),
    "parsers-disagree": ("parsers-disagree", {}, {}),
    "forbidden-package, none forbidden": ("forbidden-package", {}, {}),
    "forbidden-package of what is not Go": ("forbidden-package", {"forbidden_packages": ("*",)}, NOT_GO),
}


@pytest.mark.parametrize(("rule", "policy", "changes"), PASSES.values(), ids=PASSES)
def test_a_rule_passes(subject, facts, rule, policy, changes):
    assert list(BY_ID[rule].check(subject(facts(**changes)), _lists(**policy))) == []


@pytest.mark.parametrize(
    "change", [_settings(CGO_ENABLED="0", vcs__revision="abc"), _main("v1.2.3")], ids=["commit", "version"]
)
def test_a_commit_or_a_version_names_the_source(subject, facts, go_build, change):
    assert list(BY_ID["no-vcs"].check(subject(facts(go=change(go_build))), SCRATCH)) == []


def test_every_rule_with_a_check_of_its_own_is_in_both_tables():
    elsewhere = {"linkage", "cgo", "mismatch", "x-value", "unsafe", "nss"}  # test_rules.py
    here = {"forbidden-package", "parsers-disagree"}  # their own tests, below
    names = {rule.id for rule in RULES if rule.check} - elsewhere
    told = {case[0] for case in TELLS.values()} | {name.partition(",")[0].partition(" ")[0] for name in OF_GO}
    assert names - told == here
    assert names - {case[0] for case in PASSES.values()} == set()


PACKAGES = ("example.org/app/cmd/app", "example.org/app/internal/testing", "net/http/pprof", "plugin")
FORBIDDEN = {
    "by name": (("plugin",), ["plugin"]),
    "over slashes": (("*/internal/testing*",), ["example.org/app/internal/testing"]),
    "two globs": (("plugin", "net/http/*"), ["plugin", "net/http/pprof"]),
    "with case": (("Plugin",), []),
    "none": (("unsafe/x",), []),
}


@pytest.mark.parametrize(("globs", "found"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_forbidden_packages(subject, globs, found):
    policy = _lists(forbidden_packages=globs)
    remarks = list(BY_ID["forbidden-package"].check(subject(packages=PACKAGES), policy))
    assert [remark.message.partition(" ")[0] for remark in remarks] == found


def test_a_forbidden_package_is_told_with_its_chain(subject):
    graph = ImportGraph(main="main", imports={"main": ("a",), "a": ("plugin",), "plugin": ()})
    judged = subject(packages=PACKAGES, imports=lambda: graph)
    (remark,) = BY_ID["forbidden-package"].check(judged, _lists(forbidden_packages=("plugin",)))
    assert remark.chain == ("main", "a", "plugin")


@pytest.mark.parametrize(("word", "chain"), [("error", ("main", "expvar")), ("warning", ())])
def test_a_refused_handler_is_told_with_its_chain(subject, facts, word, chain):
    graph = ImportGraph(main="main", imports={"main": ("expvar",), "expvar": ()})
    judged = subject(facts(**_traits(endpoints=("expvar",))), imports=lambda: graph)
    (remark,) = BY_ID["expvar"].check(judged, _lists(rules={"expvar": word}))
    assert remark.chain == chain


def test_a_changed_tree_of_our_own_is_told_once(subject, facts, expected, go_build):
    dirty = facts(go=_settings(vcs__modified="true")(go_build))
    built_here = subject(dirty, expected=expected(vcs=Vcs("a", True)))
    assert list(BY_ID["vcs-dirty"].check(built_here, SCRATCH)) == []
    assert len(list(BY_ID["vcs-dirty"].check(subject(dirty, expected=expected()), SCRATCH))) == 1


def test_an_unknown_list_of_packages_does_not_pass(subject):
    (remark,) = BY_ID["forbidden-package"].check(subject(), _lists(forbidden_packages=("plugin",)))
    assert "not proven" in remark.message


def test_many_forbidden_packages_are_counted(subject):
    judged = subject(packages=tuple(f"p{n}" for n in range(80)))
    *_, last = list(BY_ID["forbidden-package"].check(judged, _lists(forbidden_packages=("p*",))))
    assert last.message == "30 more packages match 'p*'"


def test_each_disagreement_is_told_with_both_values(subject, facts):
    said = Evidence("DT_NEEDED", 9, "libc.so.6")
    deep = Deep(disagreements=(Disagreement("needed", "libc.so.6", "libc.so.7", "lief"),))
    (remark,) = BY_ID["parsers-disagree"].check(subject(facts(evidence={"needed": said}), deep=deep), SCRATCH)
    assert remark.message == "needed: imagekit reads libc.so.6, lief reads libc.so.7"
    assert remark.evidence == (said,)


DEEP_SIGNATURES = {
    "intact, signed by CN=x": 0,
    "adhoc, identifier a.out, SHA-256": 0,
    "wrong (no digest match), signed by CN=x": 1,
    "damaged: no signature can be read": 1,
    "not a code signature": 1,
}


@pytest.mark.parametrize(("said", "found"), DEEP_SIGNATURES.items(), ids=DEEP_SIGNATURES)
def test_the_deep_look_at_a_signature(subject, facts, said, found):
    remarks = list(BY_ID["signature"].check(subject(facts(format="pe"), deep=Deep(signature=said)), SCRATCH))
    assert len(remarks) == found
    assert all(said in remark.message for remark in remarks)
