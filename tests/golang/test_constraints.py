import subprocess
from pathlib import Path

import msgspec
import pytest

from imagekit.golang.constraints import (
    Header,
    Tags,
    constraint_of,
    evaluate,
    header_of,
    name_constraint,
    parse_header,
    reason,
)
from imagekit.golang.packages import read_packages
from imagekit.golang.toolchain import Toolchain

LINUX = Tags("linux", "amd64", False, frozenset({"go1.1", "go1.21", "mine"}))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("linux", True),
        ("!linux", False),
        ("linux && amd64", True),
        ("windows || linux", True),
        ("windows || linux && arm64", False),
        ("(windows || linux) && amd64", True),
        ("!(windows || plan9) && !cgo", True),
        ("!!linux", True),
        ("unix && gc && go1.21 && mine", True),
        ("go1.99", False),
        ("linux &&", False),
        ("linux amd64", False),
        ("(linux", False),
        ("linux)", False),
        ("linux & amd64", False),
        ("", False),
        ("(" * 200 + "linux" + ")" * 200, False),
        ("!" * 5000 + "linux", False),
    ],
)
def test_an_expression(expression: str, value: bool) -> None:
    assert evaluate(expression, LINUX.holds) is value


@pytest.mark.parametrize(
    ("goos", "tag"), [("android", "linux"), ("illumos", "solaris"), ("ios", "darwin"), ("freebsd", "unix")]
)
def test_an_os_that_counts_as_another(goos: str, tag: str) -> None:
    assert Tags(goos, "arm64", False).holds(tag)
    assert not Tags("windows", "arm64", False).holds(tag)


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("a_linux.go", "linux"),
        ("a_linux_arm64.go", "linux && arm64"),
        ("a_windows_test.go", "windows"),
        ("a_amd64.s", "amd64"),
        ("linux.go", ""),
        ("linux_arm64.go", "arm64"),
        ("a_other.go", ""),
        ("a_unix.go", ""),
        ("a_linux.pb.go", "linux"),
        ("_linux.go", "linux"),
        ("a_test.go", ""),
    ],
)
def test_a_file_name(name: str, constraint: str) -> None:
    assert name_constraint(name) == constraint


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("package a\n", Header()),
        ("//go:build linux && !cgo\n\npackage a\n", Header("linux && !cgo")),
        ("// Copyright\n\n/* block\n//go:build no\n*/\n//go:build yes\npackage a", Header("yes")),
        ("//go:build first\n//go:build second\npackage a", Header("first")),
        ("// +build linux,amd64 darwin\n// +build !cgo\n\npackage a", Header("((linux && amd64) || darwin) && !cgo")),
        ("//go:build new\n// +build old\n\npackage a", Header("new")),
        ("package a\n\n//go:build late\n", Header()),
        ('package a\n\nimport "C"\n', Header("", True)),
        ('package a\n\nimport (\n\t"fmt"\n\t"C"\n)\n', Header("", True)),
        ("//go:buildx\npackage a", Header()),
        ("\ufeff//go:build bom\n\npackage a", Header("bom")),
    ],
)
def test_a_header(text: str, header: Header) -> None:
    assert parse_header(text) == header


def test_what_kept_a_file_out(tmp_path: Path) -> None:
    texts = {
        "a_windows.go": "package a",
        "b.go": "//go:build windows\n\npackage a",
        "c_linux.go": '//go:build amd64\n\npackage a\n\nimport "C"\n',
        "d.go": "package a",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert {name: reason(tmp_path / name, LINUX) for name in texts} == {
        "a_windows.go": "file name: windows",
        "b.go": "//go:build windows",
        "c_linux.go": 'import "C" with CGO_ENABLED=0',
        "d.go": "",
    }
    assert constraint_of(tmp_path / "c_linux.go") == '//go:build amd64; file name: linux; import "C"'


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.go"
    path.write_text("//go:build one\n\npackage a")
    assert header_of(path).expression == "one"
    path.write_text("//go:build second\n\npackage a")
    assert header_of(path).expression == "second"
    path.unlink()
    assert header_of(path) == Header()


@pytest.mark.real
@pytest.mark.parametrize("platform", ["linux/amd64", "windows/arm64", "darwin/arm64", "freebsd/386"])
def test_go_agrees_on_every_file_of_its_library(go: Toolchain, platform: str) -> None:
    goos, goarch = platform.split("/")
    environment = {"GOOS": goos, "GOARCH": goarch, "CGO_ENABLED": "0", "GOFLAGS": "", "HOME": "/", "GOCACHE": "off"}
    fields = "ImportPath,Dir,GoFiles,CgoFiles,SFiles,IgnoredGoFiles,IgnoredOtherFiles"

    def listed(*words: str) -> bytes:
        argv = [str(go.go), "list", *words, "std"]
        return subprocess.run(argv, env=environment | {"GOCACHE": "/tmp/none"}, capture_output=True, check=True).stdout

    context = listed("-f", "{{range context.ToolTags}}{{.}} {{end}}{{range context.ReleaseTags}}{{.}} {{end}}")
    tags = Tags(goos, goarch, False, frozenset(context.decode().splitlines()[0].split()))
    checked = 0
    for package in read_packages(listed(f"-json={fields}")):
        chosen = (*package.go_files, *package.s_files)
        wrong = [name for name in chosen if reason(package.directory / name, tags)]
        wrong += [name for name in package.ignored_go_files if not reason(package.directory / name, tags)]
        assert not wrong, package.path
        checked += len(chosen) + len(package.ignored_go_files)
    assert checked > 2000
    assert msgspec.structs.asdict(tags)["goos"] == goos
