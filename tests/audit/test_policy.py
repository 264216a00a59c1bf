from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest

from imagekit.audit.finding import Severity
from imagekit.audit.policy import PROFILES, SCRATCH, Policy, Waiver, load
from imagekit.binary.facts import Linkage
from imagekit.errors import ConfigError
from imagekit.platform import Platform

STATIC = (Linkage.STATIC, Linkage.STATIC_PIE)
DAY = datetime.date(2027, 3, 31)

ALLOWED = {
    "linux": STATIC,
    "freebsd": STATIC,
    "netbsd": STATIC,
    "dragonfly": STATIC,
    "darwin": (Linkage.SYSTEM,),
    "windows": (Linkage.SYSTEM,),
    "openbsd": (Linkage.SYSTEM,),
    "solaris": (Linkage.SYSTEM,),
    "illumos": (Linkage.SYSTEM,),
    "android": (Linkage.SYSTEM,),
    "plan9": (),
    "aix": (),
}


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str, name: str = "policy.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize(("system", "words"), ALLOWED.items(), ids=ALLOWED)
def test_scratch_allows_by_os(system, words):
    assert load("scratch").allowed_linkage(Platform(system, "amd64")) == words


def test_a_program_that_names_no_platform_is_allowed_nothing():
    assert SCRATCH.allowed_linkage(None) == ()


def test_an_unknown_profile_lists_those_there_are():
    with pytest.raises(ConfigError) as caught:
        load("scrach")
    assert "'scrach'" in caught.value.message
    assert all(profile.name in caught.value.hint for profile in PROFILES)


def test_extends_merges_os_by_os(written):
    policy = load(str(written("version: 1\nextends: scratch\nlinkage: {linux: [static], plan9: [static]}\n")))
    assert policy.allowed_linkage(Platform("linux", "arm64")) == (Linkage.STATIC,)
    assert policy.allowed_linkage(Platform("plan9", "386")) == (Linkage.STATIC,)
    assert policy.allowed_linkage(Platform("freebsd", "amd64")) == STATIC
    assert policy.name == "policy.yaml"


def test_a_policy_that_extends_nothing_allows_what_it_says(written):
    policy = load(str(written("version: 1\nlinkage: {linux: [static]}\n")))
    assert policy.linkage == {"linux": (Linkage.STATIC,)}


def test_files_extend_files_beside_them(written, tmp_path):
    written("version: 1\nextends: scratch\nrules: {cgo: error, nss: off}\n", "base.yaml")
    written("version: 1\nextends: ./base.yaml\nrules: {nss: note}\n")
    policy = load("policy.yaml", beside=tmp_path)
    assert policy.severity("cgo", Severity.NOTE) is Severity.ERROR
    assert policy.severity("nss", Severity.WARNING) is Severity.NOTE
    assert policy.severity("linkage", Severity.ERROR) is Severity.ERROR


def test_off_is_no_severity():
    assert Policy(name="p", rules={"nss": "off"}).severity("nss", Severity.WARNING) is None


