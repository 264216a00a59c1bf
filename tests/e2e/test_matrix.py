"""What the configuration asks for is in the files that come out, or the build says why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAIN = """package main

import "fmt"

var version = "unset"
var dropped = "unset"

func main() { fmt.Println(version, "1") }
"""


@pytest.fixture
def program(project):
    """A module with one main package and this build entry."""

    def write(entry: str, more: str = "", **files: str) -> Path:
        return project(
            {
                "go.mod": "module example.org/app\n\ngo 1.23\n",
                "main.go": MAIN,
                "imagekit.yaml": f"version: 1\nbuilds:\n  - {{id: app, main: ., {entry}}}\n{more}",
                **files,
            }
        )

    return write


@pytest.mark.parametrize("strip", ["false", "true"])
def test_values_are_proven_in_their_variable(program, imagekit, strip: str):
    place = program(f'ldflags: {{strip: {strip}, set: {{main.version: "7.1"}}}}')
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([place / "dist/bin/linux_amd64/app"], capture_output=True, text=True, check=True)
    assert ran.stdout == "7.1 1\n"


X_VALUES = {
    "wrong name, and 1 stands elsewhere": ('main.Version: "1"', "main.Version", "no such string variable"),
    "wrong package": ('example.org/app/nope.version: "1"', "example.org/app/nope.version", "no such string variable"),
    "nothing reads it": ('main.dropped: "1"', "main.dropped", "nothing reads the variable"),
}


@pytest.mark.parametrize("strip", ["false", "true"])
@pytest.mark.parametrize("case", X_VALUES, ids=list(X_VALUES))
def test_a_value_that_is_nowhere_is_refused(program, imagekit, case: str, strip: str):
    value, name, why = X_VALUES[case]
    place = program(f"platforms: [linux/amd64], ldflags: {{strip: {strip}, set: {{{value}}}}}")
    done = imagekit("build", cwd=place)
    assert done.returncode == 10, done.stderr
    assert "error x-value" in done.stderr
    assert f"-X {name}: " in done.stderr
    assert why in done.stderr
    assert not (place / "dist").exists()


def test_overrides_tags_and_levels_are_in_the_files(program, imagekit):
    place = program(
        "platforms: [linux/amd64/v3, linux/arm64], tags: [one], "
        'overrides: [{select: "linux/arm64", tags: {append: [two]}}]'
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    audit = json.loads((place / "dist/audit.json").read_text())
    settings = [subject["facts"]["go"]["settings"] for subject in audit["subjects"] if subject["facts"]]
    assert [(each["-tags"], each.get("GOAMD64", each.get("GOARM64"))) for each in settings] == [
        ("one", "v3"),
        ("one,two", "v8.0"),
    ]
    top = json.loads((place / "dist/oci/index.json").read_text())["manifests"][0]["digest"].removeprefix("sha256:")
    index = json.loads((place / "dist/oci/blobs/sha256" / top).read_text())
    assert index["manifests"][0]["platform"] == {"architecture": "amd64", "os": "linux", "variant": "v3"}


def test_a_refused_flag_names_file_line_and_way_out(program, imagekit):
    done = imagekit("build", cwd=program("flags: [-toolexec=evil]"))
    assert done.returncode == 2
    assert "imagekit.yaml:3:" in done.stderr
    assert "'-toolexec'" in done.stderr
    assert "unsafe" in done.stderr


def test_what_is_unsafe_is_a_finding(program, imagekit):
    place = program("platforms: [linux/amd64], unsafe: {env: {CGO_CFLAGS: -O1}}")
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "warning unsafe" in done.stderr
    assert imagekit("build", "--fail-on", "warning", cwd=place).returncode == 10


def test_prebuilt_files_pass_the_same_gate(program, imagekit):
    place = program("platforms: [linux/amd64]")
    assert imagekit("build", cwd=place).returncode == 0
    shutil.copy(place / "dist/bin/linux_amd64/app", place / "made")
    (place / "imagekit.yaml").write_text(
        "version: 1\nbuilds:\n  - {id: app, prebuilt: made, platforms: [linux/amd64]}\n"
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr
    (place / "imagekit.yaml").write_text(
        "version: 1\nbuilds:\n  - {id: app, prebuilt: made, platforms: [linux/arm64]}\n"
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 10
    assert "asked for linux/arm64" in done.stderr


def test_a_tampered_kept_output_is_linked_again_and_said(program, imagekit, tmp_path: Path):
    place = program("platforms: [linux/amd64]")
    assert imagekit("build", cwd=place, cache=tmp_path / "cache").returncode == 0
    before = (place / "dist/bin/linux_amd64/app").read_bytes()
    [kept] = (tmp_path / "cache/imagekit/kept").glob("*/app")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    done = imagekit("build", cwd=place, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "changed after its link" in done.stderr
    assert (place / "dist/bin/linux_amd64/app").read_bytes() == before


def test_ambient_settings_are_said_and_without_effect(program, imagekit):
    place = program("platforms: [linux/amd64]")
    done = imagekit("build", cwd=place, GOFLAGS="-tags=evil", CGO_ENABLED="1", GOAMD64="v3")
    assert done.returncode == 0, done.stderr
    for said in ("GOFLAGS=-tags=evil", "CGO_ENABLED=1", "GOAMD64=v3"):
        assert said in done.stderr
    audit = json.loads((place / "dist/audit.json").read_text())
    [settings] = [subject["facts"]["go"]["settings"] for subject in audit["subjects"] if subject["facts"]]
    assert (settings["CGO_ENABLED"], settings["GOAMD64"], "-tags" in settings) == ("0", "v1", False)


WITH_DEPENDENCY = {
    "go.mod": "module example.org/app\n\ngo 1.23\n\nrequire github.com/google/uuid v1.6.0\n",
    "main.go": 'package main\n\nimport "github.com/google/uuid"\n\nfunc main() { println(uuid.NewString()) }\n',
    "imagekit.yaml": "version: 1\nbuilds:\n  - {id: app, main: ., platforms: [linux/amd64]}\n",
}


@pytest.fixture
def dependent(project) -> Path:
    place = project(WITH_DEPENDENCY)
    subprocess.run(["go", "mod", "tidy"], cwd=place, check=True, capture_output=True, env={**os.environ, "GOFLAGS": ""})
    return place


def test_vendored_files_are_compared_with_the_verified_zips(dependent: Path, imagekit):
    subprocess.run(["go", "mod", "vendor"], cwd=dependent, check=True, env={**os.environ, "GOFLAGS": ""})
    done = imagekit("build", cwd=dependent)
    assert done.returncode == 0, done.stderr
    source = dependent / "vendor/github.com/google/uuid/version4.go"
    source.write_text(source.read_text() + "\nfunc init() { println(`gotcha`) }\n")
    done = imagekit("build", cwd=dependent)
    assert done.returncode == 10, done.stderr
    assert "vendor-mismatch" in done.stderr
    assert "version4.go" in done.stderr


def test_a_checksum_that_was_never_published_is_an_integrity_error(dependent: Path, imagekit, tmp_path: Path):
    sums = dependent / "go.sum"
    lines = sums.read_text().splitlines()
    sums.write_text("\n".join(line if "/go.mod" not in line else line[:-9] + "AAAAAAAA=" for line in lines) + "\n")
    done = imagekit("build", cwd=dependent, cache=tmp_path / "cache")
    assert done.returncode == 5, done.stderr
    assert "github.com/google/uuid" in done.stderr
    assert not (dependent / "dist").exists()


def test_weakened_settings_and_local_replacements_are_findings(dependent: Path, imagekit):
    (dependent / "other").mkdir()
    (dependent / "other/go.mod").write_text("module github.com/google/uuid\n\ngo 1.23\n")
    (dependent / "other/uuid.go").write_text('package uuid\n\nfunc NewString() string { return "0" }\n')
    subprocess.run(["go", "mod", "edit", "-replace", "github.com/google/uuid=./other"], cwd=dependent, check=True)
    done = imagekit("build", cwd=dependent, GOSUMDB="off")
    assert done.returncode == 0, done.stderr
    for rule in ("sumdb-off", "local-replace", "dirty-tree"):
        assert f"warning {rule}" in done.stderr


def test_a_workspace(project, imagekit):
    place = project(
        {
            "go.work": "go 1.23\n\nuse ./app\nuse ./lib\n",
            "app/go.mod": "module example.org/app\n\ngo 1.23\n",
            "app/main.go": 'package main\n\nimport "example.org/lib"\n\nfunc main() { println(lib.Name) }\n',
            "lib/go.mod": "module example.org/lib\n\ngo 1.23\n",
            "lib/lib.go": 'package lib\n\nvar Name = "lib"\n',
            "imagekit.yaml": "version: 1\nbuilds:\n  - {id: app, dir: app, main: ., platforms: [linux/amd64]}\n",
        }
    )
    done = imagekit("build", cwd=place)
    assert done.returncode == 0, done.stderr


def test_without_a_configuration_every_main_package_is_built(project, imagekit, tmp_path: Path):
    place = project(
        {
            "go.mod": "module example.org/two\n\ngo 1.23\n",
            "cmd/one/main.go": "package main\n\nfunc main() {}\n",
            "cmd/two/main.go": "package main\n\nfunc main() {}\n",
            "lib/lib.go": "package lib\n",
        }
    )
    done = imagekit("build", "--image-refs", tmp_path / "refs", cwd=place)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition("@")[0] for line in lines] == ["imagekit.local/one", "imagekit.local/two"]
    assert (tmp_path / "refs").read_text() == done.stdout
    assert sorted(path.name for path in (place / "dist/bin").iterdir()) == ["linux_amd64", "linux_arm64"]
    only = imagekit("build", "./cmd/two", "--format", "json", cwd=place)
    assert only.returncode == 0, only.stderr
    assert [image["id"] for image in json.loads(only.stdout)["images"]] == ["two"]


def test_checks_come_before_the_compiler(program, imagekit):
    place = program("platforms: [linux/amd64]", "checks: [gofmt, vet]\n", **{"ugly.go": "package main\nvar  x=1\n"})
    done = imagekit("build", cwd=place)
    assert done.returncode == 3, done.stderr
    assert "ugly.go" in done.stderr
    assert "gofmt" in done.stderr
