"""The rules on programs that Go has just built: silence on ordinary ones, and each finding where it is due."""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

import pytest

from imagekit.audit.judge import judge
from imagekit.audit.policy import load
from imagekit.audit.subject import Subject
from imagekit.binary.functions import read_functions
from imagekit.binary.reader import read
from imagekit.cli.main import main
from imagekit.content import Digest

pytestmark = pytest.mark.real
TODAY = datetime.date(2027, 3, 31)
MODULE = "module example.org/served\n\ngo 1.22\n"
PLAIN = 'package main\n\nfunc main() { println("hello") }\n'
SERVER = """\
package main

import (
	"net/http"
	_ "net/http/pprof"
)

func main() {
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {})
	panic(http.ListenAndServe("127.0.0.1:0", nil))
}
"""
ALL_ON = """\
version: 1
extends: hardened
rules: {health: warning, fips: error}
forbidden_packages: ["net/http/p*"]
required_settings: {CGO_ENABLED: "0", -trimpath: "true"}
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Build a main file with `go build` and these arguments; the program's subject."""
    kept: dict[tuple[str, ...], Subject] = {}

    def build(source: str, *flags: str, **environment: str) -> Subject:
        key = (source, *flags, *(f"{name}={value}" for name, value in environment.items()))
        if key not in kept:
            folder = tmp_path_factory.mktemp("module")
            (folder / "go.mod").write_text(MODULE)
            (folder / "main.go").write_text(source)
            variables = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", **environment}
            command = ["go", "build", *flags, "-o", "app", "."]
            subprocess.run(command, cwd=folder, check=True, env=variables, capture_output=True)
            kept[key] = _subject(folder / "app")
        return kept[key]

    return build


def _subject(program: Path) -> Subject:
    (facts,) = read(program)
    table = read_functions(program)
    packages = tuple(sorted(table.packages())) if table else None
    return Subject(path="app", digest=Digest("sha256:" + "0" * 64), size=1, facts=facts, packages=packages)


def found(subject: Subject, policy: str | Path) -> dict[str, str]:
    """Rule -> its worst severity."""
    findings = judge([subject], load(str(policy)), today=TODAY).findings
    return {finding.rule: finding.severity.word for finding in sorted(findings, key=lambda one: one.severity)}


STRIPPED = ("-trimpath", "-ldflags=-s -w")
ORDINARY = {
    ("linux", "amd64"): {"pie": "warning"},
    ("linux", "s390x"): {"pie": "warning"},
    ("freebsd", "amd64"): {"pie": "warning"},
    ("openbsd", "amd64"): {"relro": "error", "pie": "warning"},
    ("windows", "amd64"): {},
    ("darwin", "arm64"): {},
    ("darwin", "amd64"): {},
}
"""What `hardened` says of a stripped hello, `no-vcs` aside: it was built outside of any repository."""


@pytest.mark.parametrize(("platform", "hardened"), ORDINARY.items(), ids=map("/".join, ORDINARY))
def test_ordinary_builds_are_let_alone(built, platform, hardened):
    subject = built(PLAIN, *STRIPPED, GOOS=platform[0], GOARCH=platform[1])
    assert found(subject, "scratch") == {}
    assert found(subject, "release") == {"no-vcs": "warning"}
    assert found(subject, "hardened") == {"no-vcs": "warning", **hardened}


def test_a_server_with_profiling_and_its_builder_s_paths(built):
    server = built(SERVER)
    assert found(server, "scratch") == {
        "pprof": "warning",
        "leaked-path": "note",
        "trimpath": "note",
    }
    assert found(server, "release") == {
        **{"pprof": "warning", "leaked-path": "warning", "trimpath": "warning", "no-vcs": "warning"},
        **{"debug": "note", "symbols": "note"},
    }


def test_what_only_a_policy_asks_for(built, tmp_path):
    (tmp_path / "policy.yaml").write_text(ALL_ON)
    told = found(built(SERVER), tmp_path / "policy.yaml")
    assert {rule: told.get(rule) for rule in ("forbidden-package", "required-setting", "fips", "health")} == {
        "forbidden-package": "error",
        "required-setting": "error",
        "fips": "error",
        "health": None,
    }
    assert found(built(PLAIN, *STRIPPED), tmp_path / "policy.yaml")["health"] == "warning"


def test_a_module_of_fips_140(built, tmp_path):
    (tmp_path / "policy.yaml").write_text("version: 1\nextends: scratch\nrules: {fips: error}\n")
    asked = built(PLAIN, *STRIPPED, GOFIPS140="v1.0.0")
    assert found(asked, tmp_path / "policy.yaml") == {}
    assert found(built(PLAIN, *STRIPPED, GOFIPS140="latest"), tmp_path / "policy.yaml") == {"fips": "error"}


def test_a_position_independent_program_and_where_it_runs(built):
    pie = built(PLAIN, *STRIPPED, "-buildmode=pie")
    assert found(pie, "scratch") == {"linkage": "error"}
    assert found(pie, "distroless") == {"linkage": "error"}
    assert found(pie, "glibc-2.17") == {}
    assert found(pie, "alpine") == {"interpreter": "error"}
    assert found(pie, "hardened")["relro"] == "error"
    assert "relro" not in found(built(PLAIN, "-trimpath", "-ldflags=-s -w -bindnow", "-buildmode=pie"), "hardened")


def test_windows_without_its_protections(built):
    fixed = built(PLAIN, *STRIPPED, "-buildmode=exe", GOOS="windows")
    assert found(fixed, "scratch") == {}
    assert found(fixed, "hardened")["aslr"] == "error"


def test_a_loader_of_one_machine(built):
    odd = built(PLAIN, "-trimpath", "-ldflags=-s -w -I /opt/ld.so", "-buildmode=pie")
    assert found(odd, "scratch") == {"linkage": "error", "interpreter": "warning"}
    assert found(odd, "glibc-2.36") == {"interpreter": "error"}


def test_coverage_counters(built):
    covered = built(PLAIN, *STRIPPED, "-cover")
    assert found(covered, "scratch") == {"instrumented": "warning"}
    assert found(covered, "release")["instrumented"] == "error"


def test_a_search_path(built):
    assert found(built(PLAIN, "-trimpath", "-ldflags=-s -w -r /tmp/lib", "-buildmode=pie"), "glibc-2.36") == {
        "rpath": "warning"
    }


GATED = """\
version: 1
policy: policy.yaml
builds: [{id: app, main: ., platforms: [linux/amd64]}]
images: []
"""


def test_the_gate_of_a_build_tells_who_imports_what_is_forbidden(tmp_path, monkeypatch, capfd):
    (tmp_path / "inner").mkdir()
    for name, content in {
        "go.mod": MODULE,
        "main.go": 'package main\n\nimport _ "example.org/served/inner"\n\nfunc main() {}\n',
        "inner/inner.go": 'package inner\n\nimport _ "net/http/pprof"\n',
        "imagekit.yaml": GATED,
        "policy.yaml": "version: 1\nextends: scratch\nforbidden_packages: [net/http/pprof]\n",
    }.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    assert main(["build", "--cache-dir", str(tmp_path / "cache")]) == 10
    said = capfd.readouterr().err
    assert "error forbidden-package: bin/linux_amd64/app" in said
    assert "import chain: example.org/served -> example.org/served/inner -> net/http/pprof" in said
