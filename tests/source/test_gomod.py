"""go.mod and go.work, compared with `go mod edit -json` and `go work edit -json`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from imagekit.errors import UnreadableError
from imagekit.source import gomod

MOD = """// the module
module "example.test/app" // its path

go 1.24.0
toolchain go1.26.8
godebug default=go1.21

require example.test/one v1.0.0
require ( // block
\texample.test/two/v2 v2.1.0 // indirect
\t"example.test/three" v0.0.0-20191109021931-daa7c04131f5 // indirect; for a reason
\texample.test/four v1.0.0 // not indirect
)

require ()

exclude example.test/one v0.9.0
retract [v1.0.0, v1.1.0] // a mistake
retract (
\tv0.1.0
\t[v0.2.0, v0.3.0]
)
replace example.test/one => ../one
replace (
\texample.test/two/v2 v2.1.0 => example.test/fork/v2 v2.1.1
\texample.test/three => "./with space"
\texample.test/four => "/abs\\u0041/x" // comment
)
tool example.test/one/cmd/tool
ignore ./node_modules
"""
WORK = """go 1.24

toolchain go1.26.8

use ./app
use (
\t.
\t"./with space"
)

replace example.test/one => ./one
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.real
def test_go_mod_means_what_go_says(tmp_path: Path) -> None:
    path = write(tmp_path / "go.mod", MOD)
    said = json.loads(
        subprocess.run(["go", "mod", "edit", "-json"], cwd=tmp_path, check=True, capture_output=True).stdout
    )
    found = gomod.read_mod(path)
    assert (found.module, found.go, found.toolchain) == (said["Module"]["Path"], said["Go"], said["Toolchain"])
    assert [(one.path, one.version, one.indirect) for one in found.requires] == [
        (one["Path"], one["Version"], one.get("Indirect", False)) for one in said["Require"]
    ]
    assert [(one.path, one.version, one.new_path, one.new_version) for one in found.replaces] == [
        (one["Old"]["Path"], one["Old"].get("Version", ""), one["New"]["Path"], one["New"].get("Version", ""))
        for one in said["Replace"]
    ]
    assert found.tools == tuple(one["Path"] for one in said["Tool"])
    assert [one.local for one in found.replaces] == [True, False, True, True]
    assert [MOD.split("\n")[one.line - 1].split()[-1] for one in found.replaces][:2] == ["../one", "v2.1.1"]


@pytest.mark.real
def test_go_work_means_what_go_says(tmp_path: Path) -> None:
    path = write(tmp_path / "go.work", WORK)
    said = json.loads(
        subprocess.run(["go", "work", "edit", "-json"], cwd=tmp_path, check=True, capture_output=True).stdout
    )
    found = gomod.read_work(path)
    assert (found.go, found.toolchain) == (said["Go"], "go1.26.8")
    assert list(found.uses) == [one["DiskPath"] for one in said["Use"]]
    assert found.folders == (tmp_path / "app", tmp_path, tmp_path / "with space")
    assert found.replaces[0].new_path == said["Replace"][0]["New"]["Path"]


HOSTILE = {
    "a merge conflict": ("module a.b/c\n<<<<<<< HEAD\n", "go.mod:2"),
    "an open block": ("module a.b/c\nrequire (\n a.b/d v1.0.0\n", "go.mod:2"),
    "an open string": ('module "a.b/c\n', "go.mod:1"),
    "a C comment": ("module a.b/c /* x */\n", "go.mod:1"),
    "two modules": ("module a.b/c\nmodule a.b/d\n", "go.mod:2"),
    "a quote inside": ("module a.b/'c'\n", "go.mod:1"),
    "require without version": ("module a.b/c\nrequire a.b/d\n", "go.mod:2"),
    "replace without arrow": ("module a.b/c\nreplace a.b/d ../d\n", "go.mod:2"),
    "a folder with a version": ("module a.b/c\nreplace a.b/d => ../d v1.0.0\n", "go.mod:2"),
    "a module without a version": ("module a.b/c\nreplace a.b/d => a.b/e\n", "go.mod:2"),
    "a control character": ("module a.b/c\n\x01\n", "go.mod:2"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_refused_with_file_and_line(case: str, tmp_path: Path) -> None:
    text, where = HOSTILE[case]
    with pytest.raises(UnreadableError, match=where):
        gomod.read_mod(write(tmp_path / "go.mod", text))


@pytest.mark.real
@pytest.mark.parametrize("case", HOSTILE)
def test_go_refuses_the_same(case: str, tmp_path: Path) -> None:
    write(tmp_path / "go.mod", HOSTILE[case][0])
    assert subprocess.run(["go", "mod", "edit", "-json"], cwd=tmp_path, capture_output=True).returncode != 0


def test_not_there_not_text_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        gomod.read_mod(tmp_path / "go.mod")
    (tmp_path / "go.mod").write_bytes(b"module \xff\n")
    with pytest.raises(UnreadableError, match="UTF-8"):
        gomod.read_mod(tmp_path / "go.mod")
    monkeypatch.setattr(gomod, "LIMIT", 3)
    with pytest.raises(UnreadableError, match="larger"):
        gomod.read_mod(write(tmp_path / "go.mod", "module a.b/c\n"))


@pytest.mark.parametrize("text", ["plain/path", "with space", 'quo"te', "back\\slash", "a//b", "(x)", "comma,"])
def test_a_quoted_token_is_read_back(text: str, tmp_path: Path) -> None:
    found = gomod.read_work(write(tmp_path / "go.work", f"go 1.24\nuse {gomod.quote(text)}\n"))
    assert found.uses == (text,)
