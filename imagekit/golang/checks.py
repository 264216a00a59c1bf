"""`checks:` gofmt, vet and staticcheck, run before anything is compiled; generated files are nobody's fault.

Touches disk; starts the tools in the environment that compiles.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import prepared
from imagekit.errors import ToolError
from imagekit.golang.arguments import mod_mode, selecting
from imagekit.golang.environments import compile_environment
from imagekit.golang.settings import GoSettings
from imagekit.golang.toolchain import Toolchain, beside
from imagekit.processes import Completed, run
from imagekit.targets.target import Target
from imagekit.text import line, plain

_GENERATED = re.compile(rb"^// Code generated .* DO NOT EDIT\.\r?$", re.MULTILINE)
_PACKAGE_CLAUSE = re.compile(rb"^package\s", re.MULTILINE)
_LARGEST_SOURCE = 8 << 20
_AT_ONCE = 200
"""Files a gofmt call gets: far below the 128 KiB that any kernel takes as arguments."""
_DIFF = re.compile(r"^diff (?P<file>.+)\.orig (?P=file)$")
_HUNK = re.compile(r"^@@ -(?P<line>\d+)(?:,(?P<count>\d+))? ")
_POSITION = re.compile(r"^(?:vet: )?(?P<file>[^\s:][^:]*\.\w+):(?P<line>\d+)(?::\d+)?: (?P<message>.+)$")


class Check(StrEnum):
    """What can run over the source before anything is compiled; generated files are left out."""

    GOFMT = "gofmt"
    VET = "vet"
    STATICCHECK = "staticcheck"


class CheckFailure(msgspec.Struct, frozen=True, order=True):
    """One complaint; `file` is relative to the module's folder where it lies inside."""

    check: Check
    file: str
    line: int
    message: str


class _Position(msgspec.Struct):
    file: str
    line: int = 0


class _Complaint(msgspec.Struct):
    """A line of `staticcheck -f json`."""

    code: str
    location: _Position
    message: str


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    toolchain: Toolchain
    directory: Path
    environment: dict[str, str]
    selecting: tuple[str, ...]
    search_path: str
    cancellation: Cancellation | None

    def __call__(self, argv: Sequence[str]) -> Completed:
        return run(argv, env=self.environment, cwd=self.directory, cancellation=self.cancellation)


def run_checks(
    settings: GoSettings,
    target: Target,
    checks: Sequence[Check],
    *,
    cache_dir: Path,
    cancellation: Cancellation | None = None,
    mode: str = "",
) -> tuple[CheckFailure, ...]:
    """What the checks say of the module in `settings.directory`, as this target sees it. Sorted; empty if all is well.

    gofmt reads every file of the module, vet and staticcheck those that the target chooses. Raises `ToolError` where a
    check cannot run: it is missing, or the code does not load.
    """
    environment = compile_environment(settings, target, cache_dir=cache_dir.absolute())
    runner = _Run(
        toolchain=settings.toolchain,
        directory=settings.directory,
        environment={**environment, "STATICCHECK_CACHE": str(cache_dir.absolute() / "staticcheck")},
        selecting=selecting(target, mode or mod_mode(settings)),
        search_path=settings.ambient.get("PATH", ""),
        cancellation=cancellation,
    )
    failures = (failure for check in checks for failure in _RUNS[check](runner))
    return tuple(sorted({f for f in failures if not is_generated(runner.directory / f.file)}))


