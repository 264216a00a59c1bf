"""Repeat: build the same source again where everything differs that must not matter, and explain the first difference.

The second build runs in another process, folder, HOME, build cache, time zone, locale and umask, with another number of
jobs and other file times. Only the module cache is shared, whose bytes go.sum vouches for. Starts that process; touches
a temporary folder.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import IntegrityError, ToolError, UnreadableError
from imagekit.golang.settings import GoSettings, read_settings
from imagekit.golang.toolchain import find
from imagekit.pipeline.differing import changed_sources, explained, telling
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.request import Request
from imagekit.pipeline.sums import listed_in, sums_in
from imagekit.processes import run
from imagekit.source.git import git
from imagekit.staging import wrapper_of
from imagekit.text import plain
from imagekit.unfinished import temporary_folder

_SHOWN = 40
_OTHER_UMASK = 'case $(umask) in *077) umask 022 ;; *) umask 077 ;; esac; exec "$@"'
_CHATHAM = (45900, 49500)
"""Seconds east of Greenwich, in winter and in summer."""
_KEPT_OF_HOME = (".gitconfig", ".config/git", ".netrc")
"""What git and Go need to do the same: safe.directory, ignore files, accounts of module hosts."""
_GIT_FILES = ("excludesFile", "attributesFile")
"""Settings of git's `core` that name a file (git-config)."""


def verify_reproducible(ground: Ground, cancellation: Cancellation) -> int:
    """Build a second time and compare every file of dist/; how many files are the same.

    Raises `IntegrityError` that names and explains the first file that differs, `ToolError` if the second build ends
    otherwise than the first.
    """
    with temporary_folder("imagekit-again-") as place:
        second = _build(ground, place, cancellation)
        before, after = listed_in(sums_in(ground.output)), listed_in(sums_in(second.output))
        if differing := sorted(_differing(before, after), key=telling):
            raise _difference(ground.output, second, differing, cancellation)
        return len(before)


class _Second(msgspec.Struct, frozen=True):
    """The second build: its finished output, the source, and the copy of it that was built."""

    output: Path
    source: Path
    tree: Path


def _build(ground: Ground, place: Path, cancellation: Cancellation) -> _Second:
    settings = ground.settings or read_settings(find(cancellation), ground.root, cancellation)
    source = ground.git.root if ground.git else ground.root.resolve()
    here = Path.cwd().resolve()
    tree = place / "elsewhere" / source.name
    output = ground.output.parent.resolve() / ground.output.name
    copy_source(source, tree, output)
    again = tree / output.relative_to(source) if output.is_relative_to(source) else place / "out" / output.name
    root, given = tree / ground.root.resolve().relative_to(source), ground.request.config
    request = msgspec.structs.replace(
        ground.request, config=root / given.name if given else None, output=again, cache=place / "cache"
    )
    done = run(
        ["sh", "-c", _OTHER_UMASK, "sh", sys.executable, "-P", "-m", "imagekit", *_words(request)],
        env=_environment(settings, ground, place, cancellation),
        cwd=tree / here.relative_to(source) if here.is_relative_to(source) else here,
        cancellation=cancellation,
    )
    if done.returncode:
        said = plain(done.stderr.decode(errors="replace").strip()).splitlines()[-_SHOWN:]
        raise ToolError(
            "\n".join(["the second build, in a copy of the source, did not end like the first:", *said]),
            hint="does the build need files outside the repository?",
        )
    return _Second(again, source, tree)


def copy_source(source: Path, tree: Path, output: Path) -> None:
    """Copy the source without what the first build wrote to `output`, and without sockets, pipes and devices.

    Raises `UnreadableError` that names the first file that cannot be read.
    """
    try:
        shutil.copytree(source, tree, symlinks=True, copy_function=shutil.copy, ignore=_all_but(output))
    except shutil.Error as error:
        path, _, why = error.args[0][0]
        raise UnreadableError(
            f"the source cannot be copied for a second build: {path}: {why}",
            hint="make it readable, or move it out of the repository",
        ) from error


