"""Why two programs differ, in sentences, read off all that was found to differ. Computes only."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imagekit.audit.comparing.difference import Difference, Spot

_STRIPPED = ("hardening: debug", "hardening: symbols", "hardening: stripped")
_DERIVED = ("build id", "hash of", "where ", "machine code", "checksum", "addresses", "symbols", "which file", "names")
_SILENT = ("padding", "debug information", "how to unwind", "bytes that no header", "Go's build info")
"""What differs because something else does, and what is told elsewhere."""
_ONLY_SIZES = re.compile(r"\d+ bytes against \d+")
_WITHOUT_A_REASON = "other code or data; nothing in the files says what it was made of"


def _tells(spot: Spot) -> bool:
    """Whether the meaning of a part's bytes is a reason by itself."""
    meaning = spot.why.partition("; ")[0]
    kind = meaning.partition(": ")[0]
    known = any(word in kind for word in (*_DERIVED, *_SILENT))
    return bool(meaning) and not known and not _ONLY_SIZES.fullmatch(meaning)


def reasons(found: Difference) -> tuple[str, ...]:
    """What two programs differ in, in sentences, the most telling first; never ()."""
    return tuple(_reasons(found)) or (_WITHOUT_A_REASON,)


def _reasons(found: Difference) -> Iterator[str]:
    """The inputs that differ as far as the file says; else what the first differing bytes are."""
    by_name = {change.name.rpartition("/")[2]: change for change in found.facts}
    for name, words in (("platform", "another platform"), ("go version", "another Go"), ("linkage", "another linkage")):
        if change := by_name.get(name):
            yield f"{words}: {change.one or 'none'} against {change.other or 'none'}"
    stamp = [change.name for change in found.settings if change.name.startswith("vcs")]
    if stamp:
        yield f"another VCS stamp: {', '.join(stamp)}"
    rest = [change.name for change in found.settings if not change.name.startswith("vcs")]
    if rest:
        yield f"other build settings: {', '.join(rest)}"
    if found.modules:
        names = [change.name for change in found.modules]
        yield f"other modules: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if any(name in by_name for name in _STRIPPED):
        yield "symbols or debug information in only one of them"
    telling = [spot for spot in found.bytes if _tells(spot)]
    yield from dict.fromkeys(f"{spot.where}: {spot.why}" for spot in telling[:3])
    if found.bytes and all("hash of" in spot.why for spot in found.bytes):
        yield "only hashes of the build differ: it was made of other inputs, which left no other trace"
