"""What `go mod vendor` copies of a module, read from the module's zip. Reads zips.

The rules are those of cmd/go/internal/modcmd/vendor.go: the files of each package but tests and those that are tagged
`ignore`, and what `//go:embed` names. Only files that can reach a binary count here: a README may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagekit.content import CHUNK
from imagekit.source import dirhash
from imagekit.source.modpath import glob_pattern

if TYPE_CHECKING:
    import zipfile

_READ_LIMIT = 16 << 20
"""Bytes of a Go file whose text is looked at; a larger one is only hashed."""
_COMPILED = re.compile(r".*\.(go|s|S|sx|c|cc|cpp|cxx|m|h|hh|hpp|hxx|f|F|for|f90|swig|swigcxx|syso)")
_IGNORED = re.compile(rb"^//(?:go:build| ?\+build)\b.*\bignore\b", re.MULTILINE)
_PACKAGE = re.compile(rb"^package\b", re.MULTILINE)
_EMBED = re.compile(r"^//go:embed[ \t]+(.*)$", re.MULTILINE)
_PATTERN = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\S+')


class ZipContent(msgspec.Struct, frozen=True):
    """A module zip: its h1, the SHA-256 in hex of each file by its name inside the module, and what copying needs.

    `ignorable`: Go files that may be left out; `embeds`: the patterns of each folder's non-test Go files.
    """

    h1: str
    digests: Mapping[str, str]
    ignorable: frozenset[str]
    embeds: Mapping[str, tuple[str, ...]]


def read_zip(path: Path, module: str, version: str) -> ZipContent:
    """Read a module zip once; raise `UnreadableError` if it is none. Names outside `module@version/` keep their whole
    name, and so are found nowhere.
    """
    digests: dict[str, str] = {}
    ignorable: set[str] = set()
    embeds: dict[str, tuple[str, ...]] = {}
    with dirhash.open_zip(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix(f"{module}@{version}/")
            text, digests[entry.filename] = _read(archive, entry)
            if _IGNORED.search(_before_package(text)):
                ignorable.add(name)
            if not name.endswith("_test.go") and b"//go:embed" in text:
                folder = name.rpartition("/")[0]
                embeds[folder] = embeds.get(folder, ()) + tuple(_patterns(text))
    inside = {name.removeprefix(f"{module}@{version}/"): digest for name, digest in digests.items()}
    return ZipContent(dirhash.h1(digests), inside, frozenset(ignorable), embeds)


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[bytes, str]:
    """The text of a Go file (of others nothing), and the SHA-256 of the entry."""
    kept: list[bytes] = []
    looked_at = entry.filename.endswith(".go") and entry.file_size <= _READ_LIMIT

    class Reader:
        """Passes the bytes on to the hash and keeps those that are looked at."""

        def read(self, size: int = CHUNK, /) -> bytes:
            piece = stream.read(size)
            if looked_at:
                kept.append(piece)
            return piece

    with archive.open(entry) as stream:
        digest = dirhash.hash_entry(Reader(), entry.file_size)
    return b"".join(kept), digest


def _before_package(text: bytes) -> bytes:
    clause = _PACKAGE.search(text)
    return text[: clause.start()] if clause else text


def _patterns(text: bytes) -> Iterator[str]:
    for line in _EMBED.findall(text.decode("utf-8", "replace")):
        for word in _PATTERN.findall(line):
            quoted = word[0] in '"`' and len(word) > 1
            yield re.sub(r"\\(.)", r"\1", word[1:-1]) if quoted and word[0] == '"' else word[1:-1] if quoted else word


def expected(content: ZipContent, folders: Iterable[str]) -> set[str]:
    """The names inside the module that must be in the vendor folder when its packages in `folders` are vendored."""
    wanted = set(folders)
    names = {name for name in content.digests if name.rpartition("/")[0] in wanted and _counts(name)}
    names -= content.ignorable
    for folder in wanted & content.embeds.keys():
        names |= set(_embedded(content, folder))
    return names


def _counts(name: str) -> bool:
    return _COMPILED.fullmatch(name) is not None and not name.endswith("_test.go")


def _embedded(content: ZipContent, folder: str) -> Iterator[str]:
    """The files that the patterns of a folder match; of a matched folder all but those that begin with `.` or `_`."""
    start = f"{folder}/" if folder else ""
    inside = [name.removeprefix(start) for name in content.digests if name.startswith(start)]
    for pattern in content.embeds[folder]:
        everything = pattern.startswith("all:")
        glob = pattern.removeprefix("all:")
        compiled = glob_pattern(glob)
        depth = glob.count("/") + 1
        for name in inside:
            parts = name.split("/")
            if compiled and len(parts) >= depth and (glob == "." or compiled.fullmatch("/".join(parts[:depth]))):
                below = parts if glob == "." else parts[depth:]
                if everything or not any(part[0] in "._" for part in below if part):
                    yield start + name
