"""Which files each target compiles: the packages of every target, from `go list`, in the environment of its build."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import UsageError
from imagekit.golang.packages import Packages
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.judging import listing
from imagekit.pipeline.ready import Ready
from imagekit.pipeline.sources import gather
from imagekit.targets.target import Target
from imagekit.workers import Workers


def list_files(ground: Ground, targets: Sequence[Target], cancellation: Cancellation) -> tuple[Packages, ...]:
    """The packages of these targets, in their order; prebuilt ones have none and are left out.

    Modules are fetched and verified first, as for a build. Raises what `gather` does, and `UsageError` where nothing is
    compiled.
    """
    sources = gather(msgspec.structs.replace(ground, targets=tuple(targets)), cancellation)
    compiled = [ready for ready in sources.ready if ready.prebuilt is None]
    if not compiled:
        raise UsageError("all these targets are prebuilt: there are no files to list", hint="choose others")
    workers = Workers(ground.request.jobs, cancellation)
    found = {
        ready.target.id: packages for ready, packages in workers.each(partial(_list, ground, cancellation), compiled)
    }
    return tuple(found[ready.target.id] for ready in compiled)


def _list(ground: Ground, cancellation: Cancellation, ready: Ready) -> Packages:
    return listing(ground, ready, cancellation)
