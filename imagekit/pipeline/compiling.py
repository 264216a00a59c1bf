"""Compile: every target under one CPU budget; failures are values, so that all targets are reported together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import hash_file
from imagekit.golang.artifact import Artifact
from imagekit.golang.budget import plan
from imagekit.golang.compile import compile_target, has_kept_output
from imagekit.golang.failures import CompileFailure
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.judging import Learned, learn
from imagekit.pipeline.ready import Ready
from imagekit.text import prepare_templates
from imagekit.workers import Ahead, Workers

_SURELY_LINKING = 0.2
"""Seconds after which a `go build` has found something to do; where it finds nothing it is over by then or soon."""


class Compiled(msgspec.Struct, frozen=True):
    """A target with its artifact, or with the reason why there is none."""

    ready: Ready
    artifact: Artifact | None
    failure: CompileFailure | None = None
    learned: Callable[[], Learned] | None = None
    """What `go list` says of it, asked for while it was linked; None for a prebuilt one."""


def compile_all(ground: Ground, targets: Sequence[Ready], cancellation: Cancellation) -> Iterator[Compiled]:
    """Each target as it finishes. Errors that are not the code's own (no version control, no zig) are raised."""
    kept = [_is_kept(ground, ready) for ready in targets]
    budget = plan(len(targets), ground.request.jobs, cold=not all(kept))
    workers = Workers(budget.parallel, cancellation)
    with Ahead(prepare_templates, _SURELY_LINKING):
        for _, compiled in workers.each(partial(_compile, ground, budget.cpus, cancellation), targets):
            yield compiled


def _is_kept(ground: Ground, ready: Ready) -> bool:
    if ready.prebuilt is not None:
        return True
    return has_kept_output(ready.go, ready.target, ready.main, cache_dir=ground.request.cache)


def _compile(ground: Ground, jobs: int, cancellation: Cancellation, ready: Ready) -> Compiled:
    if ready.prebuilt is not None:
        return Compiled(ready, Artifact(ready.target, ready.prebuilt, *hash_file(ready.prebuilt)))
    ahead = Ahead(partial(learn, ground, ready, cancellation), _SURELY_LINKING)
    try:
        with ahead if not ready.target.ldflags.values else nullcontext():
            artifact = _compiled(ground, jobs, cancellation, ready)
    except CompileFailure as failure:
        return Compiled(ready, None, failure)
    return Compiled(ready, artifact, learned=ahead.result)


def _compiled(ground: Ground, jobs: int, cancellation: Cancellation, ready: Ready) -> Artifact:
    return compile_target(
        ready.go, ready.target, ready.main, cache_dir=ground.request.cache, jobs=jobs, cancellation=cancellation
    )
