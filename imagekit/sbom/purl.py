"""How other programs name a Go module: package URL (purl-spec, golang) and, for Go itself, CPE 2.3. Computes only."""

from __future__ import annotations

import re
from urllib.parse import quote

_GO_RELEASE = re.compile(r"go(\d+(?:\.\d+)*)((?:rc|beta)\d+)?(?=$|[ -])")


def module_purl(path: str, version: str, subpath: str = "") -> str:
    """`pkg:golang/example.org/Mod@v1.2.3%2Bincompatible#cmd/app`; '' for a path that no purl can spell.

    The case is kept, as Go and the vulnerability databases do, although the specification asks for lower case.
    """
    if not _spellable(path):
        return ""
    at = f"@{_quoted(version)}" if version else ""
    inside = f"#{_path(subpath)}" if subpath and _spellable(subpath) else ""
    return f"pkg:golang/{_path(path)}{at}{inside}"


def stdlib_purl(version: str) -> str:
    """`pkg:golang/stdlib@1.26.8`: the name and the spelling under which vulnerability databases know it."""
    return "pkg:golang/stdlib" + (f"@{_quoted(version)}" if version else "")


def pypi_purl(name: str, version: str) -> str:
    """`pkg:pypi/certifi@2026.10.18`."""
    return f"pkg:pypi/{_quoted(name.lower().replace('_', '-'))}@{_quoted(version)}"


def go_release(version: str) -> str:
    """`1.26.8` of `go1.26.8` or `go1.26.8 X:boringcrypto`; '' for a development version."""
    found = _GO_RELEASE.match(version)
    return "".join(filter(None, found.groups())) if found else ""


def go_cpe(version: str) -> str:
    """The CPE of the Go release, the one name here that nobody has to guess; '' for a development version."""
    found = _GO_RELEASE.match(version)
    return f"cpe:2.3:a:golang:go:{found[1]}:{found[2] or '*'}:*:*:*:*:*:*" if found else ""


def _spellable(path: str) -> bool:
    return all(part.strip(".") for part in path.split("/"))


def _path(path: str) -> str:
    return "/".join(_quoted(part) for part in path.split("/"))


def _quoted(text: str) -> str:
    return quote(text, safe="-._~", errors="backslashreplace")
