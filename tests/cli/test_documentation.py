"""docs/ci.md and docs/build-tags.md: the YAML is what it should be, and the output that they show is the real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from imagekit.config import load

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language == kind]


def test_the_pipelines_are_yaml() -> None:
    workflow, parent, child = (yaml.safe_load(block) for block in blocks("ci.md", "yaml"))
    assert list(workflow["jobs"]) == ["plan", "part", "merge"]
    assert parent["images"]["trigger"]["include"][0]["job"] == "plan"
    assert child["part"]["extends"] == ".matrix"


def test_the_gitlab_child_pipeline_is_put_together(choosy, imagekit) -> None:
    said = imagekit("targets", "--format", "gitlab", cwd=choosy).stdout
    matrix = ".matrix:\n" + "".join(f"  {line}\n" for line in said.splitlines())
    whole = yaml.safe_load(matrix + blocks("ci.md", "yaml")[2])
    assert whole[".matrix"]["parallel"]["matrix"][0]["IMAGEKIT_TARGET"] == "app:linux/amd64"
    assert whole["merge"]["needs"] == ["part"]


def test_the_configuration_loads(tmp_path: Path) -> None:
    (example,) = blocks("build-tags.md", "yaml")
    (tmp_path / "imagekit.yaml").write_text(example)
    assert load(tmp_path / "imagekit.yaml").builds[0].tags == ("special",)


@pytest.mark.real
@pytest.mark.parametrize("number", [0, 1])
def test_the_shown_output_is_what_is_printed(choosy, imagekit, number: int) -> None:
    command, _, shown = blocks("build-tags.md", "")[number].partition("\n")
    done = imagekit(*command.removeprefix("$ imagekit ").split(), cwd=choosy)
    assert done.stdout == shown
