"""Prove that each `-X` value stands in the variable it was meant for. Reads the built file, and links a second one.

The linker says nothing when a name is wrong. The variable is found by its symbol; a stripped file has none, so the
address comes from a second link without `-s -w` and is read in the file that ships (the addresses are the same).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from imagekit.audit.subject import XCheck, XOutcome
from imagekit.binary.variables import string_at, string_variable
from imagekit.errors import FormatError
from imagekit.golang.arguments import keeps_symbols
from imagekit.golang.artifact import Artifact
from imagekit.golang.packages import Package, Packages
from imagekit.targets.target import XValue

Twin = Callable[[], Artifact]
"""Links the same program without `-s -w`."""

_LARGEST_SOURCE = 4 << 20
_VAR_BLOCK = re.compile(r"^var\s*\((.*?)^\)", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`|//.*$')
"""String literals and comments: what is left of an expression without them is code."""


class Checked(msgspec.Struct, frozen=True):
    """The outcome for one `-X` value, and the address of its variable, None if it has none."""

    check: XCheck
    address: int | None = None


def check_values(artifact: Artifact, twin: Twin, packages: Packages) -> tuple[Checked, ...]:
    """One outcome for each `-X` value of the target, in its order."""
    values = artifact.target.ldflags.values
    if not values:
        return ()
    known = artifact.path if keeps_symbols(artifact.target) else twin().path
    return tuple(_check(value, artifact.path, known, packages) for value in values)


def check_again(artifact: Artifact, known: tuple[Checked, ...]) -> tuple[Checked, ...]:
    """The same, where the addresses are known already and the source is not at hand."""
    return tuple(
        one if one.address is None else _at(XValue(one.check.name, one.check.value), artifact.path, one.address)
        for one in known
    )


def _check(value: XValue, shipped: Path, known: Path, packages: Packages) -> Checked:
    try:
        variable = string_variable(known, value.name)
    except FormatError:  # the symbol is there and is no string: a function, a number
        return Checked(_outcome(value, XOutcome.MISSING))
    if variable is None:
        return Checked(_absent(value, packages))
    if any(_is_computed(package, value) for package in _meant(value, packages)):
        return Checked(_outcome(value, XOutcome.WRONG, found="what its initializer computes at the start"))
    return _at(value, shipped, variable.address)


def _at(value: XValue, shipped: Path, address: int) -> Checked:
    try:
        found = string_at(shipped, address)
    except FormatError:
        found = None
    if found is None:
        return Checked(_outcome(value, XOutcome.UNCHECKED, reason="its address holds no string in the file"), address)
    return Checked(_outcome(value, XOutcome.PRESENT if found == value.value else XOutcome.WRONG, found=found), address)


def _outcome(value: XValue, outcome: XOutcome, *, found: str = "", reason: str = "") -> XCheck:
    return XCheck(name=value.name, value=value.value, outcome=outcome, found=found, reason=reason)


def _absent(value: XValue, packages: Packages) -> XCheck:
    """A variable that the source declares was dropped by the linker; any other never was."""
    name = value.name.rpartition(".")[2]
    declared = any(_declares(package, name) for package in _meant(value, packages))
    return _outcome(value, XOutcome.DROPPED if declared else XOutcome.MISSING)


def _meant(value: XValue, packages: Packages) -> Iterator[Package]:
    path = value.name.rpartition(".")[0]
    if path == "main":
        yield from (package for package in packages.roots if package.name == "main")
    elif path in packages.by_path and packages.by_path[path].name != "main":
        yield packages.by_path[path]


def _declares(package: Package, name: str) -> bool:
    """Whether a selected file declares a string variable of that name at package level, as gofmt writes it."""
    alone = re.compile(rf"^var\s+(?:\w+\s*,\s*)*{re.escape(name)}\b(?!\s+(?!string\b|=)\w)", re.MULTILINE)
    inside = re.compile(rf"^\t(?:\w+\s*,\s*)*{re.escape(name)}\b(?!\s+(?!string\b|=)\w)", re.MULTILINE)
    for file in package.go_files:
        text = _text(package.directory / file)
        blocks = _VAR_BLOCK.findall(text)
        if alone.search(text) or any(inside.search(block) for block in blocks):
            return True
    return False


def _is_computed(package: Package, value: XValue) -> bool:
    """Whether its declaration calls a function, whose result replaces the linker's value when the program starts."""
    name = re.escape(value.name.rpartition(".")[2])
    alone = re.compile(rf"^var\s+{name}(?:\s+string)?\s*=\s*(.+)$", re.MULTILINE)
    inside = re.compile(rf"^\t{name}(?:\s+string)?\s*=\s*(.+)$", re.MULTILINE)
    for file in package.go_files:
        text = _text(package.directory / file)
        blocks = _VAR_BLOCK.findall(text)
        for expression in [*alone.findall(text), *(found for block in blocks for found in inside.findall(block))]:
            if "(" in _QUOTED.sub("", expression):
                return True
    return False


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST_SOURCE).decode(errors="replace")
    except OSError:
        return ""
