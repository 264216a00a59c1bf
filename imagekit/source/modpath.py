"""Module paths and versions: what is one, how it is escaped, which patterns cover it. Computes only.

The rules are those of golang.org/x/mod/module, so that imagekit and Go mean the same module.
"""

from __future__ import annotations

import re
from functools import lru_cache

from imagekit.errors import UnreadableError

_MODULE_ELEMENT = re.compile(r"[A-Za-z0-9._~-]+")
_IMPORT_ELEMENT = re.compile(r"[A-Za-z0-9._~+-]+")
_FIRST_ELEMENT = re.compile(r"[a-z0-9.-]+")
_FILE_PUNCTUATION = frozenset("!#$%&()+,-.=@[]^_{}~ ")
_WINDOWS_NAMES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)
_VERSION = re.compile(
    r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(\+incompatible)?",
    re.ASCII,
)


def is_version(text: str) -> bool:
    """Whether `text` is one fixed, canonical version (`v1.2.3`, a pseudo-version, `v2.0.0+incompatible`)."""
    return len(text) < 256 and _VERSION.fullmatch(text) is not None


def version_key(version: str) -> tuple[object, ...]:
    """Sorts versions as semver orders them; raise `ValueError` if it is none."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"{version!r} is not a semantic version")
    major, minor, patch, pre, _ = match.groups()
    identifiers = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in (pre or "")[1:].split(".") if p)
    return (int(major), int(minor), int(patch), pre is None, identifiers)


def check_module(path: str) -> None:
    """Raise `UnreadableError` unless `path` is a module path (module.CheckPath)."""
    elements = path.split("/")
    first = elements[0]
    if "." not in first or not _FIRST_ELEMENT.fullmatch(first) or path.startswith("-"):
        raise UnreadableError(f"{path!r} is not a module path: its first element must be a lower-case domain name")
    for element in elements:
        if not _MODULE_ELEMENT.fullmatch(element) or element.startswith("."):
            raise UnreadableError(f"{path!r} is not a module path: {element!r} cannot be an element of it")
        _check_element(path, element)


def is_import_path(path: str) -> bool:
    """Whether `path` can be a package's import path (module.CheckImportPath, Windows short names aside)."""
    return not path.startswith("-") and all(
        _IMPORT_ELEMENT.fullmatch(element) and element.strip(".") and not element.endswith(".")
        for element in path.split("/")
    )


def check_file(path: str) -> None:
    """Raise `UnreadableError` unless `path` may name a file inside a module zip (module.CheckFilePath)."""
    for element in path.split("/"):
        if not all(_may_name_file(c) for c in element):
            raise UnreadableError(f"{path!r} is no file name of a module: {element!r} has a character that is refused")
        _check_element(path, element)


def _may_name_file(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _FILE_PUNCTUATION
    return character.isalpha()


def _check_element(path: str, element: str) -> None:
    if not element or not element.strip(".") or element.endswith("."):
        raise UnreadableError(f"{path!r}: {element!r} cannot be an element of a path")
    if element.partition(".")[0].lower() in _WINDOWS_NAMES:
        raise UnreadableError(f"{path!r}: {element!r} is a device on Windows")


def escape(text: str) -> str:
    """`text` as it stands in proxy URLs and in the module cache: each upper-case letter as `!` and its lower case."""
    if "!" in text or not text.isascii():
        raise UnreadableError(f"{text!r} cannot stand in a module path or version")
    return re.sub("[A-Z]", lambda match: "!" + match.group().lower(), text)


def escape_module(module: str, version: str) -> str:
    """`module@version`, both checked and escaped: what a checksum database is asked for."""
    check_module(module)
    if "/" in version:
        raise UnreadableError(f"{version!r} is not a version")
    check_file(version)
    return f"{escape(module)}@{escape(version)}"


def covered(patterns: str, module: str) -> bool:
    """Whether a glob of the comma-separated list matches a path prefix of `module` (module.MatchPrefixPatterns).

    Empty and malformed globs match nothing, trailing slashes are ignored.
    """
    elements = module.split("/")
    for pattern in patterns.split(","):
        glob = pattern.removesuffix("/")
        expression = glob_pattern(glob) if glob else None
        depth = glob.count("/") + 1
        if expression is not None and len(elements) >= depth and expression.fullmatch("/".join(elements[:depth])):
            return True
    return False


@lru_cache(maxsize=256)
def glob_pattern(glob: str) -> re.Pattern[str] | None:
    """Go's path.Match as a regular expression to be matched in full; None for a malformed pattern."""
    out, at = [], 0
    while at < len(glob):
        character = glob[at]
        at += 1
        if character == "*":
            out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            group = _character_class(glob, at)
            if group is None:
                return None
            text, at = group
            out.append(text)
        elif character == "\\":
            if at == len(glob):
                return None
            out.append(re.escape(glob[at]))
            at += 1
        else:
            out.append(re.escape(character))
    return re.compile("".join(out), re.DOTALL)


def _character_class(glob: str, at: int) -> tuple[str, int] | None:
    """`[a-z]` or `[^a-z]` from after the bracket: its regular expression and where it ends."""
    negated = glob.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while True:
        if ranges and glob.startswith("]", at):
            return f"(?!/)[{'^' if negated else ''}{''.join(ranges)}]", at + 1
        low = _class_character(glob, at)
        if low is None:
            return None
        high = _class_character(glob, low[1] + 1) if glob.startswith("-", low[1]) else low
        if high is None:
            return None
        if low[0] <= high[0]:
            ranges.append(f"{re.escape(low[0])}-{re.escape(high[0])}")
        else:
            ranges.append("/")  # an empty range: only what can never match here
        at = high[1]


def _class_character(glob: str, at: int) -> tuple[str, int] | None:
    if at >= len(glob) or glob[at] in "-]":
        return None
    if glob[at] == "\\":
        at += 1
        if at >= len(glob):
            return None
    return (glob[at], at + 1) if at + 1 < len(glob) else None
