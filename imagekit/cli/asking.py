"""Words of the command line that stand for values; a wrong one is a `UsageError` that lists the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagekit.errors import UsageError

if TYPE_CHECKING:
    from imagekit.audit.finding import Severity


def choice(option: str, given: str, known: Sequence[str]) -> str:
    """`given`, if it is one of `known`."""
    if given not in known:
        raise UsageError(f"{option} {given!r} is not one of {', '.join(known)}", hint=f"write {option} {known[0]}")
    return given


def severity(word: str) -> Severity:
    """What `--fail-on` says."""
    from imagekit.audit.finding import Severity

    return Severity.parse(choice("--fail-on", word, [one.word for one in reversed(Severity)]))
