"""Where a path ends and a name begins: what is there decides, and every word that is printed means the same again."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagekit.oci.places import Place
from imagekit.oci.store import Layout

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Layouts `o/dh` and `with:colon`, files `two.tar` and `dated:1.tar`, empty folders `empty` and `new:one`."""
    monkeypatch.chdir(tmp_path)
    for name in ("o/dh", "with:colon"):
        Layout.create(tmp_path / name)
    for name in ("two.tar", "dated:1.tar"):
        (tmp_path / name).write_bytes(b"")
    for name in ("empty", "new:one"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "path", "name", "digest"),
    [
        ("o/dh", "o/dh", "", ""),
        ("o/dh:app", "o/dh", "app", ""),
        ("o/dh:t/h:latest", "o/dh", "t/h:latest", ""),
        ("o/dh:127.0.0.1:5000/t/h:1.0", "o/dh", "127.0.0.1:5000/t/h:1.0", ""),
        (f"o/dh@{DIGEST}", "o/dh", "", DIGEST),
        (f"o/dh:t/h:latest@{DIGEST}", "o/dh", "t/h:latest", DIGEST),
        (f"o/dh:{DIGEST}", "o/dh", DIGEST, ""),
        ("o/dh:app@sha256:short", "o/dh", "app@sha256:short", ""),
        ("two.tar:team/app:1.4", "two.tar", "team/app:1.4", ""),
        ("with:colon", "with:colon", "", ""),
        ("with:colon:team/app:1", "with:colon", "team/app:1", ""),
        ("dated:1.tar:app", "dated:1.tar", "app", ""),
        ("none", "none", "", ""),
        ("none:app", "none", "app", ""),
        ("none.tar:team/app:1.4", "none.tar", "team/app:1.4", ""),
        ("empty:app", "empty", "app", ""),
        ("new:one", "new:one", "", ""),
        ("new:two", "new", "two", ""),
        ("o/dh:", "o/dh", "", ""),
        (":app", ":app", "", ""),
    ],
)
def test_where_the_path_ends(text: str, path: str, name: str, digest: str) -> None:
    found = Place.parse(text)
    assert (str(found.path), found.name, found.digest) == (path, name, digest)
    assert Place.parse(str(found)) == found


def test_a_path_is_relative_to_the_root_that_is_given(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    found = Place.parse("o/dh:t/h:latest", here)
    assert (found.path, found.name) == (here / "o/dh", "t/h:latest")
