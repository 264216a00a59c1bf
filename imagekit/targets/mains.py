"""Main packages found without the go command, by their package clauses. Touches disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from imagekit.errors import UsageError
from imagekit.targets.ports import PORTS

_MOST_FOLDERS = 50_000
_READ = 64 << 10
"""Bytes of a file in which its package clause has to come."""
_COMMENT = re.compile(r"\s+|//[^\n]*\n|/\*.*?\*/", re.DOTALL)
_CLAUSE = re.compile(r"package\s+main\b")
_CONSTRAINT = re.compile(r"//go:build\s+(.*)")
_TOKEN = re.compile(r"\s*(\|\||&&|[!()]|[\w.]+)")
_LONGEST_CONSTRAINT = 500
_MAYBE = frozenset({*PORTS, *(a for port in PORTS.values() for a in port), "unix", "cgo", "gc", "gccgo"})
"""Tags that one target has and another has not; all other tags count as not set."""


def find_main_packages(root: Path) -> tuple[str, ...]:
    """`./cmd/app` of every folder of the module at `root` that holds a program, sorted.

    Folders that `./...` leaves out (`vendor`, `testdata`, `_x`, `.x`, other modules) are left out. Raises `UsageError`
    over 50,000 folders.
    """
    found = (folder.relative_to(root).as_posix() for folder in _folders(root) if _holds_main(folder))
    return tuple(sorted("." if path == "." else f"./{path}" for path in found))


def _folders(root: Path) -> Iterator[Path]:
    count = 0
    for folder, below, files in os.walk(root):
        count += 1
        if count > _MOST_FOLDERS:
            raise UsageError(f"{root} has more than {_MOST_FOLDERS} folders", hint="name the main packages")
        if "go.mod" in files and Path(folder) != root:
            below.clear()
            continue
        below[:] = [n for n in below if n not in ("vendor", "testdata", "node_modules") and n[0] not in "._"]
        if any(name.endswith(".go") for name in files):
            yield Path(folder)


def _holds_main(folder: Path) -> bool:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    return any(
        _is_main(folder / name)
        for name in names
        if name.endswith(".go") and not name.endswith("_test.go") and name[0] not in "._"
    )


def _is_main(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            text = stream.read(_READ).decode("utf-8-sig", "replace")
    except OSError:
        return False
    position = 0
    while comment := _COMMENT.match(text, position):
        constraint = _CONSTRAINT.match(comment[0])
        if constraint and not may_hold(constraint[1]):
            return False
        position = comment.end()
    return _CLAUSE.match(text, position) is not None


def may_hold(constraint: str) -> bool:
    """Whether some target could satisfy a `//go:build` expression without tags of its own (`ignore` never)."""
    tokens = _TOKEN.findall(constraint.partition("//")[0])
    if len(tokens) > _LONGEST_CONSTRAINT:
        return True
    try:
        return _either(tokens) is not False
    except (IndexError, RecursionError):
        return True


def _either(tokens: list[str]) -> bool | None:
    """`a || b`; None is true on some targets. The tokens are taken from the front."""
    value = _both(tokens)
    while tokens and tokens[0] == "||":
        tokens.pop(0)
        other = _both(tokens)
        value = True if True in (value, other) else None if None in (value, other) else False
    return value


def _both(tokens: list[str]) -> bool | None:
    value = _one(tokens)
    while tokens and tokens[0] == "&&":
        tokens.pop(0)
        other = _one(tokens)
        value = False if False in (value, other) else None if None in (value, other) else True
    return value


def _one(tokens: list[str]) -> bool | None:
    word = tokens.pop(0)
    if word == "!":
        value = _one(tokens)
        return None if value is None else not value
    if word == "(":
        value = _either(tokens)
        tokens.pop(0)
        return value
    return None if word in _MAYBE or word.startswith("go1.") else False
