"""Which declarations keep what the linker wrote, and which replace it when the program starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagekit.golang.packages import Package
from imagekit.pipeline.xvalues import _declares, _is_computed
from imagekit.targets.target import XValue

COMPUTED = {
    "a call": ("var version = strconv.Itoa(1)", True),
    "a call, typed": ("var version string = compute()", True),
    "a call in a block": ("var (\n\tother = 1\n\tversion = compute()\n)", True),
    "a literal": ('var version = "1"', False),
    "a literal with brackets": ('var version = "f()"', False),
    "a literal, and a comment": ('var version = "1" // see f()', False),
    "nothing": ("var version string", False),
    "a constant": ("const one = `1`\n\nvar version = one", False),
    "another variable": ("var versions = compute()", False),
    "an assignment in a function": ("var version string\n\nfunc init() {\n\tversion = compute()\n}", False),
}


def package(folder: Path, text: str) -> Package:
    (folder / "main.go").write_text(f"package main\n\n{text}\n")
    return Package(path="example.org/app", name="main", folder=str(folder), go_files=("main.go",))


@pytest.mark.parametrize("case", COMPUTED, ids=list(COMPUTED))
def test_a_computed_initial_value_is_told(tmp_path: Path, case: str):
    text, computed = COMPUTED[case]
    assert _is_computed(package(tmp_path, text), XValue("main.version", "2")) is computed


def test_a_declared_variable_is_told_from_one_that_is_not(tmp_path: Path):
    found = package(tmp_path, "var (\n\tversion, commit string\n)\n\nvar count int\n\nfunc other() {}")
    assert [_declares(found, name) for name in ("version", "commit", "count", "other")] == [True, True, False, False]
