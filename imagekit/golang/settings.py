"""GoSettings: what `go env` says in a module's folder, asked once.

Touches disk and starts one `go env -json`; that may switch to the toolchain that go.mod asks for, so it belongs to the
fetching half of a build.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import parse_json
from imagekit.errors import ToolError
from imagekit.golang.toolchain import Toolchain, of_root
from imagekit.processes import run
from imagekit.text import plain

_CACHE_PROGRAM = "GOCACHEPROG"
"""Kept from `go env` too, which would start it."""
_ASKED = (
    *("AR", "CC", "CGO_ENABLED", "CXX", "GCCGO", "GO111MODULE", "GO386", "GOAMD64", "GOARCH", "GOARM", "GOARM64"),
    *("GOAUTH", "GOBIN", "GOCACHE", "GODEBUG", "GOENV", "GOEXE", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOHOSTARCH"),
    *("GOHOSTOS", "GOINSECURE", "GOMIPS", "GOMIPS64", "GOMOD", "GOMODCACHE", "GONOPROXY", "GONOSUMDB", "GOOS"),
    *("GOPATH", "GOPPC64", "GOPRIVATE", "GOPROXY", "GORISCV64", "GOROOT", "GOSUMDB", "GOTELEMETRY", "GOTELEMETRYDIR"),
    *("GOTMPDIR", "GOTOOLCHAIN", "GOTOOLDIR", "GOVCS", "GOVERSION", "GOWASM", "GOWORK"),
)
"""What Go is asked for by name (cmd/go/internal/envcmd), since for the flags of C it would start the user's $CC."""
_FLAGS_OF_C = (
    *("CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_FFLAGS", "CGO_LDFLAGS", "PKG_CONFIG"),
    _CACHE_PROGRAM,
)
"""Never asked for; in the settings as the user set them, else ''."""
_LARGEST_ENV_FILE = 1 << 20


class GoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything Go was told, and by whom."""

    toolchain: Toolchain
    """The installation in effect: another than the first one where go.mod asks for it and GOTOOLCHAIN allows it."""
    directory: Path
    """The folder that was asked about, absolute."""
    values: dict[str, str]
    """The variables of `go env`, resolved; the flags for C are '' where nobody set them.

    GOMOD is /dev/null outside a module, GOWORK is '' outside a workspace.
    """
    ambient: dict[str, str]
    """The whole environment that it was told in, as a rule this process's."""
    file: dict[str, str]
    """What the user's `go env -w` file sets."""
    isolation: tuple[str, ...] = ()
    """The words before every command that must not reach a network (`unshare --net`)."""

    @property
    def changed(self) -> Mapping[str, str]:
        """The Go variables that somebody set, in the file or (stronger) the environment; values as resolved."""
        names = {*self.file, *(name for name, value in self.ambient.items() if value)} & self.values.keys()
        return {name: self.values[name] for name in sorted(names)}

    @property
    def workspace(self) -> Path | None:
        """The go.work in effect."""
        work = self.values.get("GOWORK", "")
        return Path(work) if work not in ("", "off") else None

    @property
    def go_mod(self) -> Path | None:
        """The go.mod of the module that holds the folder."""
        path = self.values.get("GOMOD", "")
        return Path(path) if path not in ("", os.devnull, "NUL") else None

    def published(self, directory: Path) -> GoSettings:
        """The same settings for an extracted module: its own go.mod, no workspace around it."""
        values = {**self.values, "GOMOD": str(directory / "go.mod"), "GOWORK": "off"}
        return msgspec.structs.replace(self, directory=directory, values=values)


def read_settings(
    toolchain: Toolchain,
    directory: Path,
    cancellation: Cancellation | None = None,
    environment: Mapping[str, str] | None = None,
) -> GoSettings:
    """What `go env -json` answers in `directory`, with this process's environment unless another is given.

    One child process. Raises `ToolError`, with Go's own words, where it does not answer.
    """
    ambient = dict(os.environ if environment is None else environment)
    where = directory.absolute()
    if not where.is_dir():
        raise ToolError(f"{directory} is not a folder", hint="`dir` of a build names the folder of its go.mod")
    quiet = {name: value for name, value in ambient.items() if name != _CACHE_PROGRAM}
    answer = run([str(toolchain.go), "env", "-json", *_ASKED], env=quiet, cwd=where, cancellation=cancellation)
    if answer.returncode:
        raise ToolError(f"`go env` in {directory}: {_first_lines(answer.stderr)}", hint="run `go env` there")
    try:
        values = parse_json(answer.stdout, dict[str, str])
    except msgspec.DecodeError as error:
        raise ToolError(f"`go env -json` in {directory} did not answer with JSON ({error})") from error
    file = _env_file(values.get("GOENV", "off"))
    unasked = {name: ambient.get(name) or file.get(name, "") for name in _FLAGS_OF_C}
    return GoSettings(
        toolchain=_in_effect(toolchain, values),
        directory=where,
        values={**values, **unasked},
        ambient=ambient,
        file=file,
    )


def _in_effect(toolchain: Toolchain, values: Mapping[str, str]) -> Toolchain:
    """The toolchain that answered; GOTOOLCHAIN or GOROOT may have chosen another installation."""
    goroot = Path(values.get("GOROOT") or toolchain.goroot)
    if goroot == toolchain.goroot or goroot.resolve() == toolchain.goroot.resolve():
        return toolchain
    found = of_root(goroot)
    version = values.get("GOVERSION", toolchain.version)
    return found if found else Toolchain(toolchain.go, version, goroot)


def _env_file(name: str) -> dict[str, str]:
    """The `NAME=value` lines of the file that `go env -w` writes; a file that cannot be read sets nothing."""
    if name in ("", "off"):
        return {}
    try:
        with Path(name).open("rb") as stream:
            text = stream.read(_LARGEST_ENV_FILE).decode(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return {key.strip(): value for key, equals, value in pairs if equals}


def _first_lines(stderr: bytes, count: int = 5) -> str:
    return plain("\n".join(stderr.decode(errors="replace").strip().splitlines()[:count]))