def test_a_circle_is_refused(written):
    written("version: 1\nextends: ./policy.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        load(str(written("version: 1\nextends: ./b.yaml\n", "a.yaml").parent / "policy.yaml"))


SAMPLE = """\
version: 1
extends: scratch
linkage: {linux: [static, static-pie], darwin: [system], windows: [system]}
rules: {leaked-path: warning, pprof: error}
waivers: [{rule: pprof, select: "*/debug*", until: 2027-03-31, reason: "profiling build"}]
"""


def test_the_sample_of_the_surface_loads(written):
    policy = load(str(written(SAMPLE)))
    assert policy.severity("pprof", Severity.WARNING) is Severity.ERROR
    assert policy.severity("leaked-path", Severity.NOTE) is Severity.WARNING
    assert policy.waivers == (Waiver("pprof", "*/debug*", DAY, "profiling build"),)


ALL_KEYS = """\
version: 1
extends: glibc-2.28
libraries: {linux: ["libc.so.6", "libx.so.*"], darwin: []}
interpreters: {linux: [/opt/ld.so]}
glibc_min: 2.30
forbidden_packages: [plugin, "*/testing/*"]
required_settings: {CGO_ENABLED: 1, -trimpath: true, -race: ""}
"""


def test_every_key_is_read_as_text_and_over_what_is_extended(written):
    policy = load(str(written(ALL_KEYS)))
    assert policy.libraries == {"linux": ("libc.so.6", "libx.so.*"), "darwin": ()}
    assert policy.interpreters == {"linux": ("/opt/ld.so",)}
    assert policy.glibc_min == "2.30"
    assert policy.forbidden_packages == ("plugin", "*/testing/*")
    assert policy.required_settings == {"CGO_ENABLED": "1", "-trimpath": "true", "-race": ""}
    assert policy.allowed_linkage(Platform("linux", "amd64")) == (
        *STATIC,
        Linkage.LOADER_ONLY,
        Linkage.DYNAMIC,
        Linkage.LIBRARY,
    )


def test_what_is_extended_stays_where_nothing_is_said(written):
    written("version: 1\nextends: glibc-2.28\nforbidden_packages: [a]\nrequired_settings: {x: y}\n", "base.yaml")
    policy = load(str(written("version: 1\nextends: ./base.yaml\nforbidden_packages: [b, a]\n")))
    base = load("glibc-2.28")
    assert (policy.glibc_min, policy.libraries, policy.interpreters) == ("2.28", base.libraries, base.interpreters)
    assert policy.forbidden_packages == ("a", "b")
    assert policy.required_settings == {"x": "y"}


def test_of_several_extended_policies_a_later_one_wins(written):
    policy = load(str(written("version: 1\nextends: [hardened, glibc-2.36]\n")))
    assert policy.glibc_min == "2.36"
    assert Linkage.DYNAMIC in policy.allowed_linkage(Platform("linux", "amd64"))
    assert policy.severity("relro", Severity.WARNING) is Severity.ERROR
    turned = load(str(written("version: 1\nextends: [glibc-2.36, hardened]\n", "turned.yaml")))
    assert turned.allowed_linkage(Platform("linux", "amd64")) == STATIC


def test_waivers_of_a_file_that_is_extended_twice_count_once(written):
    written(f"version: 1\nwaivers: [{{rule: cgo, select: '*', until: {DAY}, reason: r}}]\n", "base.yaml")
    for name in ("a", "b"):
        written("version: 1\nextends: ./base.yaml\n", f"{name}.yaml")
    assert len(load(str(written("version: 1\nextends: [./a.yaml, ./b.yaml]\n"))).waivers) == 1


def test_many_files_that_extend_each_other_are_read_once_each(written):
    written("version: 1\n", "f0.yaml")
    for n in range(1, 7):
        written(f"version: 1\nextends: [{', '.join([f'./f{n - 1}.yaml'] * 8)}]\n", f"f{n}.yaml")
    assert load(str(written("version: 1\nextends: ./f6.yaml\n"))).name == "policy.yaml"


def test_a_chain_of_policies_has_an_end(written):
    written("version: 1\n", "f0.yaml")
    for n in range(1, 10):
        last = written(f"version: 1\nextends: ./f{n - 1}.yaml\n", f"f{n}.yaml")
    with pytest.raises(ConfigError, match="more than 8 deep"):
        load(str(last))


def test_a_profile_that_is_extended_and_not_there(written):
    with pytest.raises(ConfigError, match="no policy 'hardend'") as caught:
        load(str(written("version: 1\nextends: hardend\n")))
    assert "glibc-N" in caught.value.hint


HOSTILE = {
    "not YAML": b"version: 1\n\x00\xff\xfe",
    "not a mapping": b"- 1\n",
    "empty": b"",
    "one key twice": b"version: 1\nrules: {cgo: off}\nrules: {nss: off}\n",
    "anchors": b"version: 1\nrules: &a {cgo: *a}\n",
    "a bomb": b"version: 1\na: &a [x, x]\n" + b"".join(b"k%d: &k%d [*a, *a]\n" % (n, n) for n in range(200)),
    "too large": b"version: 1\n# " + b"x" * (1 << 20),
    "deep": b"version: 1\nlinkage: " + b"[" * 5000,
    "a tag": b"version: 1\nextends: !!python/object/apply:os.system [id]\n",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(tmp_path, content):
    (tmp_path / "policy.yaml").write_bytes(content)
    with pytest.raises(ConfigError):
        load(str(tmp_path / "policy.yaml"))


def test_a_glob_that_would_never_end_ends():
    policy = Policy(name="p", libraries={"linux": ("*a" * 120 + "b",)})
    started = time.process_time()
    assert policy.unlisted_libraries(Platform("linux", "amd64"), ("a" * 4000,)) == ("a" * 4000,)
    assert time.process_time() - started < 1


MISTAKES = {
    "no such system of libraries": ("libraries: {linx: [x]}", ["2:13", "no operating system 'linx'"]),
    "no such system of loaders": ("interpreters: {bsd: [x]}", ["2:16", "no operating system 'bsd'"]),
    "an empty glob": ("libraries: {linux: ['']}", ["2:21", "too short"]),
    "a glob without end": (f"forbidden_packages: ['{'x' * 300}']", ["2:22", "too long"]),
    "globs without end": (f"forbidden_packages: [{', '.join(['x'] * 1001)}]", ["2:21", "too long"]),
    "no version of glibc": ("glibc_min: 2", ["2:12", "not a version of glibc"]),
    "a version of glibc with a letter": ("glibc_min: v2.36", ["2:12", "not a version of glibc"]),
    "too many extended": (f"extends: [{', '.join(['scratch'] * 9)}]", ["2:10", "too long"]),
    "no list of packages": ("forbidden_packages: plugin", ["2:21", "a list"]),
    "a waiver until yesterday's spelling": (
        "waivers: [{rule: cgo, select: '*', until: 31.3.2027, reason: r}]",
        ["2:43", "year-month-day"],
    ),
    "no such rule": ("rules: {pprofs: error}", ["2:9", "no rule 'pprofs'"]),
    "no such rule in a waiver": (
        "waivers: [{rule: lnkage, select: '*', until: 2027-03-31, reason: r}]",
        ["2:18", "no rule 'lnkage'"],
    ),
    "no such system": ("linkage: {linx: [static]}", ["2:11", "no operating system 'linx'", "linux"]),
    "unknown passes": ("linkage: {linux: [unknown]}", ["2:19", "unknown never passes"]),
    "broken passes": ("linkage: {linux: [static, broken]}", ["2:27", "broken never passes"]),
    "no such linkage": ("linkage: {linux: [sttic]}", ["2:19", "sttic"]),
    "no such severity": ("rules: {cgo: fatal}", ["2:14", "fatal"]),
    "unknown key": ("linkages: {}", ["2:1", "linkages"]),
    "a waiver without an end": ("waivers: [{rule: cgo, select: '*', reason: r}]", ["until"]),
    "a waiver until no day": ("waivers: [{rule: cgo, select: '*', until: soon, reason: r}]", ["soon"]),
    "a waiver without a reason": ("waivers: [{rule: cgo, select: '*', until: 2027-03-31, reason: ' '}]", ["reason"]),
    "a waiver for nothing": ("waivers: [{rule: cgo, select: '', until: 2027-03-31, reason: r}]", ["subject"]),
    "another version": ("rules: {}\nversion: 2", ["version"]),
}


@pytest.mark.parametrize(("text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_refused_with_their_place(written, text, words):
    first = "" if "version" in text else "version: 1"
    path = written(f"{first}\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    told = f"{caught.value.message} {caught.value.hint}"
    for word in ["policy.yaml", *words]:
        assert word in told


def test_all_mistakes_at_once(written):
    with pytest.raises(ConfigError) as caught:
        load(str(written("version: 1\nlinkage: {linx: [unknown]}\nrules: {pprofs: error}\n")))
    assert all(word in caught.value.message for word in ("linx", "unknown", "pprofs", "3 mistakes"))


def test_yaml_words_keep_their_meaning(written):
    assert load(str(written("version: 1\nrules: {cgo: off, nss: note}\n"))).rules == {"cgo": "off", "nss": "note"}


def test_equal_policies_have_equal_digests(written):
    same = load(str(written("version: 1\nextends: scratch\n", "other.yaml")))
    assert same.digest == SCRATCH.digest
    assert load(str(written("version: 1\nextends: scratch\nrules: {nss: error}\n"))).digest != SCRATCH.digest


def test_the_digest_does_not_depend_on_the_order():
    turned = Policy(name="x", linkage=dict(reversed(SCRATCH.linkage.items())))
    assert turned.digest == SCRATCH.digest


WAIVED = {
    "path": ("*/debug*", "bin/linux_amd64/debug-app", None, True),
    "another path": ("*/debug*", "bin/linux_amd64/app", None, False),
    "everything": ("*", "bin/linux_amd64/app", None, True),
    "target": ("app:linux/*", "bin/x", ("app", Platform("linux", "arm64")), True),
    "another build": ("app:linux/*", "bin/x", ("tool", Platform("linux", "arm64")), False),
    "a long path is no selector": ("a/b/c/d/*", "a/b/c/d/e", ("app", Platform("linux", "arm64")), True),
    "a long path that differs": ("a/b/c/d/*", "x", ("app", Platform("linux", "arm64")), False),
    "no waiver by negation": ("!windows", "bin/x", ("app", Platform("linux", "arm64")), False),
}


@pytest.mark.parametrize(("select", "path", "target", "covered"), WAIVED.values(), ids=WAIVED)
def test_what_a_waiver_covers(select, path, target, covered):
    waiver = Waiver("nss", select, DAY, "r")
    assert waiver.covers("nss", path, target) is covered
    assert not waiver.covers("cgo", path, target)


def test_a_waiver_counts_until_the_end_of_its_day():
    waiver = Waiver("nss", "*", DAY, "r")
    assert not waiver.expired(DAY)
    assert waiver.expired(DAY + datetime.timedelta(days=1))
