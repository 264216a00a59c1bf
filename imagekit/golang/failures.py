"""What a failed `go build` says, as values: a rule can name the file that would have declared what is missing.

No I/O in `read_problems`; `declaring_excluded_file` reads the excluded files of a few packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from imagekit.errors import ToolError
from imagekit.golang.constraints import reason
from imagekit.golang.packages import Package, Packages
from imagekit.text import plain

_SHOWN = 12
_CONSTRAINTS = re.compile(
    r"^(?:package |\t+imports )?(?P<package>[^\s:]+): build constraints exclude all Go files in (?P<where>.+)$"
)
_PACKAGE = re.compile(r"^# (?P<package>\S+)(?: \[.*\])?$")
_POSITION = re.compile(r"^(?P<position>[^:\s][^:]*:\d+(?::\d+)?): (?P<message>.+)$")
_UNDEFINED = re.compile(r"^undefined: (?P<identifier>[\w.]+)$")
_NO_MEMBER = re.compile(r"undefined \(type \*?(?P<type>[\w.]+) has no field or method (?P<member>\w+)")
_LARGEST_SOURCE = 4 << 20


class Kind(StrEnum):
    """`constraints`: no file of a package is selected; `undefined`: a name that no selected file declares."""

    CONSTRAINTS = "constraints"
    UNDEFINED = "undefined"
    OTHER = "other"


class Problem(msgspec.Struct, frozen=True):
    """One thing that stops a compile. `position`: `file:line:column` as Go prints it; `constraints`: the folder."""

    kind: Kind
    package: str
    message: str
    identifier: str = ""
    position: str = ""


class CompileFailure(ToolError):
    """`go build` refused a target; `problems` in Go's order, `stderr` all that it wrote."""

    def __init__(
        self, message: str, *, target: str, problems: tuple[Problem, ...], stderr: str, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.target = target
        self.problems = problems
        self.stderr = stderr


def failure(target: str, stderr: bytes, hint: str = "") -> CompileFailure:
    """The error for a failed build: the target, Go's first lines (escaped), and the problems it could read in them."""
    text = stderr.decode(errors="replace").strip()
    shown = plain("\n".join(text.splitlines()[:_SHOWN])) or "go build ended without a word"
    return CompileFailure(
        f"{target} does not compile:\n{shown}",
        target=target,
        problems=tuple(read_problems(text)),
        stderr=text,
        hint=hint or "the lines above are the compiler's",
    )


def read_problems(text: str) -> Iterator[Problem]:
    """The problems in the text of a failed build, in its order; lines that are none are passed over."""
    package = ""
    for line in text.splitlines():
        if header := _PACKAGE.match(line):
            package = header["package"]
        elif excluded := _CONSTRAINTS.match(line):
            yield Problem(Kind.CONSTRAINTS, excluded["package"], line.strip(), position=excluded["where"])
        elif at := _POSITION.match(line):
            yield _problem(package, at["position"], at["message"])


def _problem(package: str, position: str, message: str) -> Problem:
    if found := _CONSTRAINTS.match(message):  # an import in a file: `main.go:3:8: build constraints exclude …`
        return Problem(Kind.CONSTRAINTS, found["package"], message, position=position)
    if message.startswith("build constraints exclude all Go files in "):
        return Problem(Kind.CONSTRAINTS, package, message, position=position)
    if found := _UNDEFINED.match(message):
        return Problem(Kind.UNDEFINED, package, message, found["identifier"], position)
    if found := _NO_MEMBER.search(message):
        return Problem(Kind.UNDEFINED, package, message, f"{found['type']}.{found['member']}", position)
    return Problem(Kind.OTHER, package, message, position=position)


def declaring_excluded_file(packages: Packages, package: str, identifier: str) -> tuple[Path, str] | None:
    """The excluded file that declares `identifier` of `package`, and the constraint that kept it out; None if no one.

    `identifier` as in a `Problem`: a name of the package itself, `other.Name` of one it imports, or `Type.member`.
    A file that cgo alone would bring in goes before the others, then Go's order; test files do not count.
    """
    failing = packages.by_path.get(package)
    qualifier, _, name = identifier.rpartition(".")
    if failing is None or not name:
        return None
    with_cgo = msgspec.structs.replace(packages.tags, cgo=True)
    found: tuple[Path, str] | None = None
    for candidate in _candidates(packages, failing, qualifier):
        for path, constraint in _declaring(packages, candidate, name, qualifier):
            if not reason(path, with_cgo):
                return path, constraint
            found = found or (path, constraint)
    return found


def _declaring(packages: Packages, package: Package, name: str, qualifier: str) -> Iterator[tuple[Path, str]]:
    for excluded in packages.excluded(package):
        path = package.directory / excluded.name
        if not excluded.name.endswith("_test.go") and declares(path, name, qualifier.rpartition(".")[2]):
            yield path, excluded.constraint


def _candidates(packages: Packages, failing: Package, qualifier: str) -> Iterator[Package]:
    """The packages that the name can belong to: those imported under the qualifier, then the failing one."""
    for path in failing.imports if qualifier else ():
        imported = packages.by_path.get(path)
        if imported and (
            imported.name == qualifier.partition(".")[0] or path.rpartition("/")[2] == qualifier.partition(".")[0]
        ):
            yield imported
    yield failing


def declares(path: Path, name: str, type_name: str = "") -> bool:
    """Whether a Go file declares `name` at its top level, or as a method or field of `type_name`.

    Reads at most 4 MiB. A reader of lines, not of Go: a declaration inside a raw string would count.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST_SOURCE).decode(errors="replace")
    except OSError:
        return False
    word = re.escape(name)
    if re.search(rf"^(func|type|var|const)\s+{word}\b", text, re.MULTILINE) or _in_block(text, word):
        return True
    receiver = rf"^func\s*\(\s*(\w+\s+)?\*?{re.escape(type_name)}(\[[^\]]*\])?\s*\)\s*{word}\b"
    return bool(type_name) and re.search(receiver, text, re.MULTILINE) is not None


def _in_block(text: str, word: str) -> bool:
    """Whether a parenthesized `var`, `const` or `type` block begins a line with the name (gofmt: one tab deep)."""
    block = re.compile(r"^(?:var|const|type)\s*\((.*?)^\)", re.MULTILINE | re.DOTALL)
    entry = re.compile(rf"^\s+(?:\w+\s*,\s*)*{word}\b", re.MULTILINE)
    return any(entry.search(body) for body in block.findall(text))
