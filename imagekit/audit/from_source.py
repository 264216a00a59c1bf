"""The import graph of a program that somebody else built, from its module's source. Starts `go list`, reads sources."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from imagekit.audit.chains import ImportGraph
from imagekit.audit.listed import graph_of
from imagekit.binary.facts import BinaryFacts
from imagekit.errors import UsageError
from imagekit.golang import toolchain
from imagekit.golang.arguments import Main
from imagekit.golang.packages import Package, Packages, list_packages
from imagekit.golang.settings import read_settings
from imagekit.targets.target import Cgo, Target
from imagekit.workers import Cancellation

_FILE_ARGUMENTS = "command-line-arguments"
"""What Go calls the main package when files were named instead of it."""
_DIRECTIVE = re.compile(rb'^//go:cgo_import_dynamic[ \t]+\S+[ \t]+\S+[ \t]+"([^"\n]{1,255})"', re.MULTILINE)
_LDFLAGS = re.compile(rb"^[ \t/*]*#cgo[^:\n]{0,255}LDFLAGS:([^\n]*)", re.MULTILINE)
_PKG_CONFIG = re.compile(rb"^[ \t/*]*#cgo[^:\n]{0,255}pkg-config:([^\n]*)", re.MULTILINE)
_LARGEST_SOURCE = 2 << 20


def read_graph(
    facts: BinaryFacts, directory: Path, *, cache_dir: Path, cancellation: Cancellation | None = None
) -> ImportGraph:
    """The packages of the program as its own platform, tags and cgo select them from the module in `directory`.

    Raises `UsageError` where the program says of itself that it is another one, `ToolError` where Go lists nothing.
    """
    target = _target(facts, directory)
    settings = read_settings(toolchain.find(cancellation), directory, cancellation)
    packages = list_packages(settings, target, Main(target.main), cache_dir=cache_dir, cancellation=cancellation)
    _check(packages, target, directory)
    graph = graph_of(packages)
    return msgspec.structs.replace(graph, libraries=_libraries(packages, facts.needed))


def _target(facts: BinaryFacts, directory: Path) -> Target:
    if facts.go is None or facts.platform is None:
        raise UsageError("--source explains Go programs only, and this one has no build info", hint="leave it out")
    settings = facts.go.settings
    return Target(
        build="source",
        platform=facts.platform,
        directory=str(directory),
        main="." if facts.go.path in ("", _FILE_ARGUMENTS) else facts.go.path,
        tags=tuple(filter(None, settings.get("-tags", "").split(","))),
        flags=tuple(f"{name}={settings[name]}" for name in ("-race", "-msan", "-asan") if name in settings),
        cgo=Cgo.ALLOW if facts.cgo == "proven" or settings.get("CGO_ENABLED") == "1" else Cgo.OFF,
    )


def _check(packages: Packages, target: Target, directory: Path) -> None:
    root = next(iter(packages.roots), None)
    if root is None or root.error or root.name != "main":
        said = f": {root.error.err}" if root and root.error else ""
        raise UsageError(
            f"{directory} has no program {target.main}{said}",
            hint="name the folder of its go.mod, checked out at the commit that the build info names",
        )


def _libraries(packages: Packages, needed: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Library, as the program names it -> the packages whose source names it, sorted."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for package in packages.by_path.values():
        words = set(_words(package))
        for library in needed:
            if words & _spellings(library):
                found[library].add(package.path)
    return {library: tuple(sorted(found[library])) for library in needed if library in found}


def _words(package: Package) -> Iterator[str]:
    """What the selected files name: `-lfoo`, `-framework Foo`, a pkg-config name, a library of a directive."""
    for name in (*package.cgo_files, *package.go_files):
        content = _content(package.directory / name)
        yield from (match.decode(errors="replace") for match in _DIRECTIVE.findall(content))
        if name in package.cgo_files:
            for flags in _LDFLAGS.findall(content):
                yield from flags.decode(errors="replace").replace("-framework ", "-framework=").split()
            for names in _PKG_CONFIG.findall(content):
                yield from (f"-l{word.removeprefix('lib')}" for word in names.decode(errors="replace").split())


def _spellings(library: str) -> set[str]:
    """How a source may call `libfoo.so.1`, `/usr/lib/libfoo.1.dylib`, `foo.dll`: by its name, or by `-lfoo`."""
    name = library.rpartition("/")[2]
    bare = re.sub(r"(\.so(\.[0-9.]+)?|(\.[0-9A-Z]+)*\.dylib|\.dll)$", "", name, flags=re.IGNORECASE)
    short = bare.removeprefix("lib")
    return {library, name, f"-l{short}", f"-l{bare}", f"-l{short.partition('-')[0]}", f"-framework={bare}"}


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST_SOURCE)
    except OSError:
        return b""
