"""`imagekit lock`: the registry bases of imagekit.yaml at the digests that they have today."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from imagekit.cli.options import ConfigFile, Timeout
from imagekit.cli.stopping import SWITCH, limit_time


def lock(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 10 if a base has moved on or is not locked.")
    ] = False,
    config: ConfigFile = None,
    timeout: Timeout = None,
) -> int:
    """Ask the registries what the bases of imagekit.yaml are today, and write their digests to imagekit.lock.

    Prints a line a base: its reference at its digest.
    """
    from imagekit.image import lock as locks
    from imagekit.pipeline.locking import resolve
    from imagekit.text import line

    limit_time(timeout)
    root, found = resolve(config, SWITCH)
    before = locks.read(root).bases
    for base, digest in found.bases.items():
        print(f"{line(base)}@{digest}")
        if base in before and before[base] != digest:
            print(f"{line(base)} was {before[base]}", file=sys.stderr)
    if check:
        from imagekit.errors import RefusedError

        if before != found.bases:
            raise RefusedError(f"{root / locks.NAME} is not what the registries say", hint="run: imagekit lock")
        return 0
    locks.write(root, found)
    return 0
