"""Main packages by their package clauses, against the go command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagekit.targets.mains import find_main_packages, may_hold

FILES = {
    "go.mod": "module example.org/mod\n\ngo 1.21\n",
    "main.go": "package main\n\nfunc main() {}\n",
    "cmd/app/main.go": "// Copyright\n\n/* package x */ package main // main\n\nfunc main() {}\n",
    "cmd/linux/main_linux.go": "//go:build linux && !ignore_me\n\npackage main\n\nfunc main() {}\n",
    "cmd/bom/main.go": "\ufeffpackage main\n\nfunc main() {}\n",
    "cmd/generator/gen.go": "//go:build ignore\n\npackage main\n\nfunc main() {}\n",
    "cmd/generator/lib.go": "package generator\n",
    "cmd/tested/a_test.go": "package tested_test\n",
    "cmd/tested/lib.go": "package tested\n",
    "lib/lib.go": "package lib // not package main\n",
    "lib/mainly.go": "package lib\n\nconst a = `package main`\n",
    "mainly/lib.go": "package mainly\n",
    "testdata/x/main.go": "package main\n",
    "vendor/x/main.go": "package main\n",
    "_old/main.go": "package main\n",
    ".hidden/main.go": "package main\n",
    "nested/go.mod": "module example.org/nested\n",
    "nested/main.go": "package main\n",
}
MAINS = (".", "./cmd/app", "./cmd/bom", "./cmd/linux")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_programs_are_found_and_nothing_else(module: Path) -> None:
    assert find_main_packages(module) == MAINS


def test_the_go_command_finds_the_same(module: Path) -> None:
    listed = subprocess.run(
        ["go", "list", "-mod=mod", "-f", '{{if eq .Name "main"}}{{.ImportPath}}{{end}}', "./..."],
        cwd=module,
        capture_output=True,
        check=True,
        text=True,
    )
    found = {path.replace("example.org/mod", ".", 1) for path in listed.stdout.split()}
    assert found == set(MAINS)


def test_unreadable_and_odd_files_are_no_programs(tmp_path: Path) -> None:
    (tmp_path / "a.go").symlink_to("nowhere")
    (tmp_path / "b.go").write_bytes(b"\xff\xfe\x00package main")
    (tmp_path / "c.go").write_text("/* package main")
    (tmp_path / "d.go").mkdir()
    assert find_main_packages(tmp_path) == ()


@pytest.mark.parametrize(
    ("constraint", "holds"),
    [
        ("linux", True),
        ("!windows", True),
        ("linux && !cgo", True),
        ("ignore", False),
        ("!ignore", True),
        ("ignore && linux", False),
        ("ignore || linux", True),
        ("!(linux || ignore)", True),
        ("custom", False),
        ("go1.21 && !custom", True),
        ("(ignore", True),
        ("", True),
        ("!" * 400 + "ignore", False),
        ("(" * 400, True),
        ("linux && " * 5000 + "linux", True),
    ],
)
def test_a_constraint_holds_if_some_target_satisfies_it(constraint: str, holds: bool) -> None:
    assert may_hold(constraint) is holds
