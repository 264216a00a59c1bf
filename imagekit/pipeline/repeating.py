"""Repeat: build the same source again where everything differs that must not matter, and explain the first difference.

The second build runs in another process, folder, HOME, build cache, time zone, locale and umask, with another number of
jobs and other file times. Only the module cache is shared, whose bytes go.sum vouches for. Starts that process; touches
a temporary folder.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from imagekit.binary.variables import set_variables
from imagekit.errors import IntegrityError, ToolError
from imagekit.golang.settings import GoSettings, read_settings
from imagekit.golang.toolchain import find
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.request import Request
from imagekit.pipeline.shipping import SUMS
from imagekit.staging import wrapper_of
from imagekit.text import plain
from imagekit.unfinished import temporary_folder
from imagekit.workers import Cancellation, run

_SHOWN = 40
_KEPT_OF_HOME = (".gitconfig", ".config/git", ".netrc")
"""What git and Go need to do the same: safe.directory, ignore files, accounts of module hosts."""


def verify_reproducible(ground: Ground, cancellation: Cancellation) -> int:
    """Build a second time and compare every file of dist/; how many files are the same.

    Raises `IntegrityError` that names and explains the first file that differs, `ToolError` if the second build ends
    otherwise than the first.
    """
    with temporary_folder("imagekit-again-") as place:
        output = _build(ground, place, cancellation)
        first, second = _sums(ground.output), _sums(output)
        if differing := sorted(_differing(first, second), key=_telling):
            raise _difference(ground.output, output, differing, cancellation)
        return len(first)


def _build(ground: Ground, place: Path, cancellation: Cancellation) -> Path:
    """The finished output folder of the second build."""
    settings = ground.settings or read_settings(find(cancellation), ground.root, cancellation)
    source = (ground.git.root if ground.git else ground.root).absolute()
    here = Path.cwd().absolute()
    if not here.is_relative_to(source):
        source = here
    tree = place / "elsewhere" / source.name
    output = ground.output.absolute()
    shutil.copytree(source, tree, symlinks=True, copy_function=shutil.copy, ignore=_all_but(output))
    again = tree / output.relative_to(source) if output.is_relative_to(source) else place / "out" / output.name
    folder = tree / here.relative_to(source)
    words = _words(ground.request, again, place / "cache")
    done = run(
        ["sh", "-c", 'umask 077 && exec "$@"', "sh", sys.executable, "-m", "imagekit", *words],
        env=_environment(settings, ground.request.cache, place),
        cwd=folder,
        cancellation=cancellation,
    )
    if done.returncode:
        said = plain(done.stderr.decode(errors="replace").strip()).splitlines()[-_SHOWN:]
        raise ToolError(
            "\n".join(["the second build, in a copy of the source, did not end like the first:", *said]),
            hint="does the build need files outside the repository?",
        )
    return again


def _all_but(output: Path) -> Callable[[str, list[str]], set[str]]:
    """What `copytree` leaves out: what the first build wrote."""
    left_out = {output, wrapper_of(output)}
    return lambda folder, names: {name for name in names if Path(folder, name).absolute() in left_out}


def _words(request: Request, output: Path, cache: Path) -> Iterator[str]:
    """The same request, without what delivers."""
    yield from ("build", *request.packages, "--output", str(output), "--cache-dir", str(cache))
    yield from ("--jobs", str(request.jobs + 1), "--fail-on", request.fail_on.word)
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


def _environment(settings: GoSettings, cache: Path, place: Path) -> dict[str, str]:
    """Another HOME, time zone, locale and build cache; the settings by which modules are found stay."""
    home = place / "home"
    home.mkdir()
    own = Path(settings.ambient.get("HOME") or str(home))
    for kept in _KEPT_OF_HOME:
        if (own / kept).is_dir():
            shutil.copytree(own / kept, home / kept)
        elif (own / kept).is_file():
            (home / kept).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(own / kept, home / kept)
    if (cache / "sumdb").is_dir():
        shutil.copytree(cache / "sumdb", place / "cache/sumdb")
    changed = {
        "HOME": str(home),
        "GOCACHE": str(place / "gocache"),
        "GOMODCACHE": settings.values["GOMODCACHE"],
        "GOPATH": settings.values.get("GOPATH", ""),
        "GOENV": settings.values.get("GOENV", "off"),
        "XDG_CACHE_HOME": str(place / "xdg"),
        "TZ": "Pacific/Chatham" if settings.ambient.get("TZ") != "Pacific/Chatham" else "UTC",
        "LC_ALL": "C" if settings.ambient.get("LC_ALL", "").startswith("C.") else "C.UTF-8",
        "PYTHONHASHSEED": "4711",
    }
    return {**settings.ambient, **changed}


def _sums(output: Path) -> dict[str, str]:
    """Path -> SHA-256 in hex, of every file that was written."""
    lines = (output / SUMS).read_text(encoding="utf-8").splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> set[str]:
    return {path for path in {**first, **second} if first.get(path) != second.get(path)}


def _telling(path: str) -> tuple[int, str]:
    """Programs first: what differs in them differs in everything that holds them."""
    order = ("bin/", "rootfs/", "oci/", "archives/", "sbom/")
    return (next((place for place, start in enumerate(order) if path.startswith(start)), len(order)), path)


def _difference(one: Path, other: Path, paths: list[str], cancellation: Cancellation) -> IntegrityError:
    from imagekit.audit.compare import compare
    from imagekit.audit.comparing import prose

    first = paths[0]
    lines = [f"the second build differs in {len(paths)} files, first in {first}"]
    if not (one / first).is_file() or not (other / first).is_file():
        lines.append(f"only the {'first' if (one / first).is_file() else 'second'} build has it")
    elif first.startswith("bin/"):
        lines += _variables(one / first, other / first)
        lines += prose.lines(compare(str(one / first), str(other / first), cancellation))
    else:
        lines += _first_line(one / first, other / first)
    lines += [f"also: {path}" for path in paths[1:_SHOWN]]
    return IntegrityError("\n".join(lines), hint="take out what depends on time, place or machine, and build again")


def _variables(one: Path, other: Path) -> Iterator[str]:
    """Each variable that `-X` gave another value."""
    before, after = set_variables(one), set_variables(other)
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            yield f"-X gave the variable {name} the value {before[name]!r}, then {after[name]!r}"


def _first_line(one: Path, other: Path) -> Iterator[str]:
    """The first line that two text files do not have in common; nothing for other files."""
    try:
        left, right = (path.read_text(encoding="utf-8").splitlines() for path in (one, other))
    except UnicodeDecodeError:
        return
    for number, (before, after) in enumerate(zip(left, right, strict=False), 1):
        if before != after:
            yield f"line {number}: {before.strip()[:200]}"
            yield f"     then: {after.strip()[:200]}"
            return
