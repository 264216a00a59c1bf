"""go.sum: what is read, what is refused, with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagekit.errors import UnreadableError
from imagekit.source import gosum

ONE = "h1:" + "A" * 43 + "="
TWO = "h1:" + "B" * 43 + "="


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "go.sum"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_both_kinds_of_lines(tmp_path: Path) -> None:
    found = gosum.read(write(tmp_path, f"a.b/c v1.0.0 {ONE}\na.b/c v1.0.0/go.mod {TWO}\n\na.b/c v1.0.0 {ONE}\n"))
    assert found.sums == {("a.b/c", "v1.0.0"): ONE, ("a.b/c", "v1.0.0/go.mod"): TWO}
    assert found.modules() == (("a.b/c", "v1.0.0"),)
    assert found.zip_sum("a.b/c", "v1.0.0") == ONE
    assert found.zip_sum("a.b/c", "v1.0.1") is None


def test_no_file_has_no_sums(tmp_path: Path) -> None:
    assert gosum.read(tmp_path / "go.sum").sums == {}


def test_lines_that_go_ignores(tmp_path: Path) -> None:
    bug = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="
    assert gosum.read(write(tmp_path, f"a.b/c v1.0.0 h2:zzz\na.b/c v1.0.0/go.mod {bug}\n")).sums == {}


HOSTILE = {
    "a merge conflict": (f"a.b/c v1.0.0 {ONE}\n<<<<<<< HEAD\n", "go.sum:2"),
    "two fields": ("a.b/c v1.0.0\n", "go.sum:1"),
    "four fields": (f"a.b/c v1.0.0 {ONE} x\n", "go.sum:1"),
    "a short hash": ("a.b/c v1.0.0 h1:abc=\n", "go.sum:1"),
    "two hashes of one": (f"a.b/c v1.0.0 {ONE}\na.b/c v1.0.0 {TWO}\n", "go.sum:2"),
    "not ASCII": (f"a.b/\udcff v1.0.0 {ONE}\n", "go.sum:1"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_refused_with_file_and_line(case: str, tmp_path: Path) -> None:
    text, where = HOSTILE[case]
    with pytest.raises(UnreadableError, match=where) as caught:
        gosum.read(write(tmp_path, text))
    assert caught.value.hint


def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gosum, "LIMIT", 10)
    with pytest.raises(UnreadableError, match="larger than 10"):
        gosum.read(write(tmp_path, f"a.b/c v1.0.0 {ONE}\n"))


def test_a_workspace_joins_its_files(tmp_path: Path) -> None:
    one, two = gosum.of({("a.b/c", "v1.0.0"): ONE}), gosum.of({("a.b/d", "v1.0.0"): TWO})
    joined = gosum.join(one, two)
    assert len(joined.sums) == 2
    assert joined.digest not in (one.digest, two.digest)
    assert gosum.join(one) is one
    with pytest.raises(UnreadableError, match=r"a\.b/c v1\.0\.0"):
        gosum.join(one, gosum.of({("a.b/c", "v1.0.0"): TWO}))
