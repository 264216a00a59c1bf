"""`imagekit explain`: every setting of one target, and where it was written."""

from __future__ import annotations

from typing import Annotated

import typer

from imagekit.cli.options import ConfigFile
from imagekit.cli.tables import aligned


def explain(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Its id (app:linux/arm/v7), or what selects only it.")
    ],
    config: ConfigFile = None,
) -> None:
    """Print each setting of a target with its value and the line that it comes from."""
    from imagekit.cli.matrix import read_matrix
    from imagekit.targets import listing

    found = listing.find(read_matrix(config).targets, target)
    print(aligned([(row.setting, row.value, row.origin) for row in listing.explain(found)]))
