"""`imagekit doctor`: what is here and what lacks, with the way out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import CacheDir, ConfigFile, cache_directory, cache_place
from imagekit.cli.stopping import SWITCH
from imagekit.errors import ToolError, UsageError

if TYPE_CHECKING:
    from imagekit.pipeline.diagnosis import Found


def doctor(
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody; name the modules that a build without a network lacks.")
    ] = False,
    form: Annotated[
        str, typer.Option("--format", metavar="text|json", help="A line for each thing, or JSON.")
    ] = "text",
    config: ConfigFile = None,
    cache_dir: CacheDir = None,
) -> None:
    """Look at everything a build needs. Exit 0: a build can run here; 3: something that it needs lacks."""
    from imagekit.cli.asking import choice
    from imagekit.content import readable_json
    from imagekit.pipeline.diagnosing import diagnose
    from imagekit.pipeline.diagnosis import State

    choice("--format", form, ("text", "json"))
    if offline:
        os.environ["GOPROXY"] = "off"  # so that `go env` itself fetches no toolchain
    found = list(diagnose(config, _cache(cache_dir), offline=offline, cancellation=SWITCH))
    missing = [one for one in found if one.state is State.MISSING]
    if form == "json":
        sys.stdout.write(readable_json({"ok": not missing, "offline": offline, "checks": found}).decode())
    else:
        print(_table(found))
    if missing:
        names = ", ".join(dict.fromkeys(one.name for one in missing))
        raise ToolError(f"a build cannot run here: {names}", hint=missing[0].hint or "see the lines above")


def _cache(given: Path | None) -> Path:
    """The cache directory, even if it cannot be made: that is one of the things to say."""
    try:
        return cache_directory(given)
    except UsageError:
        return cache_place(given)


def _table(found: Sequence[Found]) -> str:
    """A line a thing; what lacks has its way out on the next line."""
    from imagekit.text import line

    width = max(len(one.name) for one in found)
    rows = []
    for one in found:
        rows.append(f"{one.state.value:8}{one.name:{width}}  {line(one.detail)}")
        if one.hint and one.state.value != "ok":
            rows.append(f"{'':8}{'':{width}}  -> {line(one.hint)}")
    return "\n".join(rows)
