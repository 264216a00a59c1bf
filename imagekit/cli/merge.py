"""`imagekit merge`: parts that CI jobs built become one dist/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagekit.cli.build import (
    EngineName,
    FailOn,
    ImageRefs,
    Load,
    Output,
    Policy,
    Push,
    StdoutFormat,
    Tags,
    Tarball,
    finish,
)
from imagekit.cli.options import CacheDir, ConfigFile, Jobs, Selectors, Timeout, cache_directory
from imagekit.cli.stopping import SWITCH, limit_time


def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="DIR...", help="What `imagekit build --partial DIR` wrote.")],
    target: Selectors = None,
    push: Push = "",
    tag: Tags = None,
    load: Load = False,
    engine: EngineName = "",
    tarball: Tarball = None,
    output: Output = None,
    policy: Policy = "",
    fail_on: FailOn = "error",
    image_refs: ImageRefs = None,
    form: StdoutFormat = "text",
    config: ConfigFile = None,
    cache_dir: CacheDir = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
) -> int:
    """Judge targets that were built apart together, and write what one build of all would have written."""
    from imagekit.cli.asking import choice, severity
    from imagekit.cli.show import display, drawn
    from imagekit.pipeline import parts as joining
    from imagekit.pipeline.ground import prepare
    from imagekit.pipeline.request import Request
    from imagekit.workers import cpus

    limit_time(timeout)
    choice("--format", form, ("text", "json"))
    request = Request(
        cache=cache_directory(cache_dir),
        jobs=jobs or cpus(),
        selectors=tuple(target or ()),
        config=config,
        output=output,
        policy=policy or None,
        fail_on=severity(fail_on),
        push=push,
        tags=tuple(tag or ()),
        load=load,
        engine=engine or ("docker" if load else ""),
        tarball=tarball,
    )
    with display() as shown:
        outcome = drawn(shown, joining.merge(prepare(request, SWITCH, compiling=False), parts, SWITCH))
    return finish(request, outcome, form, image_refs)
