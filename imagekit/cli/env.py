"""`imagekit env`: the environment of a target's build, for `go test` in a shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import CacheDir, ConfigFile, cache_directory
from imagekit.cli.stopping import SWITCH
from imagekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from imagekit.cli.matrix import Matrix
    from imagekit.golang.exporting import Exported
    from imagekit.targets.target import Target


def env(
    target: Annotated[
        str, typer.Option("--target", metavar="SEL", help="Whose build; default the one for this machine's platform.")
    ] = "",
    form: Annotated[
        str, typer.Option("--format", metavar="shell|json", help="Lines for eval, or one JSON object.")
    ] = "shell",
    config: ConfigFile = None,
    cache_dir: CacheDir = None,
) -> None:
    """Print what makes `go test` do as the build does: (eval "$(imagekit env)" && go test ./...)"""
    from imagekit.cli.asking import choice
    from imagekit.cli.matrix import read_matrix
    from imagekit.content import readable_json

    choice("--format", form, ("shell", "json"))
    matrix = read_matrix(config)
    exported = _one(matrix, _candidates(matrix, target), cache_directory(cache_dir))
    for name in exported.withheld:
        print(f"{name} of the `go env -w` file holds a password and is not printed: set it yourself", file=sys.stderr)
    if form == "json":
        sys.stdout.write(readable_json(exported.environment).decode())
    else:
        sys.stdout.write("".join(f"export {name}={_quoted(value)}\n" for name, value in exported.environment.items()))


def _candidates(matrix: Matrix, selector: str) -> Sequence[Target]:
    """The targets that are meant, by `--target` or as this machine's own."""
    from imagekit.golang.exporting import native
    from imagekit.golang.settings import read_settings
    from imagekit.golang.toolchain import find
    from imagekit.targets.listing import chosen

    exact = [one for one in matrix.targets if selector in (one.id, str(one.platform))]
    if selector:
        found: Sequence[Target] = exact or chosen(matrix.targets, (selector,))
    else:
        settings = read_settings(find(SWITCH), matrix.config.root, SWITCH)
        found = native(matrix.targets, settings)
    local = [one for one in found if not one.prebuilt and "@" not in one.main]
    if not local:
        what = f"--target {selector}" if selector else "this machine's platform"
        raise UsageError(f"{what}: nothing there is compiled from source here", hint=_named(matrix.targets))
    return local


def _one(matrix: Matrix, targets: Sequence[Target], cache: Path) -> Exported:
    """The environment that all of them have; raise `UsageError` if they differ."""
    from imagekit.golang.exporting import exported_environment
    from imagekit.golang.settings import read_settings
    from imagekit.golang.toolchain import find

    toolchain, root = find(SWITCH), matrix.config.root
    folders = dict.fromkeys(one.directory for one in targets)
    settings = {folder: read_settings(toolchain, root / folder, SWITCH) for folder in folders}
    found = [exported_environment(settings[one.directory], one, cache_dir=cache) for one in targets]
    if any(one != found[0] for one in found):
        raise UsageError(f"{len(targets)} targets are meant, and their builds differ", hint=_named(targets))
    return found[0]


def _named(targets: Sequence[Target]) -> str:
    names = [one.id for one in targets if not one.prebuilt and "@" not in one.main]
    return (
        "choose with --target: " + ", ".join(names[:8]) if names else "name a target with a `main` in this repository"
    )


def _quoted(value: str) -> str:
    """One POSIX shell word, quoted also where it need not be."""
    return "'" + value.replace("'", "'\\''") + "'"
