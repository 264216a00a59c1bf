"""init, check, schema, explain, targets: what they print, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from imagekit.cli.main import main
from imagekit.config import default_config, load
from imagekit.targets.mains import find_main_packages


@pytest.fixture
def here(module: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(module)
    return module


def test_init_writes_the_defaults_out_and_never_over_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    written, plain = load(Path("imagekit.yaml")), default_config(find_main_packages(Path()))
    assert (written.builds, written.images, written.sbom) == (plain.builds, plain.images, plain.sbom)
    assert (written.policy, written.output) == (plain.policy, plain.output)
    before = Path("imagekit.yaml").read_bytes()
    assert capsys.readouterr().out == ""
    assert main(["init"]) == 2
    assert "imagekit: exit 2: imagekit.yaml is there already" in capsys.readouterr().err
    assert Path("imagekit.yaml").read_bytes() == before


def test_init_finds_no_program_and_names_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "go.mod").write_text("module example.org/some\n")
    assert main(["init", "--config", "ci.yaml"]) == 0
    assert [build.name for build in load(Path("ci.yaml")).builds] == ["some"]


def test_what_init_leaves_in_comments_can_be_uncommented(here: Path) -> None:
    main(["init"])
    lines = Path("imagekit.yaml").read_text().splitlines()
    bare = [line.replace("# ", "", 1) if line.lstrip().startswith("# ") and ":" in line else line for line in lines[3:]]
    bare = [line.replace("#   ", "  ", 1) for line in bare]
    loaded = yaml.safe_load("version: 1\n" + "\n".join(line for line in bare if "version: 1" not in line))
    assert loaded["builds"][0]["ldflags"]["set"] == {"main.version": "{{ version }}"}
    assert loaded["archives"] == [{"build": "app"}]


def test_check_says_what_there_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert "4 targets, 2 images, 0 archives, policy scratch: all right" in capsys.readouterr().err
    main(["init"])
    assert main(["check"]) == 0
    assert "imagekit.yaml: 4 targets" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1\npolicy: scrtch\n", "there is no policy 'scrtch'"),
        ("version: 1\npolicy: ./none.yaml\n", "none.yaml"),
        ("version: 1\nbuilds: [{main: ./cmd/app, flags: [-o=x]}]\n", "imagekit.yaml:2:36: flags: the flag '-o'"),
        (
            "version: 1\nbuilds: [{main: ./cmd/app}]\nimages: [{id: a, build: app, tags: ['{{ x }}']}]\n",
            "'x' is not a name",
        ),
        ("version: 1\nbuilds: [{main: ./cmd/app}]\narchives: [{build: app, name: '{{ x }}'}]\n", "'x' is not a name"),
    ],
)
def test_check_finds_every_kind_of_mistake(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    Path("imagekit.yaml").write_text(text)
    assert main(["check"]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.splitlines()[-1].startswith("imagekit: exit 2: ")
    assert captured.out == ""


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "imagekit.yaml"
    assert main(["schema", "policy"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "policy.yaml"
    assert main(["schema", "nothing"]) == 2


def test_targets_are_listed_in_every_format(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--target", "app:*"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "TARGET           LEVEL  CGO  TAGS  MAIN",
        "app:linux/amd64  v1     off  -     ./cmd/app",
        "app:linux/arm64  v8.0   off  -     ./cmd/app",
    ]
    assert main(["targets", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "app:linux/amd64"
    assert main(["targets", "--format", "github"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert len(json.loads(printed)["include"]) == 4
    assert main(["targets", "--format", "gitlab"]) == 0
    assert len(yaml.safe_load(capsys.readouterr().out)["parallel"]["matrix"]) == 4


def test_explain_tells_each_setting_with_its_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagekit.yaml").write_text("version: 1\nbuilds:\n  - main: ./cmd/app\n    flags: [-race]\n")
    assert main(["explain", "linux/arm64"]) == 0
    assert "flags          -race        imagekit.yaml:4" in capsys.readouterr().out
    assert main(["explain", "linux"]) == 2


def test_nothing_that_a_value_says_is_obeyed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagekit.yaml").write_text(
        'version: 1\nbuilds:\n  - main: ./cmd/app\n    ldflags: {set: {main.a: "::error::\\e[31mx\\ny"}}\n'
    )
    assert main(["explain", "linux/arm64"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\x1b[31mx\\ny" in printed
