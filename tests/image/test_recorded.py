"""A package that was changed after its installation is named."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from imagekit.image import recorded

BUNDLE = b"-----BEGIN CERTIFICATE-----"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as pip installs it: its files, and their digests in RECORD."""
    (tmp_path / "anchors").mkdir()
    (tmp_path / "anchors/__init__.py").write_bytes(b"")
    (tmp_path / "anchors/cacert.pem").write_bytes(BUNDLE)
    digest = base64.urlsafe_b64encode(hashlib.sha256(BUNDLE).digest()).rstrip(b"=").decode()
    (tmp_path / "anchors-1.0.dist-info").mkdir()
    (tmp_path / "anchors-1.0.dist-info/RECORD").write_text(
        f"anchors/__init__.py,sha256=AAAA,0\nanchors/cacert.pem,sha256={digest},{len(BUNDLE)}\nanchors/x.pyc,,\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(recorded.PACKAGES, "anchors", "anchors/")
    return tmp_path / "anchors/cacert.pem"


def test_a_package_as_it_was_installed_is_silent(installed: Path) -> None:
    assert recorded.altered("anchors") == ""


def test_a_changed_file_is_named_with_both_digests(installed: Path) -> None:
    installed.write_bytes(BUNDLE + b"one more")
    said = recorded.altered("anchors")
    assert said.startswith(f"{installed} was changed after it was installed (sha256 ")
    assert hashlib.sha256(BUNDLE).hexdigest()[:12] in said
    assert "pip install --force-reinstall anchors" in said


def test_a_missing_file_is_named(installed: Path) -> None:
    installed.unlink()
    assert "sha256 missing" in recorded.altered("anchors")


def test_a_package_without_a_record_says_nothing(installed: Path) -> None:
    (installed.parents[1] / "anchors-1.0.dist-info/RECORD").unlink()
    assert recorded.altered("anchors") == ""


def test_the_time_zones_are_as_they_were_installed() -> None:
    assert recorded.altered("tzdata") == ""
