"""`imagekit schema`: the JSON Schema of what people write."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def schema(
    name: Annotated[str, typer.Argument(metavar="[imagekit|policy|trust]", help="Of which file.")] = "imagekit",
) -> None:
    """Print the JSON Schema of imagekit.yaml, policy.yaml or trust.yaml, for editors."""
    from imagekit.config.schema import schema
    from imagekit.content import readable_json

    sys.stdout.write(readable_json(schema(name)).decode())
