"""`imagekit targets`: the matrix, for people, programs and CI."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import CacheDir, ConfigFile, Jobs, Selectors, Timeout, cache_directory
from imagekit.cli.stopping import SWITCH, limit_time
from imagekit.cli.tables import aligned
from imagekit.errors import UsageError

if TYPE_CHECKING:
    from imagekit.pipeline.request import Request
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
    files: Annotated[
        bool, typer.Option("--files", help="Which files each target compiles, and what kept the others out.")
    ] = False,
    diff: Annotated[
        tuple[str, str] | None, typer.Option("--diff", metavar="A B", help="What two targets compile differently.")
    ] = None,
    config: ConfigFile = None,
    cache_dir: CacheDir = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
) -> None:
    """List the targets that a build would make, in its order; with --files or --diff the files that they compile."""
    from imagekit.cli.matrix import read_matrix
    from imagekit.targets.listing import chosen

    limit_time(timeout)
    if files or diff:
        print(_selection(_request(target, config, cache_dir, jobs), diff, both=bool(files and diff), form=format))
        return
    print(listed(chosen(read_matrix(config).targets, target or ()), format))


def _request(target: Sequence[str] | None, config: Path | None, cache_dir: Path | None, jobs: int | None) -> Request:
    from imagekit.pipeline.request import Request
    from imagekit.workers import cpus

    return Request(cache=cache_directory(cache_dir), jobs=jobs or cpus(), selectors=tuple(target or ()), config=config)


def _selection(request: Request, diff: tuple[str, str] | None, *, both: bool, form: Format) -> str:
    """The answer to `--files` or `--diff`, without a final newline."""
    from imagekit.cli import files
    from imagekit.content import readable_json
    from imagekit.pipeline.ground import prepare
    from imagekit.pipeline.selecting import list_files
    from imagekit.targets.listing import find

    if both or form not in (Format.TABLE, Format.JSON) or (diff and request.selectors):
        raise UsageError(
            "--files and --diff stand alone, --diff without --target, and are a table or json", hint="ask one at a time"
        )
    ground = prepare(request, SWITCH)
    asked = tuple(dict.fromkeys(find(ground.targets, name) for name in diff)) if diff else ground.targets
    found = list_files(ground, asked, SWITCH)
    if diff and len(found) != 2:
        raise UsageError(
            f"--diff {diff[0]} {diff[1]}: two different, compiled targets are compared", hint="see `imagekit targets`"
        )
    if form is Format.JSON:
        return readable_json(files.diff_json(*found) if diff else files.files_json(found)).decode().rstrip()
    return files.diff_table(*found) if diff else files.files_table(found)


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
