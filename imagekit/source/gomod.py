"""go.mod and go.work: which modules are required, replaced and used. Reads one file each.

The grammar is that of golang.org/x/mod/modfile, strict: what Go refuses is refused, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from imagekit.content import parse_json
from imagekit.errors import UnreadableError

LIMIT = 16 << 20
"""Bytes (golang.org/x/mod/zip MaxGoMod)."""
_DIRECTIVES = frozenset(
    ["module", "go", "toolchain", "godebug", "require", "exclude", "replace", "retract", "tool", "ignore", "use"]
)
_SKIPPED = frozenset(["godebug", "exclude", "retract", "ignore"])
_TOKEN = re.compile(
    r"""[ \t\r]+ | (?P<comment>//.*) | (?P<bad>/\*) | (?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)"""
    r"""| (?P<punctuation>[()\[\]{},]) | (?P<word>(?:(?!//|/\*)[^\s()\[\]{},])+)""",
    re.VERBOSE,
)


class Require(msgspec.Struct, frozen=True):
    """One `require` line."""

    path: str
    version: str
    indirect: bool = False


class Replace(msgspec.Struct, frozen=True):
    """One `replace` line; `version` '' replaces every version. `line` counts from 1."""

    path: str
    version: str
    new_path: str
    new_version: str
    line: int

    @property
    def local(self) -> bool:
        """Whether the replacement is a folder, which no checksum covers."""
        return is_directory(self.new_path)


class GoMod(msgspec.Struct, frozen=True):
    """A go.mod: `go` and `toolchain` are '' if they are not said."""

    path: Path
    module: str
    go: str = ""
    toolchain: str = ""
    requires: tuple[Require, ...] = ()
    replaces: tuple[Replace, ...] = ()
    tools: tuple[str, ...] = ()


class GoWork(msgspec.Struct, frozen=True):
    """A go.work: `uses` as they are written, relative to its folder."""

    path: Path
    go: str = ""
    toolchain: str = ""
    uses: tuple[str, ...] = ()
    replaces: tuple[Replace, ...] = ()

    @property
    def folders(self) -> tuple[Path, ...]:
        """The module folders, in the order of the file."""
        return tuple((self.path.parent / use).resolve() for use in self.uses)


class _Line(msgspec.Struct, frozen=True):
    verb: str
    arguments: tuple[str, ...]
    number: int
    comment: str


def read_mod(path: Path) -> GoMod:
    """The go.mod at `path`; raise `UnreadableError` with file and line for what Go would refuse."""
    lines = _read(path)
    return GoMod(
        path=path,
        module=_single(lines, "module", path),
        go=_single(lines, "go", path),
        toolchain=_single(lines, "toolchain", path),
        requires=tuple(_require(line, path) for line in lines if line.verb == "require"),
        replaces=tuple(_replace(line, path) for line in lines if line.verb == "replace"),
        tools=tuple(_only(line, path) for line in lines if line.verb == "tool"),
    )


def read_work(path: Path) -> GoWork:
    """The go.work at `path`; raise `UnreadableError` with file and line for what Go would refuse."""
    lines = _read(path)
    return GoWork(
        path=path,
        go=_single(lines, "go", path),
        toolchain=_single(lines, "toolchain", path),
        uses=tuple(_only(line, path) for line in lines if line.verb == "use"),
        replaces=tuple(_replace(line, path) for line in lines if line.verb == "replace"),
    )


def is_directory(path: str) -> bool:
    """Whether the target of a replacement is a folder (modfile.IsDirectoryPath)."""
    return path in (".", "..") or bool(re.match(r"\.{0,2}[/\\]|[A-Za-z]:", path))


def quote(text: str) -> str:
    """`text` as one token of these files."""
    plain = re.fullmatch(r"[^\s()\[\]{},\"'`]+", text) and "//" not in text and "/*" not in text
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(path: Path) -> list[_Line]:
    try:
        with path.open("rb") as stream:
            content = stream.read(LIMIT + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}", hint="is this the folder of a Go module?") from error
    except UnicodeDecodeError:
        raise UnreadableError(f"{path} is not UTF-8") from None
    if len(content) > LIMIT:
        raise UnreadableError(f"{path} is larger than {LIMIT} bytes, which Go refuses too")
    return list(_lines(text, path))


