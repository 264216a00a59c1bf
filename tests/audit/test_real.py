"""Real programs, compiled by the real go command, each refused for its own reason."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from imagekit.audit.cgo_required import cgo_required
from imagekit.audit.judge import judge
from imagekit.audit.listed import graph_of, obstacles
from imagekit.audit.policy import SCRATCH
from imagekit.audit.report import audit_json, read_audit
from imagekit.audit.subject import Expected, Subject
from imagekit.binary.facts import GoModule
from imagekit.binary.reader import read
from imagekit.content import Digest
from imagekit.golang.compile import compile_target
from imagekit.golang.failures import CompileFailure
from imagekit.golang.packages import Packages, list_packages
from imagekit.golang.settings import read_settings
from imagekit.golang.toolchain import find
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Target

pytestmark = pytest.mark.real
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
AMD64 = Platform("linux", "amd64")
TODAY = datetime.date(2027, 3, 31)


class Built(msgspec.Struct, frozen=True):
    subject: Subject
    packages: Packages


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Path]:
    """A module: a copy of one in fixtures/, or the given files."""

    def make(fixture: str = "", **files: str) -> Path:
        folder = tmp_path / "module"
        if fixture:
            shutil.copytree(FIXTURES / fixture, folder)
        for name, content in files.items():
            path = folder / name.replace("__", "/")
            path = path.with_name(path.name + (".mod" if path.name == "go" else ".go"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        if (folder / "go.sum").is_file():
            subprocess.run(["go", "mod", "download"], cwd=folder, check=True, env={**os.environ, "GOFLAGS": ""})
        return folder

    return make


@pytest.fixture
def listed(cache: Path) -> Callable[..., Packages]:
    def run(folder: Path, target: Target) -> Packages:
        toolchain = find()
        return list_packages(read_settings(toolchain, folder), target, cache_dir=cache)

    return run


@pytest.fixture
def built(cache: Path, listed: Callable[..., Packages]) -> Callable[..., Built]:
    """Compile a module; the subject that a build would judge."""

    def compile_and_read(folder: Path, target: Target) -> Built:
        toolchain = find()
        settings = read_settings(toolchain, folder)
        artifact = compile_target(settings, target, cache_dir=cache)
        packages = listed(folder, target)
        (root,) = packages.roots
        modules = {p.module.path: p.module for p in packages.by_path.values() if p.module and not p.module.main}
        subject = Subject(
            path=f"bin/{target.slug}/{target.filename}",
            digest=artifact.digest,
            size=artifact.size,
            facts=read(artifact.path)[0],
            expected=Expected(
                target=target,
                toolchain=settings.toolchain.version,
                package=root.path,
                module=GoModule(root.module.path, "") if root.module else None,
                modules=tuple(GoModule(m.path, m.version, m.sum) for m in modules.values()),
            ),
            imports=lambda: graph_of(packages),
        )
        return Built(subject, packages)

    return compile_and_read


def target(main: str = ".", **changes: object) -> Target:
    return Target(**{"build": "app", "platform": AMD64, "level": "v1", "main": main, **changes})


def test_what_was_asked_for_passes_with_nothing_said(place, built):
    one = built(place("hello"), target())
    report = judge([one.subject], SCRATCH, today=TODAY)
    assert report.findings == ()
    (read_back,) = read_audit(audit_json(report)).subjects
    assert read_back.facts is not None
    assert (read_back.facts.linkage, read_back.facts.cgo) == ("static", "absent")


def test_what_differs_in_a_real_file_is_seen(place, built):
    asked = target()
    one = built(place("hello"), target(tags=("netgo",)))
    wrong = msgspec.structs.replace(one.subject.expected, target=asked, toolchain="go1.2")
    report = judge([msgspec.structs.replace(one.subject, expected=wrong)], SCRATCH, today=TODAY)
    assert sorted(finding.message.split(":")[0] for finding in report.findings) == ["-tags", "toolchain"]


REFUSED = {
    "imports C": (
        "refused/cgo",
        {"cgo": Cgo.ALLOW},
        ("example.org/withcgo", "example.org/withcgo/direct", "example.org/withcgo/native"),
        ["dynamic", 'imports "C"', 'remove the import of "C" from example.org/withcgo/native'],
    ),
    "os/user": (
        "refused/osuser",
        {"cgo": Cgo.ALLOW},
        ("example.org/withuser", "os/user"),
        ["dynamic", "os/user uses cgo", "osusergo"],
    ),
    "pie": (
        "refused/pie",
        {"flags": ("-buildmode=pie",), "origins": (("flags/-buildmode=pie", "imagekit.yaml:6"),)},
        (),
        ["loader-only", "-buildmode=pie (imagekit.yaml:6)", "remove -buildmode=pie"],
    ),
    "purego": (
        "refused/purego",
        {},
        ("example.org/withpurego", "github.com/ebitengine/purego"),
        ["dynamic", "cgo_import_dynamic", 'remove the import of "github.com/ebitengine/purego"'],
    ),
}


@pytest.mark.parametrize(("fixture", "changes", "chain", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_with_reason_chain_and_way_out(place, built, fixture, changes, chain, words):
    one = built(place(fixture), target(**changes))
    report = judge([one.subject], SCRATCH, today=TODAY)
    assert report.exit_code() == 10
    (finding,) = (finding for finding in report.findings if finding.rule == "linkage")
    assert finding.chain == chain
    assert finding.evidence
    for word in words:
        assert word in f"{finding.message} {finding.hint}"


def test_taking_the_way_out_makes_it_pass(place, built):
    one = built(place("refused/osuser"), target(cgo=Cgo.ALLOW, tags=("osusergo",)))
    assert judge([one.subject], SCRATCH, today=TODAY).exit_code() == 0


def _refusal(cache: Path, folder: Path, asked: Target) -> CompileFailure:
    toolchain = find()
    with pytest.raises(CompileFailure) as caught:
        compile_target(read_settings(toolchain, folder), asked, cache_dir=cache)
    return caught.value


def test_excluded_go_files_become_cgo_required(place, listed, cache):
    folder = place("refused/cgo")
    failure = _refusal(cache, folder, target())
    packages = listed(folder, target())
    (finding,) = cgo_required(obstacles(failure.problems, packages), target(), graph_of(packages))
    assert finding.chain == ("example.org/withcgo", "example.org/withcgo/direct", "example.org/withcgo/native")
    assert 'example.org/withcgo/native/native.go, kept out by import "C"' in finding.message
    assert "far" not in f"{finding.message} {finding.hint} {finding.chain}"


MODULE = "module example.org/m\n\ngo 1.23\n"
UNDEFINED = {
    "go": MODULE,
    "main": 'package main\n\nimport "example.org/m/mem"\n\nfunc main() { mem.Read() }\n',
    "mem__mem": "package mem\n\nfunc Read() { bsdSysctl() }\n",
}


def test_undefined_identifiers_become_cgo_required(place, listed, cache):
    sysctl = "//go:build (freebsd || darwin) && cgo\n\npackage mem\n\nfunc bsdSysctl() {}\n"
    folder = place(**UNDEFINED, mem__sysctl_bsd=sysctl)
    asked = target(platform=Platform("freebsd", "amd64"))
    failure = _refusal(cache, folder, asked)
    packages = listed(folder, asked)
    (finding,) = cgo_required(obstacles(failure.problems, packages), asked, graph_of(packages))
    for word in ("bsdSysctl", "example.org/m/mem/sysctl_bsd.go", "//go:build (freebsd || darwin) && cgo", "mem.go:3"):
        assert word in finding.message
    assert finding.chain == ("example.org/m", "example.org/m/mem")


ORDINARY = {
    "declared nowhere": {},
    "declared for another system": {"mem__sysctl_windows": "package mem\n\nfunc bsdSysctl() {}\n"},
    "declared for another system's cgo": {
        "mem__sysctl_x": "//go:build windows && cgo\n\npackage mem\n\nfunc bsdSysctl() {}\n"
    },
    "declared in a test": {"mem__sysctl_test": "//go:build cgo\n\npackage mem\n\nfunc bsdSysctl() {}\n"},
}


@pytest.mark.parametrize("files", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_compile_error_is_no_finding(place, listed, cache, files):
    folder = place(**UNDEFINED, **files)
    failure = _refusal(cache, folder, target())
    packages = listed(folder, target())
    assert failure.exit_code == 3
    assert cgo_required(obstacles(failure.problems, packages), target(), graph_of(packages)) == ()


def test_a_package_for_another_system_is_no_finding(place, listed, cache):
    folder = place(**{**UNDEFINED, "mem__mem": "//go:build windows\n\npackage mem\n\nfunc Read() {}\n"})
    failure = _refusal(cache, folder, target())
    packages = listed(folder, target())
    assert cgo_required(obstacles(failure.problems, packages), target(), graph_of(packages)) == ()


def test_a_static_glibc_program_that_asks_the_name_service_is_warned_of(place, tmp_path):
    folder, program = place("refused/osuser"), tmp_path / "app"
    environment = {**os.environ, "CGO_ENABLED": "1", "GOFLAGS": "-buildvcs=false"}
    external = ["-trimpath", "-ldflags=-linkmode=external -extldflags=-static"]
    subprocess.run(["go", "build", *external, "-o", str(program), "."], cwd=folder, check=True, env=environment)
    (facts,) = read(program)
    stranger = Subject(path="app", digest=Digest("sha256:" + "0" * 64), size=1, facts=facts)
    report = judge([stranger], SCRATCH, today=TODAY)
    assert [finding.rule for finding in report.findings] == ["cgo", "nss"]
    assert "osusergo" in report.findings[1].hint
    offset = report.findings[1].evidence[0].offset
    assert program.read_bytes()[offset:].startswith(b"os/user._C")
