"""The optional `checks:` (gofmt, vet, staticcheck), before anything is compiled."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.golang.checks import Check, CheckFailure, run_checks
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.progress import Event, Phase
from imagekit.pipeline.ready import Ready
from imagekit.pipeline.sources import Sources

_SHOWN = 50


def run_all(ground: Ground, sources: Sources, cancellation: Cancellation) -> Generator[Event, None, None]:
    """Run them on every target of a local module; raise `ToolError` with every complaint, each once."""
    checks = ground.config.checks
    local = [ready for ready in sources.ready if ready.settings is not None and not ready.published]
    if not checks or not local:
        return
    yield Phase("checking the source")
    found: dict[CheckFailure, None] = {}
    for ready in local:
        found |= dict.fromkeys(_of(ground, ready, checks, cancellation))
    if found:
        raise _complaints(tuple(sorted(found)))


def _of(ground: Ground, ready: Ready, checks: Sequence[Check], cancellation: Cancellation) -> tuple[CheckFailure, ...]:
    return run_checks(
        ready.go,
        ready.target,
        checks,
        cache_dir=ground.request.cache,
        cancellation=cancellation,
        mode=ready.mode,
    )


def _complaints(found: tuple[CheckFailure, ...]) -> ToolError:
    lines = [f"{one.file}:{one.line}: {one.check.value}: {one.message}" for one in found[:_SHOWN]]
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return ToolError(
        "\n".join([f"the source does not pass its checks ({len(found)}):", *lines, *more]),
        hint="mend these lines, or take the check out of `checks`",
    )
