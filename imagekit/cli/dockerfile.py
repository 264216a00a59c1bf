"""`imagekit dockerfile`: the Dockerfile of an image that was built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from imagekit.cli.options import ConfigFile


def dockerfile(
    image: Annotated[str, typer.Argument(metavar="[IMAGE-ID]", help="Which image; default the only one.")] = "",
    source: Annotated[bool, typer.Option("--source", help="The one that compiles from source.")] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="DIR", help="Where the build wrote.")] = None,
    config: ConfigFile = None,
) -> None:
    """Print the Dockerfile that `imagekit build` wrote for an image, if SHA256SUMS vouches for it."""
    from imagekit.pipeline.dockerfiles import dockerfile

    sys.stdout.write(dockerfile(config, output, image, source=source).decode())
