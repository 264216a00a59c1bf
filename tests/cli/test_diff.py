"""`imagekit diff` from the shell: what stdout and stderr hold, and the exit code."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from imagekit.audit.comparing.difference import diff_schema
from imagekit.cli.main import main
from imagekit.content import readable_json

DOCS = Path(__file__).resolve().parents[2] / "docs"
TRUE, FALSE = "/bin/true", "/bin/false"


def test_the_exit_code_does_not_depend_on_the_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copy(TRUE, copy)
    assert main(["diff", TRUE, str(copy)]) == 0
    same = capsys.readouterr()
    assert same.out.endswith("equal: not one byte differs\n")
    assert main(["diff", TRUE, FALSE]) == 0
    other = capsys.readouterr()
    assert "the linker's build id" in other.out
    assert same.err == other.err == ""


def test_json_fits_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads((DOCS / "schema/diff.schema.json").read_bytes())
    for other, equal in ((TRUE, True), (FALSE, False)):
        assert main(["diff", TRUE, other, "--format", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        jsonschema.validate(found, schema)
        assert found["schema"] == "urn:imagekit:diff:v1"
        assert found["equal"] is equal
        assert bool(found["bytes"]) is not equal


def test_the_schema_is_in_step() -> None:
    assert (DOCS / "schema/diff.schema.json").read_bytes() == readable_json(diff_schema()), (
        "run: python -m imagekit.audit.pages"
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([TRUE], 2, "imagekit --help"),
        ([TRUE, FALSE, "--format", "xml"], 2, "text, json"),
        ([TRUE, "/bin"], 2, "oci:DIR"),
        ([TRUE, "oci:/nowhere"], 2, "a file and an image"),
        ([TRUE, "/nowhere"], 4, "not there"),
        (["oci:/nowhere", "oci:/nowhere"], 4, "not an OCI layout"),
        (["oci-archive:/bin/true", "oci-archive:/bin/true"], 4, "/bin/true"),
    ],
)
def test_what_cannot_be_compared(words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *words]) == code
    said = capsys.readouterr()
    assert said.out == ""
    last = said.err.splitlines()[-1]
    assert re.match(rf"imagekit: exit {code}: ", last)
    assert says in last


def test_it_writes_nothing_but_plain_text(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    hostile = tmp_path / "\x1b[31m::error::"
    hostile.write_bytes(b"\x1b]0;title\x07 and text")
    assert main(["diff", str(hostile), TRUE]) == 0
    assert "\x1b" not in capfd.readouterr().out


@pytest.mark.real
def test_it_is_quick() -> None:
    """Two programs of 1 MB each; most of the time is Python's own start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "imagekit", "diff", "/bin/bash", "/bin/tar"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
