"""What the second build is made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imagekit.errors import UnreadableError
from imagekit.pipeline.repeating import copy_source


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read every file, so what others are told is raised here."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "database").write_text("")

    def refused(path: str, _: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(shutil, "copy", refused)
    with pytest.raises(UnreadableError, match=r"cannot be copied for a second build: .*/source/database: .*denied"):
        copy_source(source, tmp_path / "copy", tmp_path / "dist")
