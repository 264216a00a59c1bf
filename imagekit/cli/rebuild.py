"""`imagekit rebuild`: the same image again, from what its provenance says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from imagekit.cli.build import FailOn, Policy
from imagekit.cli.options import CacheDir, Jobs, Timeout, cache_directory
from imagekit.cli.stopping import SWITCH, limit_time


def rebuild(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image of a local dist/: oci:dist/oci[:NAME].")],
    source: Annotated[str, typer.Option("--source", metavar="DIR|URL", help="A repository that has the commit.")] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="WORD", help="checks, cgo, unsafe, network or compression; repeatable."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="DIR", help="Keep what was rebuilt there.")] = None,
    policy: Policy = "",
    fail_on: FailOn = "error",
    cache_dir: CacheDir = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
) -> int:
    """Check the commit out anew, compile without a network, compare. Exit 5: another image came out."""
    from imagekit.cli.asking import choice, severity
    from imagekit.cli.build import show_refusal
    from imagekit.cli.show import display, drawn
    from imagekit.pipeline.job import Refusal
    from imagekit.pipeline.rebuilding import Allowed, Order
    from imagekit.pipeline.rebuilding import rebuild as again
    from imagekit.workers import cpus

    limit_time(timeout)
    for word in allow or ():
        choice("--allow", word, tuple(Allowed))
    order = Order(
        image=image,
        cache=cache_directory(cache_dir),
        jobs=jobs or cpus(),
        source=source,
        allowed=frozenset(map(Allowed, allow or ())),
        output=output,
        policy=policy or None,
        fail_on=severity(fail_on),
    )
    with display() as shown:
        outcome = drawn(shown, again(order, SWITCH))
    if isinstance(outcome, Refusal):
        show_refusal(outcome, order.fail_on)
    print(f"rebuilt: {outcome.how}", file=sys.stderr)
    print(outcome.reference)
    return 0
