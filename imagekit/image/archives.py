"""Archives of single programs for people: tar.gz and zip with README and LICENSE, the same bytes every time.

Touches disk: reads what is packed, writes the archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from imagekit.content import Digest
from imagekit.errors import ConfigError
from imagekit.image import zipped
from imagekit.image.files import entries_of, fixed_part, is_glob, matches
from imagekit.image.kept import LayerCache, identity_of, with_digest
from imagekit.image.recipe import FileRule, Mistake
from imagekit.image.sink import write_tar
from imagekit.oci.layers import Compression, Entry

Format = Literal["tar.gz", "zip"]
DEFAULT_FILES = ("README*", "LICENSE*")
DEFAULT_NAME = "{{ id }}_{{ version }}_{{ os }}_{{ arch }}{{ '_' ~ variant if variant else '' }}"
_COMPRESSION = Compression()


class ArchiveSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `archives:`; `name` is a template, `files` are globs in the project (a plain path must exist)."""

    build: str
    format: str = "auto"
    name: str = DEFAULT_NAME
    files: tuple[str, ...] = DEFAULT_FILES

    def format_for(self, system: str) -> Format:
        """`zip` for windows and `tar.gz` elsewhere, unless the entry says."""
        match self.format:
            case "zip":
                return "zip"
            case "tar.gz":
                return "tar.gz"
        return "zip" if system == "windows" else "tar.gz"


class Archive(msgspec.Struct, frozen=True):
    """A written archive; `size` in bytes."""

    path: Path
    digest: Digest
    size: int


def mistakes(spec: ArchiveSpec) -> Iterator[Mistake]:
    """Everything in one entry that cannot be; its name is judged once it is filled."""
    if spec.format not in ("auto", "tar.gz", "zip"):
        yield Mistake(("format",), f"{spec.format!r} is unknown", "write auto, tar.gz or zip")
    for place, pattern in enumerate(spec.files):
        if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
            yield Mistake(
                ("files", place), f"{pattern!r} is not inside the project", "write a relative path without '..'"
            )


def write_archive(
    folder: Path,
    spec: ArchiveSpec,
    name: str,
    program: Entry,
    *,
    system: str,
    root: Path,
    created: int,
    cache: LayerCache,
) -> Archive:
    """Write `<name>.tar.gz` or `<name>.zip` into `folder`, which exists; packed only if it is not kept.

    `name` is the filled template, `program` the built file as `program_entry` makes it, `system` its GOOS, `created`
    every member's time in seconds since 1970. Raises `ConfigError` for a name that is no file name or taken, a plain
    path in `files` that is not there, and a file that would lie on the program.
    """
    chosen = spec.format_for(system)
    path = folder / f"{_checked(name, spec)}.{chosen}"
    entries = tuple(map(with_digest, (program, *beside(spec, root))))
    identity = ["archive", _packer(chosen), created, [identity_of(entry) for entry in entries]]
    try:
        digest, size = cache.file(path, identity, lambda stream: _pack(stream, chosen, entries, created))
    except FileExistsError:
        raise ConfigError(
            f"archives: two archives are called {path.name}",
            hint="tell them apart by {{ id }}, {{ os }}, {{ arch }} and {{ variant }} in `name`",
        ) from None
    return Archive(path, digest, size)


def program_entry(name: str, path: Path, digest: Digest) -> Entry:
    """The program as an archive holds it: `name` at the top, 0755."""
    return Entry(name, "file", 0o755, content=path, digest=digest)


def _checked(name: str, spec: ArchiveSpec) -> str:
    bad = not name or name.startswith(".") or not name.isprintable() or any(c in name for c in '/\\:*?"<>|')
    if bad or len(name.encode()) > 200:
        raise ConfigError(
            f"archives: build {spec.build!r}: {name!r} cannot be a file name",
            hint="use letters, digits, '.', '_' and '-' in `name`",
        )
    return name


def _packer(chosen: Format) -> str:
    return f"zip {zipped.identity()}" if chosen == "zip" else f"tar {_COMPRESSION.identity}"


def _pack(stream: BinaryIO, chosen: Format, entries: tuple[Entry, ...], created: int) -> Any:
    if chosen == "zip":
        return zipped.write_zip(stream, entries, mtime=created)
    return write_tar(stream, entries, mtime=created, compression=_COMPRESSION)


def beside(spec: ArchiveSpec, root: Path) -> tuple[Entry, ...]:
    """What lies beside the program, each at its path in the project: 0644, or 0755 for what its owner may run.

    Raises `ConfigError` for a plain path that is not there.
    """
    found: dict[str, Entry] = {}
    for pattern in spec.files:
        if is_glob(pattern) and not matches(root, pattern):
            continue
        for entry in entries_of(root, FileRule(pattern, _kept_path(root, pattern)), "archives"):
            mode = 0o755 if entry.mode & 0o100 else 0o644
            found.setdefault(entry.path, msgspec.structs.replace(entry, mode=mode))
    return tuple(found.values())


def _kept_path(root: Path, pattern: str) -> str:
    """The folder in the archive under which the matches keep the path that they have in the project."""
    base = fixed_part(root, pattern)
    folder = base if base.is_dir() else base.parent
    inside = folder.relative_to(root).as_posix()
    return "/" if inside == "." else f"/{inside}/"