def is_generated(path: Path) -> bool:
    """Whether a line before the package clause says so (`go help generate`, the rule of all Go tools)."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST_SOURCE)
    except OSError:
        return False
    mark = _GENERATED.search(text)
    clause = _PACKAGE_CLAUSE.search(text)
    return mark is not None and (clause is None or mark.start() < clause.start())


def module_files(directory: Path) -> Iterator[Path]:
    """The Go files of a module, sorted within each folder: no vendor, testdata, `_` or `.` folder, no nested module."""
    for folder, names, files in os.walk(directory):
        here = Path(folder)
        names[:] = sorted(name for name in names if _is_inside(here / name))
        yield from (here / name for name in sorted(files) if name.endswith(".go") and name[0] not in "._")


def _is_inside(folder: Path) -> bool:
    return folder.name not in ("vendor", "testdata") and folder.name[0] not in "._" and not (folder / "go.mod").exists()


def _gofmt(runner: _Run) -> Iterator[CheckFailure]:
    program = beside(runner.toolchain, "gofmt")
    if program is None:
        raise ToolError(
            f"there is no gofmt beside {runner.toolchain.go}", hint="install a whole Go, or take gofmt out of `checks`"
        )
    names = (
        str(path.relative_to(runner.directory)) for path in module_files(runner.directory) if not is_generated(path)
    )
    for batch in _batches(names, _AT_ONCE):
        done = runner([str(program), "-d", "--", *batch])
        yield from _unformatted(done.stdout.decode(errors="replace"))
        yield from _positions(Check.GOFMT, done.stderr.decode(errors="replace"), runner.directory)


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _unformatted(diff: str) -> Iterator[CheckFailure]:
    """The first place of each file that gofmt would write differently: the first changed line of its first hunk."""
    name, offset = "", 0
    for text in diff.splitlines():
        if header := _DIFF.match(text):
            name, offset = header["file"], 0
        elif name and (hunk := _HUNK.match(text)):
            offset = int(hunk["line"])
        elif name and offset and text[:1] in "+-" and not text.startswith(("+++ ", "--- ")):
            yield CheckFailure(Check.GOFMT, name, offset, "is not formatted as gofmt writes it")
            name = ""
        elif offset:
            offset += 1


def _vet(runner: _Run) -> Iterator[CheckFailure]:
    done = runner([str(runner.toolchain.go), "vet", *runner.selecting, "./..."])
    text = done.stderr.decode(errors="replace")
    found = list(_positions(Check.VET, text, runner.directory))
    if done.returncode and not found:
        raise _unable("go vet", text)
    yield from found


def _staticcheck(runner: _Run) -> Iterator[CheckFailure]:
    program = shutil.which("staticcheck", path=runner.search_path)
    if program is None:
        raise ToolError(
            "`checks` names staticcheck, and there is none on PATH",
            hint="go install honnef.co/go/tools/cmd/staticcheck@latest",
        )
    tags = [flag for flag in runner.selecting if flag.lstrip("-").startswith("tags=")]
    runner.environment["GOFLAGS"] = next(flag for flag in runner.selecting if flag.startswith("-mod="))
    done = runner([str(Path(program).absolute()), "-f", "json", *tags, "./..."])
    found = list(_complaints(done.stdout, runner.directory))
    if done.returncode and not found:
        raise _unable("staticcheck", done.stderr.decode(errors="replace"))
    yield from found


def _complaints(stdout: bytes, directory: Path) -> Iterator[CheckFailure]:
    try:
        for complaint in msgspec.json.Decoder(prepared(_Complaint)).decode_lines(stdout):
            where = complaint.location
            message = line(f"{complaint.message} ({complaint.code})")
            yield CheckFailure(Check.STATICCHECK, _relative(where.file, directory), where.line, message)
    except msgspec.DecodeError as error:
        raise ToolError(
            f"`staticcheck -f json` wrote something unexpected: {error}", hint="update staticcheck"
        ) from error


def _positions(check: Check, text: str, directory: Path) -> Iterator[CheckFailure]:
    for found in map(_POSITION.match, text.splitlines()):
        if found:
            yield CheckFailure(check, _relative(found["file"], directory), int(found["line"]), line(found["message"]))


def _relative(name: str, directory: Path) -> str:
    path = Path(os.path.normpath(directory / name))
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path)


def _unable(tool: str, text: str) -> ToolError:
    first = plain("\n".join(text.strip().splitlines()[:5]))
    return ToolError(f"{tool} could not look at the code: {first}", hint="make it compile first")


_RUNS: dict[Check, Callable[[_Run], Iterator[CheckFailure]]] = {
    Check.GOFMT: _gofmt,
    Check.VET: _vet,
    Check.STATICCHECK: _staticcheck,
}
