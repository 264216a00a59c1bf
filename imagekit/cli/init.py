"""`imagekit init`: a first imagekit.yaml, with a word on each key. Touches disk."""

from __future__ import annotations

import sys
from pathlib import Path

from imagekit.cli.options import ConfigFile
from imagekit.errors import UsageError


def init(config: ConfigFile = None) -> None:
    """Write a commented imagekit.yaml for the main packages found here; never over a file that is there."""
    from imagekit.config.starting import starting_config

    path = config or Path("imagekit.yaml")
    content = starting_config(path.parent)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(content)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", hint="edit it, or name another with --config") from error
    print(f"wrote {path}; next: imagekit check, imagekit build", file=sys.stderr)
