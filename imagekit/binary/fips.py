"""Which validated cryptography a Go program was built to use (go.dev/doc/security/fips140)."""

from __future__ import annotations

import re

from imagekit.binary.facts import Evidence
from imagekit.binary.gocode import GoCode
from imagekit.binary.gonames import Found

_BORING = re.compile(r"\bX:(?:\S*,)?(boringcrypto|systemcrypto|opensslcrypto|cngcrypto)\b")
_GODEBUG = re.compile(r"(?:^|,)(fips140=(?:on|only|debug))(?:,|$)")


def mode(code: GoCode, marks: Found) -> tuple[str, Evidence] | None:
    """`GOFIPS140=…`, `fips140=on` (switched on without a frozen module), `boringcrypto`; None where nothing says so.

    Build info first, then the names of what was linked in.
    """
    frozen = code.setting("GOFIPS140")
    if frozen and frozen != "off":
        return _built(code, f"GOFIPS140={frozen}")
    experiment = _BORING.search(code.build.version) if code.build else None
    if experiment or "boringcrypto" in code.setting("GOEXPERIMENT").split(","):
        return _built(code, experiment[1] if experiment else "boringcrypto")
    if switched := _GODEBUG.search(code.setting("DefaultGODEBUG")):
        return _built(code, switched[1])
    return next(iter(marks.items()), None)


def _built(code: GoCode, value: str) -> tuple[str, Evidence]:
    return value, Evidence("build info", code.build_offset, value)
