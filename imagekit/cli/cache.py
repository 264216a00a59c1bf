"""`imagekit cache`: what a CI should key its Go cache on, and removing what was not used."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import CacheDir, ConfigFile, Selectors, cache_directory
from imagekit.cli.stopping import SWITCH
from imagekit.errors import UsageError

if TYPE_CHECKING:
    from imagekit.golang.settings import GoSettings
    from imagekit.pipeline.pruning import Pruned
    from imagekit.targets.target import Target

StdoutFormat = Annotated[str, typer.Option("--format", metavar="text|json", help="What stdout gets.")]
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def key(
    target: Selectors = None,
    form: Annotated[
        str,
        typer.Option("--format", metavar="text|json", help="text: the key; json: restore keys and paths too."),
    ] = "text",
    config: ConfigFile = None,
    cache_dir: CacheDir = None,
) -> None:
    """Print the key of the Go cache: Go's version, the targets' settings, go.mod and go.sum; not the source."""
    from imagekit.cli.asking import choice
    from imagekit.cli.matrix import read_matrix
    from imagekit.content import readable_json
    from imagekit.golang.keying import cache_key
    from imagekit.golang.settings import read_settings
    from imagekit.golang.toolchain import find
    from imagekit.targets.listing import chosen

    choice("--format", form, ("text", "json"))
    matrix = read_matrix(config)
    root = matrix.config.root
    host = read_settings(find(SWITCH), root, SWITCH)
    compiled = [one for one in chosen(matrix.targets, target or ()) if not one.prebuilt]
    found = cache_key(root, _by_module(compiled, root, host), cache_dir=cache_directory(cache_dir), host=host)
    if form == "json":
        sys.stdout.write(
            readable_json({"key": found.key, "restore_keys": found.restore_keys, "paths": found.paths}).decode()
        )
    else:
        print(found.key)


def _by_module(targets: list[Target], root: Path, host: GoSettings) -> list[tuple[GoSettings, list[Target]]]:
    """The targets by the folder of their module, each with Go's settings there."""
    from imagekit.golang.settings import read_settings

    folders: dict[str, list[Target]] = {}
    for target in targets:
        folders.setdefault(target.directory, []).append(target)
    return [
        (host if folder in (".", "") else read_settings(host.toolchain, root / folder, SWITCH), some)
        for folder, some in folders.items()
    ]


def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Not used for this long: 12h, 30d, 8w.")
    ] = "30d",
    form: StdoutFormat = "text",
    cache_dir: CacheDir = None,
) -> None:
    """Remove what no build used for a while from the cache directory; never what a running imagekit holds."""
    import time

    from imagekit.cli.asking import choice
    from imagekit.cli.holding import alone
    from imagekit.content import readable_json
    from imagekit.pipeline.pruning import prune

    choice("--format", form, ("text", "json"))
    age = _seconds(older_than)
    cache = cache_directory(cache_dir, using=False)
    with alone(cache) as ours:
        done = prune(cache, older_than=age, now=time.time(), alone=ours)
    for sentence in _told(done, cache):
        print(sentence, file=sys.stderr)
    if form == "json":
        sys.stdout.write(readable_json(_plain(done, cache)).decode())


def _seconds(text: str) -> float:
    spelled = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not spelled:
        raise UsageError(f"--older-than {text}: not an age", hint="write 12h, 30d or 8w")
    return float(spelled[1]) * _UNITS[spelled[2]]


def _told(done: Pruned, cache: Path) -> list[str]:
    rows = [f"removed {one.count} {one.kind}: {one.size / 1e6:.1f} MB" for one in done.removed if one.count]
    if done.held:
        rows.append(f"{done.held} kept outputs are in use and stay")
    if done.busy:
        stays = "what was used within a day, extracted modules, bases, scratch and compilers' caches stay"
        rows.append(f"another imagekit uses the cache: {stays}")
    return [*rows, f"{cache}: freed {done.size / 1e6:.1f} MB"]


def _plain(done: Pruned, cache: Path) -> dict[str, object]:
    return {
        "cache": str(cache),
        "freed": done.size,
        "held": done.held,
        "busy": done.busy,
        "removed": [{"kind": one.kind, "count": one.count, "size": one.size} for one in done.removed],
    }
