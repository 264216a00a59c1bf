"""Whether the packages that constant layers are made from are as their wheels were: compared with pip's RECORD.

Touches disk. An environment may change files after installation (a company adds its own CA to certifi's bundle); the
layer then differs from everyone else's, and trusts more. RECORD is specified in
packaging.python.org/specifications/recording-installed-packages.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from imagekit.content import hash_file, hex_of

PACKAGES = {"certifi": "certifi/cacert.pem", "tzdata": "tzdata/zoneinfo/"}
"""Which files of a package reach an image."""


def altered(package: str) -> str:
    """One sentence that names a file of `package` that is not what was installed; '' if all are, or nothing says so."""
    for path, recorded in _recorded(package):
        try:
            found = hex_of(hash_file(path)[0])
        except OSError:
            found = "missing"
        if found != recorded:
            return (
                f"{path} was changed after it was installed (sha256 {found[:12]}, its wheel's is {recorded[:12]}), so "
                f"layers made from it differ from a clean installation's; pip install --force-reinstall {package}"
            )
    return ""


def _recorded(package: str) -> Iterator[tuple[Path, str]]:
    """The package's files that reach an image, each with the SHA-256 in hex that its wheel gave it."""
    spec = find_spec(package)
    for place in (spec.submodule_search_locations if spec else None) or ():
        site = Path(place).parent
        for record in sorted(site.glob(f"{package}-*.dist-info/RECORD")):
            with record.open(encoding="utf-8", newline="") as stream:
                rows = [row for row in csv.reader(stream) if len(row) == 3 and row[1].startswith("sha256=")]
            for inside, digest, _ in rows:
                if inside.startswith(PACKAGES[package]) and not inside.endswith((".py", ".pyc")):
                    yield site / inside, _hex(digest.removeprefix("sha256="))


def _hex(text: str) -> str:
    """URL-safe base64 without padding, as RECORD spells a digest."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
