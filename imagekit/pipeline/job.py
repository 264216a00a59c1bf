"""The main job as a list one can read. Every step stands in a file of its own."""

from __future__ import annotations

import datetime
from collections.abc import Generator, Sequence
from functools import partial

import msgspec

from imagekit.audit.finding import Finding
from imagekit.audit.judge import Report, judge
from imagekit.cancellation import Cancellation
from imagekit.pipeline.compiling import Compiled, compile_all
from imagekit.pipeline.foundation import Foundations, lay
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.inspecting import inspect
from imagekit.pipeline.judging import ask, findings_of_failure, learn, subjects_of
from imagekit.pipeline.parts import write_part
from imagekit.pipeline.progress import Event, Phase, Progress, Said, Stage
from imagekit.pipeline.shipping import Passed, Shipped
from imagekit.pipeline.sources import Sources, gather
from imagekit.pipeline.writing import write
from imagekit.source.weakness import Weakness
from imagekit.workers import Workers


class Refusal(msgspec.Struct, frozen=True):
    """The policy does not allow what was built; nothing was written."""

    report: Report


class Built(msgspec.Struct, frozen=True):
    """What was written, and the report that allowed it."""

    ground: Ground
    report: Report
    shipped: Shipped


class Fetched(msgspec.Struct, frozen=True):
    """All that comes from elsewhere: what follows needs no network."""

    ground: Ground
    sources: Sources
    foundations: Foundations


Outcome = Built | Refusal


def build(ground: Ground, cancellation: Cancellation) -> Generator[Event, None, Outcome]:
    """Do it all; yields what people may want to see, returns how it ended.

    Raises the errors of the steps; whatever is raised, dist/ is what it was.
    """
    fetched = yield from fetch(ground, cancellation)
    return (yield from make(fetched, cancellation))


def fetch(ground: Ground, cancellation: Cancellation) -> Generator[Event, None, Fetched]:
    """The first part: modules and bases, verified."""
    yield Phase("fetching and verifying modules")
    sources = gather(ground, cancellation)
    return Fetched(_dated(ground, sources), sources, lay(ground, cancellation))


def make(fetched: Fetched, cancellation: Cancellation) -> Generator[Event, None, Outcome]:
    """The second: check, compile, inspect, judge, write."""
    ground, sources, foundations = fetched.ground, fetched.sources, fetched.foundations
    yield from _ambient(sources)
    yield from _unsigned(ground)
    yield from _check(ground, sources, cancellation)
    compiled = yield from _compile(ground, sources, cancellation)
    judgeable, findings = _examine(ground, compiled, cancellation)
    return (yield from conclude(ground, judgeable, sources.weaknesses, findings, foundations, cancellation))


def conclude(
    ground: Ground,
    judgeable: Sequence[Passed],
    weaknesses: Sequence[Weakness],
    findings: Sequence[Finding],
    foundations: Foundations,
    cancellation: Cancellation,
) -> Generator[Event, None, Outcome]:
    """The second half: judge what was built here or elsewhere, and write it if it may be shipped."""
    report = _judge(ground, judgeable, weaknesses, findings, foundations, cancellation)
    if report.exit_code(ground.request.fail_on):
        return Refusal(report)
    yield from _told(judgeable)
    if ground.request.partial is not None:
        write_part(ground.request.partial, ground, judgeable, weaknesses)
        return Built(ground, report, Shipped(()))
    yield Phase("writing")
    shipped = write(ground, judgeable, report, foundations, cancellation)
    yield from (Said(sentence) for sentence in shipped.said)
    return Built(ground, report, shipped)


def _check(ground: Ground, sources: Sources, cancellation: Cancellation) -> Generator[Event, None, None]:
    if ground.config.checks:
        from imagekit.pipeline.checking import run_all

        yield from run_all(ground, sources, cancellation)


def _dated(ground: Ground, sources: Sources) -> Ground:
    """Without SOURCE_DATE_EPOCH and repository, the time of the newest published version."""
    if not ground.undated:
        return ground
    return msgspec.structs.replace(ground, created=max((ready.time for ready in sources.ready), default=0))


def _unsigned(ground: Ground) -> Generator[Event, None, None]:
    if ground.config.sign:
        yield Said(
            "`sign:` is not acted on by build in this version; sign a bundle: `imagekit bundle create --openpgp`"
        )


def _ambient(sources: Sources) -> Generator[Event, None, None]:
    from imagekit.golang.ambient import said

    seen = {id(ready.settings): ready.settings for ready in sources.ready if ready.settings is not None}
    for sentence in dict.fromkeys(sentence for settings in seen.values() for sentence in said(settings)):
        yield Said(sentence)


def _compile(ground: Ground, sources: Sources, cancellation: Cancellation) -> Generator[Event, None, list[Compiled]]:
    """Every target, in the order of the matrix again."""
    for ready in sources.ready:
        yield Progress(ready.target.id, Stage.COMPILING)
    done: dict[str, Compiled] = {}
    for compiled in compile_all(ground, sources.ready, cancellation):
        target = compiled.ready.target.id
        done[target] = compiled
        yield Progress(target, Stage.COMPILED)
        if compiled.artifact is not None and compiled.artifact.relinked:
            yield Said(f"{target}: linked again, the kept output was not trusted: {compiled.artifact.relinked}")
    return [done[ready.target.id] for ready in sources.ready]


def _examine(
    ground: Ground, compiled: Sequence[Compiled], cancellation: Cancellation
) -> tuple[list[Passed], list[Finding]]:
    """Facts of what compiled, findings for what did not."""
    findings: list[Finding] = []
    for one in compiled:
        if one.failure is not None:
            findings += findings_of_failure(ground, one.ready, one.failure, cancellation)
    good = [one for one in compiled if one.artifact is not None]
    workers = Workers(ground.request.jobs, cancellation)
    done = {one.ready.target.id: made for one, made in workers.each(partial(_look, ground, cancellation), good)}
    return [done[one.ready.target.id] for one in good], findings


def _look(ground: Ground, cancellation: Cancellation, one: Compiled) -> Passed:
    if one.artifact is None:
        raise ValueError(f"{one.ready.target.id} did not compile")
    inspected = inspect(one.artifact, ground.request.cache)
    learned = one.learned or partial(learn, ground, one.ready, cancellation)
    return Passed(one.ready, inspected, ask(ground, one.ready, inspected, cancellation, learned))


def _judge(
    ground: Ground,
    judgeable: Sequence[Passed],
    weaknesses: Sequence[Weakness],
    findings: Sequence[Finding],
    foundations: Foundations,
    cancellation: Cancellation,
) -> Report:
    subjects = [
        subject
        for one in judgeable
        for subject in subjects_of(ground, one.ready, one.inspected, one.asked, cancellation)
    ]
    today = datetime.datetime.now(datetime.UTC).date()
    return judge(
        [*subjects, *foundations.subjects],
        ground.policy,
        today=today,
        weaknesses=weaknesses,
        findings=findings,
        skips=foundations.skips,
        other=foundations.other,
    )


def _told(judgeable: Sequence[Passed]) -> Generator[Event, None, None]:
    for one in judgeable:
        facts, artifact = one.inspected.facts, one.inspected.artifact
        words = [facts.linkage.value, f"cgo {facts.cgo.value}", *([facts.libc] if facts.libc else [])]
        yield Progress(one.ready.target.id, Stage.JUDGED, f"{', '.join(words)}, {_size(artifact.size)}")


def _size(count: int) -> str:
    """Bytes for people: 1.4 MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} B"
