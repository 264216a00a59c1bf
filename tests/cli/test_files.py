"""targets --files and --diff: what `go list` chooses, and what kept the others out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


def read(imagekit, root: Path, *words: str) -> dict[str, object]:
    done = imagekit("targets", "--format", "json", *words, cwd=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def package(told, target: str, path: str) -> dict[str, object]:
    (found,) = (one for one in told["targets"] if one["target"] == target)
    (one,) = (one for one in found["packages"] if one["package"] == path)
    return one


def test_every_file_is_compiled_or_has_the_constraint_that_kept_it_out(choosy, imagekit) -> None:
    told = read(imagekit, choosy, "--files")
    assert [one["target"] for one in told["targets"]] == ["app:linux/amd64", "app:windows/amd64", "app:linux/arm64"]
    lib = package(told, "app:linux/amd64", "example.org/choosy/lib")
    assert lib["compiled"] == ["fast_nocgo.go", "lib.go", "name_linux.go", "special.go"]
    assert {one["name"]: one["constraint"] for one in lib["excluded"]} == {
        "fast.go": "//go:build cgo",
        "name_windows.go": "file name: windows",
        "never.go": "//go:build never && linux",
    }
    assert {(one["package"], one["name"]) for one in told["unselected"]} == {
        ("example.org/choosy/lib", "fast.go"),
        ("example.org/choosy/lib", "never.go"),
    }
    assert told["only_on_one"] == [{"package": "example.org/choosy/registry", "target": "app:windows/amd64"}]
    stubs = {(one["target"], one["name"], tuple(one["instead"])) for one in told["stubs"]}
    assert stubs == {(one["target"], "fast_nocgo.go", ("fast.go",)) for one in told["targets"]}


def test_the_same_files_as_the_go_command_says(choosy, imagekit, clean) -> None:
    """The foreign oracle: `go list` with the flags of the build."""
    told = read(imagekit, choosy, "--files", "--target", "windows")
    argv = ["go", "list", "-tags=special", "-f", '{{join .GoFiles " "}}|{{join .IgnoredGoFiles " "}}', "./lib"]
    environment = {**clean, "GOOS": "windows", "GOARCH": "amd64", "CGO_ENABLED": "0"}
    said = subprocess.run(argv, cwd=choosy, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    compiled, _, ignored = said.partition("|")
    lib = package(told, "app:windows/amd64", "example.org/choosy/lib")
    assert (lib["compiled"], [one["name"] for one in lib["excluded"]]) == (compiled.split(), ignored.split())


def test_two_targets_compared(choosy, imagekit) -> None:
    told = read(imagekit, choosy, "--diff", "linux/amd64", "app:windows/amd64")
    assert told["first"] == {
        "target": "app:linux/amd64",
        "packages": [],
        "files": [
            {"package": "example.org/choosy/lib", "name": "name_linux.go", "constraint": "file name: linux"},
        ],
    }
    assert told["second"]["packages"] == ["example.org/choosy/registry"]
    assert [one["name"] for one in told["second"]["files"]] == ["main_windows.go", "name_windows.go"]


def test_the_tables(choosy, imagekit) -> None:
    listed = imagekit("targets", "--files", "--target", "linux/amd64", cwd=choosy).stdout
    assert "    + name_linux.go\n" in listed
    assert "    - name_windows.go  (file name: windows)\n" in listed
    assert "fast_nocgo.go  (//go:build !cgo); with cgo it would be fast.go\n" in listed
    diff = imagekit("targets", "--diff", "linux/amd64", "windows/amd64", cwd=choosy).stdout
    assert "Only app:windows/amd64:\n  package example.org/choosy/registry\n" in diff
    same = imagekit("targets", "--diff", "linux/amd64", "linux/arm64", cwd=choosy).stdout
    assert same == "Only app:linux/amd64:\n  none\nOnly app:linux/arm64:\n  none\n"


def test_a_package_without_files_is_told_and_not_an_error(choosy, imagekit) -> None:
    (choosy / "registry" / "registry.go").write_text("//go:build cgo\n\npackage registry\n")
    told = read(imagekit, choosy, "--files", "--target", "windows")
    found = package(told, "app:windows/amd64", "example.org/choosy/registry")
    assert "build constraints exclude all Go files" in found["error"]
    assert found["excluded"] == [{"name": "registry.go", "constraint": "//go:build cgo"}]


@pytest.mark.parametrize(
    "words",
    [
        ("--files", "--format", "github"),
        ("--files", "--diff", "linux/amd64", "linux/arm64"),
        ("--diff", "linux/amd64", "linux/amd64"),
        ("--diff", "linux/amd64", "plan9/386"),
        ("--diff", "linux", "windows/amd64"),
    ],
    ids=" ".join,
)
def test_refused(choosy, imagekit, words: tuple[str, ...]) -> None:
    done = imagekit("targets", *words, cwd=choosy)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("imagekit: exit 2: ")
