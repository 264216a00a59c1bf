"""The options that several commands share, spelled once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from imagekit.errors import UsageError

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration; default ./imagekit.yaml, if it is there."),
]
CacheDir = Annotated[
    Path | None,
    typer.Option("--cache-dir", metavar="DIR", help="Where kept outputs live; default $XDG_CACHE_HOME/imagekit."),
]
Selectors = Annotated[
    list[str] | None,
    typer.Option(
        "--target", metavar="SEL", help="Only these targets: [build:]os/arch[/variant] with globs, !x leaves out."
    ),
]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, max=1024, help="How many CPUs to use; default all.")]
Timeout = Annotated[str | None, typer.Option("--timeout", metavar="D", help="Stop after 90s, 15m, 1h; exit 124.")]


def cache_place(given: Path | None) -> Path:
    """Where the cache directory is or would be."""
    return (given or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagekit").absolute()


def cache_directory(given: Path | None, *, using: bool = True) -> Path:
    """The cache directory, made if it is missing, readable by its owner only (0700).

    With `using` it is held until this process ends, so that `imagekit cache prune` removes nothing that we need.
    """
    directory = cache_place(given)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise UsageError(f"{directory}: {error.strerror}", hint="name a writable folder with --cache-dir") from error
    if using:
        from imagekit.cli.holding import hold

        hold(directory)
    return directory
