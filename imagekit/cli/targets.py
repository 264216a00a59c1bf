"""`imagekit targets`: the matrix, for people, programs and CI."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import ConfigFile, Selectors
from imagekit.cli.tables import aligned

if TYPE_CHECKING:
    from imagekit.targets.target import Target


class Format(StrEnum):
    """How targets are listed."""

    TABLE = "table"
    JSON = "json"
    GITHUB = "github"
    GITLAB = "gitlab"


def targets(
    target: Selectors = None,
    format: Annotated[Format, typer.Option("--format", help="github, gitlab: a CI job matrix.")] = Format.TABLE,  # noqa: A002 - the option's name
    config: ConfigFile = None,
) -> None:
    """List the targets that a build would make, in its order."""
    from imagekit.cli.matrix import read_matrix
    from imagekit.targets.listing import chosen

    print(listed(chosen(read_matrix(config).targets, target or ()), format))


def listed(found: Sequence[Target], format: Format) -> str:  # noqa: A002 - the option's name
    """The targets in a format, without a final newline; GitHub's is one line, as $GITHUB_OUTPUT wants it."""
    from imagekit.content import canonical_json, readable_json
    from imagekit.targets import listing

    match format:
        case Format.JSON:
            return readable_json(listing.matrix(found)).decode().rstrip()
        case Format.GITHUB:
            return canonical_json(listing.github(found)).decode()
        case Format.GITLAB:
            return readable_json(listing.gitlab(found)).decode().rstrip()
    rows = [
        (one.id, one.level or "-", one.cgo.value, ",".join(one.tags) or "-", one.main or one.prebuilt) for one in found
    ]
    return aligned([("TARGET", "LEVEL", "CGO", "TAGS", "MAIN"), *rows])
