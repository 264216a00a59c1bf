"""Build constraints: what a Go file asks for in its header and name, and whether a target gives it.

The rules are go/build's (matchFile, goodOSArchFile, shouldBuild) and go/build/constraint's grammar. Touches disk in
`header_of`, which reads at most 256 KiB of a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import msgspec


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN_OS = _words(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris "
    "wasip1 windows zos"
)
KNOWN_ARCH = _words(
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ppc ppc64 "
    "ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm"
)
"""Past, present and future names (internal/syslist)."""
_UNIX = _words("aix android darwin dragonfly freebsd hurd illumos ios linux netbsd openbsd solaris")
_ALSO = {"android": "linux", "illumos": "solaris", "ios": "darwin"}
_LONGEST_HEADER = 1 << 18
"""A cgo preamble stands before `import "C"` and can be long."""
_DEEPEST = 100
_WORD = re.compile(r"\s*(&&|\|\||!|\(|\)|[\w.]+)")
_IMPORT_C = re.compile(r'^import\s+"C"|^import\s*\((?:(?!^\)).)*?^\s*"C"', re.MULTILINE | re.DOTALL)


class Tags(msgspec.Struct, frozen=True):
    """What is true of one target: OS, architecture, cgo, and every other tag that holds."""

    goos: str
    goarch: str
    cgo: bool
    given: frozenset[str] = frozenset()
    """Tags of the build, of the release (`go1.26`) and of the tools (`amd64.v1`, `goexperiment.…`)."""

    def holds(self, tag: str) -> bool:
        """go/build.Context.matchTag."""
        if tag in (self.goos, self.goarch, "gc", _ALSO.get(self.goos)) or (tag == "cgo" and self.cgo):
            return True
        if tag == "unix" and self.goos in _UNIX:
            return True
        return tag in self.given


class Header(msgspec.Struct, frozen=True):
    """What a file asks for: its `//go:build` expression (or its `// +build` lines as one), and whether it uses C."""

    expression: str = ""
    imports_c: bool = False


def header_of(path: Path) -> Header:
    """The header of a source file; an empty one where it cannot be read."""
    try:
        state = path.stat()
    except OSError:
        return Header()
    return _read_header(os.fspath(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1 << 14)
def _read_header(path: str, _changed: int, _size: int) -> Header:
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(_LONGEST_HEADER).decode(errors="replace")
    except OSError:
        return Header()
    return parse_header(text)


def parse_header(text: str) -> Header:
    """The constraints in the comments before `package`; the first `//go:build` wins over every `// +build`."""
    plus: list[str] = []
    expression = ""
    for line in _leading_lines(text):
        if not expression and (line == "//go:build" or line.startswith(("//go:build ", "//go:build\t"))):
            expression = line.removeprefix("//go:build").strip()
        elif line.startswith("//") and line[2:].lstrip().startswith("+build"):
            plus.append(_from_plus_build(line[2:].lstrip().removeprefix("+build")))
    return Header(expression or " && ".join(filter(None, plus)), _IMPORT_C.search(text) is not None)


def _leading_lines(text: str) -> list[str]:
    """The lines before the first that is neither blank nor part of a comment, block comments left out."""
    found: list[str] = []
    inside = False
    for raw in text.splitlines():
        line = raw.strip().removeprefix("\ufeff")
        if inside or line.startswith("/*"):
            inside = "*/" not in line
            continue
        if line and not line.startswith("//"):
            break
        found.append(line)
    return found


def _from_plus_build(rest: str) -> str:
    """`a,b c` is `(a && b) || c` (go/build/constraint, the old form)."""
    options = [" && ".join(option.split(",")) for option in rest.split()]
    if len(options) == 1:
        return options[0]
    return "(" + " || ".join(f"({option})" if "&&" in option else option for option in options) + ")" if options else ""


def evaluate(expression: str, holds: Callable[[str], bool]) -> bool:
    """Whether a constraint is true; an expression that is none counts as false, as Go refuses its file."""
    words = _WORD.findall(expression)
    if "".join(words) != re.sub(r"\s+", "", expression):
        return False
    try:
        value, rest = _either(words, 0, holds, 0)
    except (IndexError, ValueError):
        return False
    return value and rest == len(words)


def _either(words: list[str], at: int, holds: Callable[[str], bool], depth: int) -> tuple[bool, int]:
    value, at = _both(words, at, holds, depth)
    while at < len(words) and words[at] == "||":
        other, at = _both(words, at + 1, holds, depth)
        value = value or other
    return value, at


def _both(words: list[str], at: int, holds: Callable[[str], bool], depth: int) -> tuple[bool, int]:
    value, at = _one(words, at, holds, depth)
    while at < len(words) and words[at] == "&&":
        other, at = _one(words, at + 1, holds, depth)
        value = value and other
    return value, at


def _one(words: list[str], at: int, holds: Callable[[str], bool], depth: int) -> tuple[bool, int]:
    word = words[at]
    if depth > _DEEPEST or word in ("&&", "||", ")"):
        raise ValueError(word)
    if word == "!":
        value, at = _one(words, at + 1, holds, depth + 1)
        return not value, at
    if word != "(":
        return holds(word), at + 1
    value, at = _either(words, at + 1, holds, depth + 1)
    if words[at] != ")":
        raise ValueError(words[at])
    return value, at + 1


def name_constraint(name: str) -> str:
    """What a file name asks for: `linux && amd64` for `x_linux_amd64.go`, `windows` for `x_windows_test.go`."""
    stem = name.split(".", 1)[0]
    parts = stem.split("_")[1:]
    if parts and parts[-1] == "test":
        parts = parts[:-1]
    if len(parts) >= 2 and parts[-2] in KNOWN_OS and parts[-1] in KNOWN_ARCH:
        return f"{parts[-2]} && {parts[-1]}"
    return parts[-1] if parts and parts[-1] in KNOWN_OS | KNOWN_ARCH else ""


def constraint_of(path: Path) -> str:
    """Everything that a file asks for, for people: `//go:build linux && !cgo`, `_windows in its name`, `import "C"`."""
    header = header_of(path)
    by_name = name_constraint(path.name)
    said = (
        f"//go:build {header.expression}" if header.expression else "",
        f"file name: {by_name}" if by_name else "",
        'import "C"' if header.imports_c else "",
    )
    return "; ".join(filter(None, said))


def reason(path: Path, tags: Tags) -> str:
    """What of it these tags do not give, '' if they give it all: the first of file name, `//go:build`, `import "C"`."""
    by_name = name_constraint(path.name)
    if by_name and not evaluate(by_name, tags.holds):
        return f"file name: {by_name}"
    header = header_of(path)
    if header.expression and not evaluate(header.expression, tags.holds):
        return f"//go:build {header.expression}"
    return 'import "C" with CGO_ENABLED=0' if header.imports_c and not tags.cgo else ""
