"""Which packages name which libraries in their source: `#cgo LDFLAGS`, pkg-config, //go:cgo_import_dynamic.

Reads the source files that Go selected.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from imagekit.golang.packages import Package, Packages

_DIRECTIVE = re.compile(rb'^//go:cgo_import_dynamic[ \t]+\S+[ \t]+\S+[ \t]+"([^"\n]{1,255})"', re.MULTILINE)
_LDFLAGS = re.compile(rb"^[ \t/*]*#cgo[^:\n]{0,255}LDFLAGS:([^\n]*)", re.MULTILINE)
_PKG_CONFIG = re.compile(rb"^[ \t/*]*#cgo[^:\n]{0,255}pkg-config:([^\n]*)", re.MULTILINE)
_LARGEST_SOURCE = 2 << 20
_ENDING = re.compile(r"(\.so(\.[0-9.]+)?|(\.[0-9A-Z]+)*\.dylib|\.dll)$", re.IGNORECASE)


def named_libraries(packages: Packages) -> dict[str, tuple[str, ...]]:
    """What the selected files name (`-lfoo`, `-framework=Foo`, `libdl.so.2`) -> the packages that do, sorted."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    importers = packages.dynamic_importers()
    for package in packages.by_path.values():
        names = package.go_files if package.path in importers else ()
        for word in _words(package, names):
            found[word].add(package.path)
    return {word: tuple(sorted(found[word])) for word in sorted(found)}


def asking(library: str, named: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The packages whose source names the library, sorted; `library` as the program calls it."""
    return tuple(sorted({package for word in _spellings(library) for package in named.get(word, ())}))


def _words(package: Package, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield from (match.decode(errors="replace") for match in _DIRECTIVE.findall(_content(package.directory / name)))
    for name in package.cgo_files:
        content = _content(package.directory / name)
        for flags in _LDFLAGS.findall(content):
            words = flags.decode(errors="replace").replace("-framework ", "-framework=").split()
            yield from (word for word in words if word.startswith(("-l", "-framework=")))
        for libraries in _PKG_CONFIG.findall(content):
            yield from (f"-l{word.removeprefix('lib')}" for word in libraries.decode(errors="replace").split())


def _spellings(library: str) -> set[str]:
    """How a source may call `libfoo.so.1`, `/usr/lib/libfoo.1.dylib`, `foo.dll`: by its name, or by `-lfoo`."""
    name = library.rpartition("/")[2]
    bare = _ENDING.sub("", name)
    short = bare.removeprefix("lib")
    return {library, name, f"-l{short}", f"-l{bare}", f"-l{short.partition('-')[0]}", f"-framework={bare}"}


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST_SOURCE)
    except OSError:
        return b""
