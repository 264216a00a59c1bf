"""`imagekit diff`: how two binaries, or two images, differ, and why their bytes do."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from imagekit.cli.options import Timeout
from imagekit.cli.stopping import SWITCH, limit_time

_FORMATS = ("text", "json")
_SUBJECT = (
    "A program, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], bundle:FILE[:NAME], "
    "docker:REF, podman:REF, or an image in a registry."
)


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help=_SUBJECT)],
    other: Annotated[str, typer.Argument(metavar="B", help="What to compare it with, of the same kind.")],
    form: Annotated[str, typer.Option("--format", metavar="F", help="text or json.")] = "text",
    timeout: Timeout = None,
) -> None:
    """Compare two binaries or two images: linkage, modules, settings, sizes, and the first differing bytes explained.

    Exit 0 whether they differ or not: `equal` in the JSON says which.
    """
    from imagekit.audit.compare import compare
    from imagekit.audit.comparing import prose
    from imagekit.cli.asking import choice
    from imagekit.content import readable_json

    limit_time(timeout)
    choice("--format", form, _FORMATS)
    found = compare(one, other, SWITCH)
    if form == "json":
        sys.stdout.write(readable_json(found).decode())
    else:
        sys.stdout.writelines(f"{each}\n" for each in prose.lines(found))