def _all_but(output: Path) -> Callable[[str, list[str]], set[str]]:
    left_out = {output, wrapper_of(output)}
    return lambda folder, names: {name for name in names if (path := Path(folder, name)) in left_out or _special(path)}


def _special(path: Path) -> bool:
    mode = path.lstat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))


def _words(request: Request) -> Iterator[str]:
    """The same request, without what delivers."""
    yield from ("build", *request.packages, "--output", str(request.output), "--cache-dir", str(request.cache))
    yield from ("--jobs", str(request.jobs - 1 or 2), "--fail-on", request.fail_on.word)
    for selector in request.selectors:
        yield from ("--target", selector)
    for tag in request.tags:
        yield from ("--tag", tag)
    if request.config is not None:
        yield from ("--config", str(request.config))
    if request.policy is not None:
        yield from ("--policy", request.policy)
    if request.engine:
        yield from ("--engine", request.engine)


def _environment(settings: GoSettings, ground: Ground, place: Path, cancellation: Cancellation) -> dict[str, str]:
    """Another HOME, time zone, locale and build cache; the settings by which modules are found stay."""
    home, cache = place / "home", ground.request.cache
    home.mkdir()
    own = Path(settings.ambient.get("HOME") or str(home))
    for kept in _KEPT_OF_HOME:
        if (own / kept).is_dir():
            shutil.copytree(own / kept, home / kept)
        elif (own / kept).is_file():
            (home / kept).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(own / kept, home / kept)
    if ground.git is not None:
        _keep_git_files(ground.git.root, home, settings.ambient, cancellation)
    if (cache / "sumdb").is_dir():
        shutil.copytree(cache / "sumdb", place / "cache/sumdb")
    changed = {
        "HOME": str(home),
        "GOCACHE": str(place / "gocache"),
        "GOMODCACHE": settings.values["GOMODCACHE"],
        "GOPATH": settings.values.get("GOPATH", ""),
        "GOENV": settings.values.get("GOENV", "off"),
        "XDG_CACHE_HOME": str(place / "xdg"),
        "TZ": "Pacific/Chatham" if time.localtime().tm_gmtoff not in _CHATHAM else "UTC",
        "LC_ALL": _other_locale(settings.ambient),
        "PYTHONHASHSEED": "4711",
    }
    return {**settings.ambient, **changed}


def _keep_git_files(root: Path, home: Path, env: Mapping[str, str], cancellation: Cancellation) -> None:
    """Let git find the user's ignore and attribute files, which decide whether a tree is clean, from another HOME.

    They are mostly named as `~/.gitignore_global`.
    """
    lines = []
    for key in _GIT_FILES:
        said = git(("config", "--type=path", "--get", f"core.{key}"), root, env, cancellation)
        if not said.returncode:
            value = os.fsdecode(said.stdout).rstrip("\n").replace("\\", r"\\").replace('"', r"\"")
            lines.append(f'\t{key} = "{value}"\n')
    if lines:
        own = home / ".gitconfig"
        own.touch()
        own.chmod(0o600)
        with own.open("a", encoding="utf-8", errors="surrogateescape") as config:
            config.writelines(["\n[core]\n", *lines])


def _other_locale(ambient: Mapping[str, str]) -> str:
    """`C` where text is UTF-8 now, `C.UTF-8` elsewhere: the two that every system has (POSIX 7.2; glibc 2.35)."""
    now = next(filter(None, map(ambient.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    return "C" if now.lower().replace("-", "").partition("@")[0].endswith(".utf8") else "C.UTF-8"


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> set[str]:
    return {path for path in {**first, **second} if first.get(path) != second.get(path)}


def _difference(one: Path, second: _Second, paths: list[str], cancellation: Cancellation) -> IntegrityError:
    first, outputs = paths[0], {second.output, wrapper_of(second.output)}
    lines = [f"the second build differs in {len(paths)} files, first in {first}"]
    lines += islice(changed_sources(second.source, second.tree, outputs), _SHOWN)
    lines += explained(one, second.output, first, cancellation)
    lines += [f"also: {path}" for path in paths[1:_SHOWN]]
    return IntegrityError("\n".join(lines), hint="take out what depends on time, place or machine, and build again")
