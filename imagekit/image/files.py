"""Extra files from the project: globs, modes, owners; nothing from outside its folder. Reads disk.

The image path of a match is its path after the pattern's last part without a wildcard: `web/**/*.css` to `/srv/` gives
`/srv/css/a.css`. A folder stands for all that is in it but `.git` and what builds wrote, unless they are named; names
that start with a dot are not matched by `*`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from imagekit.errors import ConfigError, UnreadableError
from imagekit.image.recipe import FileRule
from imagekit.oci.layers import Entry

MOST_FILES = 100_000
"""Entries of one rule: more is a wrong path (the whole disk), not a web site."""
_DEPTH = 64
_OUTPUT = ("SHA256SUMS", "artifacts.json", "oci/oci-layout")
"""What tells a folder that a build wrote."""


def entries_of(root: Path, rule: FileRule, where: str = "rootfs.files") -> tuple[Entry, ...]:
    """The entries of one rule, sorted by image path; `where` is the key that mistakes name.

    Raises `ConfigError` if nothing matches or a link leaves `root`.
    """
    found: dict[str, Entry] = {}
    for source, inside in _placed(root.resolve(), rule):
        found[inside] = _entry(source, inside, rule)
        if len(found) > MOST_FILES:
            raise ConfigError(
                f"{where}: {rule.source!r} is more than {MOST_FILES} files",
                hint="name the folder that the image needs",
            )
    if not found:
        raise ConfigError(
            f"{where}: {rule.source!r} matches nothing in {root}",
            hint="paths are relative to the configuration file; build what should be there first",
        )
    return tuple(found[path] for path in sorted(found))


def _placed(root: Path, rule: FileRule) -> Iterator[tuple[Path, str]]:
    """(real file or folder, path in the image) of everything that the rule covers."""
    target, into = rule.to.strip("/"), rule.to.endswith("/")
    base = fixed_part(root, rule.source)
    for match in matches(root, rule.source):
        real = inside_of(root, match)
        below = "" if match == base else match.relative_to(base).as_posix()
        if real.is_dir():
            yield from _tree(root, real, _joined(target, below), _DEPTH)
        else:
            yield real, _joined(target, below or match.name) if into or below else target


def _joined(folder: str, name: str) -> str:
    return "/".join(filter(None, (folder, name)))


def _tree(root: Path, folder: Path, inside: str, depth: int) -> Iterator[tuple[Path, str]]:
    if not depth:
        raise ConfigError(f"{folder} is deeper than {_DEPTH} folders", hint="look for a link that leads back up")
    if inside:
        yield folder, inside
    for name in _names(folder):
        real = inside_of(root, folder / name)
        if real.is_dir():
            yield from _tree(root, real, _joined(inside, name), depth - 1)
        else:
            yield real, _joined(inside, name)


def inside_of(root: Path, path: Path) -> Path:
    """The real place of `path`; raises `ConfigError` if a link in it leads nowhere or out of `root` (a real path).

    Raises `UnreadableError` for a folder that must not be searched.
    """
    try:
        real = path.resolve(strict=True)
    except PermissionError as error:
        raise UnreadableError(
            f"cannot reach {path}: {error.strerror}", hint="let its folder be searched: chmod +x"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path} leads nowhere: {error}", hint="remove the broken link") from error
    if not real.is_relative_to(root):
        raise ConfigError(
            f"{path} is a link to {real}, outside of {root}",
            hint="copy the file into the project; nothing from outside is packed",
        )
    return real


def _entry(source: Path, inside: str, rule: FileRule) -> Entry:
    uid, _, gid = rule.owner.partition(":")
    status = source.stat()
    if stat.S_ISDIR(status.st_mode):
        return Entry(inside, "dir", 0o755, int(uid), int(gid))
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{source} is neither a file nor a folder", hint="leave devices, pipes and sockets out")
    mode = int(rule.mode, 8) if rule.mode else 0o555 if status.st_mode & stat.S_IXUSR else 0o444
    return Entry(inside, "file", mode, int(uid), int(gid), source)


def matches(root: Path, pattern: str) -> tuple[Path, ...]:
    """What the pattern finds below `root`, in the order of its folders' sorted names; each once."""
    segments = tuple(part for part in pattern.split("/") if part not in ("", "."))
    return tuple(dict.fromkeys(_matching(root, segments)))


def fixed_part(root: Path, pattern: str) -> Path:
    """The folder or file that the part of a pattern before its first wildcard names."""
    place = root
    for part in pattern.split("/"):
        if is_glob(part):
            return place
        place = place / part
    return place


def _matching(place: Path, segments: tuple[str, ...]) -> Iterator[Path]:
    if not segments:
        yield place
        return
    first, rest = segments[0], segments[1:]
    if first == "**":
        yield from _matching(place, rest)
        for folder in _folders(place):
            yield from _matching(folder, segments)
    elif is_glob(first):
        for name in _names(place):
            if fnmatchcase(name, first) and (first.startswith(".") or not name.startswith(".")):
                yield from _matching(place / name, rest)
    elif os.path.lexists(place / first):
        yield from _matching(place / first, rest)


def _folders(place: Path) -> Iterator[Path]:
    """Real folders only: `**` never walks through a link."""
    for name in _names(place):
        path = place / name
        if path.is_dir() and not path.is_symlink() and not name.startswith("."):
            yield path


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    try:
        return sorted(path.name for path in folder.iterdir() if not _is_left_out(path))
    except OSError as error:
        raise UnreadableError(f"cannot list {folder}: {error.strerror}") from error


def _is_left_out(path: Path) -> bool:
    """The repository itself, whose configuration may hold accounts, and what a build wrote or is writing."""
    if path.name == ".git" or (path.name.startswith(".") and path.name.endswith(".imagekit")):
        return True
    return all((path / name).is_file() for name in _OUTPUT)


def is_glob(part: str) -> bool:
    """Whether a pattern, or a part of one, has a wildcard."""
    return any(character in part for character in "*?[")
