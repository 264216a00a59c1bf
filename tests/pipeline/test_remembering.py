"""What is remembered comes back, or is asked for again; it never stops a build."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagekit.pipeline.remembering import recall, remember


def test_a_value_comes_back_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "facts/key"
    remember(place, {"a": 1})
    remember(place, {"a": 2})
    assert recall(place, dict[str, int]) == {"a": 2}
    assert [path.name for path in place.parent.iterdir()] == ["key"]
    assert place.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b'{"a": "x"}', b"\xff"])
def test_what_is_no_such_value_is_asked_for_again(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    assert recall(tmp_path / "key", dict[str, int]) is None
