"""The arguments of `go build` for a target, quoted as Go's own list syntax wants it.

Touches disk in `mod_mode`, which looks at go.mod, go.work and vendor/modules.txt as the go command does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from imagekit.errors import ConfigError
from imagekit.golang import zig
from imagekit.golang.settings import GoSettings
from imagekit.targets.target import Cgo, Target

_SPACES = " \t\n\r"
_GO_LINE = re.compile(r"^\s*go\s+(\d+)\.(\d+)", re.MULTILINE)
_LARGEST_MOD = 1 << 24
_SELECTING = frozenset({"race", "msan", "asan", "tags"})
"""Flags that set build tags too (cmd/go `help buildconstraint`)."""


def join_quoted(words: Iterable[str], where: str = "") -> str:
    """One string that Go's cmd/internal/quoted.Split reads back as `words`.

    Raises `ConfigError` for a word that the syntax cannot express: one with both kinds of quotes, or with a NUL.
    """
    return " ".join(_quoted(word, where) for word in words)


def _quoted(word: str, where: str) -> str:
    if "\0" in word or ("'" in word and '"' in word):
        raise ConfigError(
            f"{where + ': ' if where else ''}Go's flags cannot say {word!r}: it has a NUL or both kinds of quotes",
            hint="leave out one kind of quote",
        )
    if not word or any(c in word for c in _SPACES + "'\""):
        return f'"{word}"' if "'" in word else f"'{word}'"
    return word


def ldflags(target: Target, *, strip: bool | None = None) -> str:
    """The value of `-ldflags`: `-s -w` if stripped, each -X, the listed flags, what `cgo: static` needs.

    Each listed flag is one argument of the linker, spaces and all. `strip=False` gives the link that has symbols
    whatever the target says.
    """
    words = ["-s", "-w"] if (target.ldflags.strip if strip is None else strip) else []
    for item in target.ldflags.values:
        _check_variable(item.name, target)
        words += ["-X", f"{item.name}={item.value}"]
    words += target.ldflags.flags
    if target.cgo is Cgo.STATIC:
        words += zig.LINK_FLAGS if strip is False else zig.SHIPPED_LINK_FLAGS
    return join_quoted(words, f"{target.id} (ldflags, {target.origin('ldflags')})")


def keeps_symbols(target: Target) -> bool:
    """Whether the shipped program has a symbol table; where not, `compile.unstripped_twin` has the addresses."""
    return not target.ldflags.strip and target.cgo is not Cgo.STATIC


def _check_variable(name: str, target: Target) -> None:
    package, dot, variable = name.rpartition(".")
    if not (package and dot and variable) or any(c in name for c in _SPACES + "='\"\0"):
        raise ConfigError(
            f"{target.id}: -X name {name!r} is not importpath.variable ({target.origin('ldflags')})",
            hint="write e.g. main.version",
        )


def gcflags(target: Target) -> Iterator[str]:
    """One `-gcflags=` a pattern: an item that begins with `-` belongs to the pattern before it (`[all=-N, -l]`)."""
    groups: list[list[str]] = []
    for item in target.gcflags:
        if groups and item.startswith("-"):
            groups[-1].append(item)
        else:
            groups.append([item])
    return (f"-gcflags={' '.join(group)}" for group in groups)


def selecting(target: Target, mode: str) -> tuple[str, ...]:
    """The flags that decide which files and modules are chosen; `go list`, `go vet` and `go build` get the same."""
    tags = [f"-tags={','.join(target.tags)}"] if target.tags else []
    return (f"-mod={mode}", *tags, *(flag for flag in target.flags if flag.lstrip("-").partition("=")[0] in _SELECTING))


class Main(msgspec.Struct, frozen=True):
    """The main package of a build, and how Go reads its module; what is not said here follows from the target."""

    package: str = ""
    """`./cmd/app`, or its path inside an extracted module; the target's `main` if ''."""
    mode: str = ""
    """`vendor` or `readonly`; what Go itself would choose if ''."""
    buildvcs: bool | None = None
    """Whether the commit is stamped; None: where there is a repository."""


def build_argv(
    go: Path,
    target: Target,
    *,
    package: str,
    output: Path,
    mode: str,
    buildvcs: bool,
    jobs: int = 0,
    strip: bool | None = None,
) -> list[str]:
    """The whole `go build` command. What the user admitted as unsafe comes late but never decides `-o`."""
    linker, chosen = ldflags(target, strip=strip), selecting(target, mode)
    return [
        str(go),
        "build",
        "-trimpath",
        f"-buildvcs={'true' if buildvcs else 'false'}",
        *chosen,
        *([f"-p={jobs}"] if jobs else []),
        *(flag for flag in target.flags if flag not in chosen),
        *gcflags(target),
        *([f"-ldflags={linker}"] if linker else []),
        *target.unsafe.flags,
        "-o",
        str(output),
        "--",
        package,
    ]


def mod_mode(settings: GoSettings) -> str:
    """`vendor` where the go command itself would choose it, else `readonly`.

    As cmd/go/internal/modload.setDefaultBuildMod: go.mod (in a workspace go.work) says go 1.14 or later, a vendor
    folder stands beside it, and its modules.txt was written in the same mode (`## workspace` or not).
    """
    declaring = settings.workspace or settings.go_mod
    if declaring is None:
        return "readonly"
    vendor = declaring.parent / "vendor"
    if not vendor.is_dir() or _go_version(declaring) < (1, 14):
        return "readonly"
    return "vendor" if _is_for_workspace(vendor) == (settings.workspace is not None) else "readonly"


def _go_version(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as stream:
            found = _GO_LINE.search(stream.read(_LARGEST_MOD).decode(errors="replace"))
    except OSError:
        return (0, 0)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _is_for_workspace(vendor: Path) -> bool:
    """Whether the first line of modules.txt is an annotation with the word `workspace` (modulesTextIsForWorkspace)."""
    try:
        with (vendor / "modules.txt").open("rb") as stream:
            first = stream.readline(4096).decode(errors="replace").strip()
    except OSError:
        return False
    return first.startswith("## ") and "workspace" in [word.strip() for word in first[3:].split(";")]
