"""How a mistake in a document is told: `file:line:column`, the line, a caret, the way out; credentials are starred."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from imagekit.errors import ConfigError
from imagekit.loading.credentials import redacted
from imagekit.text import line as one_line

NOWHERE = -1
"""The line of what no file holds."""
_MOST_SHOWN = 50
_WIDTH = 100
"""Characters of a long line that are shown around the caret."""


class Mistake(msgspec.Struct, frozen=True, order=True):
    """Something wrong in a document; line and column count from 0, `shown` is the line."""

    line: int
    column: int
    message: str
    hint: str = ""
    shown: str = ""


def refusal(name: str, mistakes: Sequence[Mistake]) -> ConfigError:
    """One error for all mistakes, in the order of the file; its first line stands for the whole."""
    ordered = sorted(set(mistakes))
    shown = [_told(name, mistake) for mistake in ordered[:_MOST_SHOWN]]
    if len(ordered) == 1:
        return ConfigError(shown[0], hint=redacted(ordered[0].hint))
    place = "" if ordered[0].line == NOWHERE else f", the first in line {ordered[0].line + 1}"
    heading = f"{name}: {len(ordered)} mistakes{place}"
    if len(ordered) > _MOST_SHOWN:
        shown.append(f"… and {len(ordered) - _MOST_SHOWN} more")
    return ConfigError("\n".join([heading, *shown]), hint="correct the lines above")


def _told(name: str, mistake: Mistake) -> str:
    """`file:line:column: message`, the line with a caret under the column, and the way out."""
    number = str(mistake.line + 1)
    margin = " " * len(number)
    place = "" if mistake.line == NOWHERE else f":{number}:{mistake.column + 1}"
    told = [f"{one_line(name)}{place}: {one_line(redacted(mistake.message))}"]
    if mistake.shown.strip():
        before, after = _window(redacted(mistake.shown), mistake.column)
        told += [f"  {number} | {before}{after}", f"  {margin} | {' ' * len(before)}^"]
    if mistake.hint:
        told.append(f"  {margin} = {one_line(redacted(mistake.hint))}")
    return "\n".join(told)


def _window(text: str, column: int) -> tuple[str, str]:
    """What is shown before the caret and from it on, escaped; a long line is cut on both sides."""
    start = max(0, column - _WIDTH // 2)
    before = ("…" if start else "") + one_line(text[start:column])
    after = one_line(text[column : start + _WIDTH])
    return before, after + ("…" if len(text) > start + _WIDTH else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: `did you mean 'flags'?`, or all that is known if nothing is near."""
    from difflib import get_close_matches

    names = [str(name) for name in known]
    close = get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(names)}"
