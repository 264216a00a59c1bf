"""What the constant pieces are made from decides whether dist/ is still what would be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagekit.image import rootfs


def test_another_bundle_is_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = rootfs.sources_digest()
    assert rootfs.sources_digest() == before
    (tmp_path / "cacert.pem").write_text("another")
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "cacert.pem"))
    assert rootfs.sources_digest() != before