def _lines(text: str, path: Path) -> Iterator[_Line]:
    """Every directive, those of a block with the block's verb."""
    block, opened = "", 0
    for number, raw in enumerate(text.split("\n"), 1):
        tokens, comment = _tokens(raw, f"{path}:{number}")
        if not tokens:
            continue
        if block and tokens == [")"]:
            block = ""
        elif not block and len(tokens) in (2, 3) and tokens[1:] in (["("], ["(", ")"]):
            _known(tokens[0], f"{path}:{number}")
            block, opened = (tokens[0], number) if len(tokens) == 2 else ("", 0)
        else:
            verb, arguments = (block, tokens) if block else (tokens[0], tokens[1:])
            _known(verb, f"{path}:{number}")
            words = arguments if verb in _SKIPPED else [_unquoted(word, f"{path}:{number}") for word in arguments]
            yield _Line(verb, tuple(words), number, comment)
    if block:
        raise UnreadableError(f"{path}:{opened}: the block of {block} is not closed", hint="add the line `)`")


def _known(verb: str, where: str) -> None:
    if verb not in _DIRECTIVES:
        raise UnreadableError(
            f"{where}: {verb!r} is no directive", hint="a merge conflict? `go mod edit -fmt` says more"
        )


def _tokens(line: str, where: str) -> tuple[list[str], str]:
    """The tokens of one line, strings with their quotes, and its comment."""
    tokens: list[str] = []
    at = 0
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match is None or match["bad"]:
            raise UnreadableError(f"{where}: {line[at:][:40]!r} is not understood", hint="comments begin with //")
        if match["comment"]:
            return tokens, match["comment"]
        if match.lastgroup:
            tokens.append(match.group())
        at = match.end()
    return tokens, ""


def _unquoted(token: str, where: str) -> str:
    if token.startswith("`"):
        return token[1:-1]
    if token.startswith('"'):
        try:
            return str(parse_json(token.encode(), str))
        except msgspec.DecodeError:
            raise UnreadableError(f"{where}: {token} is not a quoted string") from None
    if any(c in token for c in "\"'`"):
        raise UnreadableError(f"{where}: {token} has a quote inside", hint='quote the whole: "…"')
    return token


def _single(lines: list[_Line], verb: str, path: Path) -> str:
    found = [line for line in lines if line.verb == verb]
    if len(found) > 1:
        raise UnreadableError(f"{path}:{found[1].number}: {verb} stands twice", hint=f"keep one {verb} line")
    return _only(found[0], path) if found else ""


def _only(line: _Line, path: Path) -> str:
    if len(line.arguments) != 1:
        raise UnreadableError(f"{path}:{line.number}: {line.verb} has one argument, here are {len(line.arguments)}")
    return line.arguments[0]


def _require(line: _Line, path: Path) -> Require:
    if len(line.arguments) != 2:
        raise UnreadableError(f"{path}:{line.number}: write `require module/path v1.2.3`")
    words = line.comment.removeprefix("//").strip()
    return Require(*line.arguments, indirect=words == "indirect" or words.startswith("indirect;"))


def _replace(line: _Line, path: Path) -> Replace:
    words = line.arguments
    arrow = words.index("=>") if "=>" in words else 0
    left, right = words[:arrow], words[arrow + 1 :]
    if arrow not in (1, 2) or len(right) not in (1, 2) or (len(right) == 1) != is_directory(right[0]):
        raise UnreadableError(
            f"{path}:{line.number}: a replacement is `module [v1.2.3] => other/module v1.4.0` or `=> ../folder`"
        )
    return Replace(left[0], left[1] if arrow == 2 else "", right[0], right[1] if len(right) == 2 else "", line.number)
