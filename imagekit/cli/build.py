"""`imagekit build`: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from imagekit.cli.options import CacheDir, ConfigFile, Jobs, Selectors, Timeout, cache_directory
from imagekit.cli.stopping import SWITCH, limit_time
from imagekit.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from imagekit.audit.finding import Severity
    from imagekit.pipeline.job import Built, Outcome, Refusal
    from imagekit.pipeline.request import Request


Push = Annotated[str, typer.Option("--push", metavar="REF", help="Push the image there.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="T", help="A tag instead of the configured ones; repeatable.")
]
Load = Annotated[bool, typer.Option("--load", help="Load into a container engine; print its image id.")]
EngineName = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="For --load: docker (default), podman, or a plug-in.")
]
Tarball = Annotated[
    Path | None, typer.Option("--tarball", metavar="FILE", help="One tar that is OCI layout and docker archive.")
]
Output = Annotated[Path | None, typer.Option("--output", metavar="DIR", help="Instead of dist.")]
Policy = Annotated[str, typer.Option("--policy", metavar="P", help="A built-in profile or a policy.yaml.")]
FailOn = Annotated[
    str, typer.Option("--fail-on", metavar="SEV", help="Refuse from this severity on: error, warning, note.")
]
ImageRefs = Annotated[
    Path | None, typer.Option("--image-refs", metavar="FILE", help="Write the image references to a file too.")
]
StdoutFormat = Annotated[
    str, typer.Option("--format", metavar="text|json", help="What stdout gets: a line an image, or artifacts.json.")
]


def build(
    packages: Annotated[
        list[str] | None, typer.Argument(metavar="[PACKAGE]...", help="Main packages; default all configured or found.")
    ] = None,
    target: Selectors = None,
    push: Push = "",
    tag: Tags = None,
    load: Load = False,
    engine: EngineName = "",
    tarball: Tarball = None,
    output: Output = None,
    partial: Annotated[
        Path | None, typer.Option("--partial", metavar="DIR", help="Only compile and judge, for `imagekit merge`.")
    ] = None,
    policy: Policy = "",
    fail_on: FailOn = "error",
    verify_modules: Annotated[
        bool, typer.Option("--verify-modules", help="Verify the module cache even if it was before.")
    ] = False,
    verify_reproducible: Annotated[
        bool,
        typer.Option("--verify-reproducible", help="Build twice, the second time elsewhere; exit 5 if a byte differs."),
    ] = False,
    image_refs: ImageRefs = None,
    form: StdoutFormat = "text",
    config: ConfigFile = None,
    cache_dir: CacheDir = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
) -> int:
    """Compile, judge and pack; one line an image on stdout. Exit 10: the policy does not allow what was built."""
    from imagekit.cli.asking import choice, severity
    from imagekit.pipeline.request import Request
    from imagekit.workers import cpus

    limit_time(timeout)
    choice("--format", form, ("text", "json"))
    if partial is not None and (push or load or tarball):
        raise UsageError("--partial makes no image", hint="give --push, --load and --tarball to `imagekit merge`")
    request = Request(
        cache=cache_directory(cache_dir),
        jobs=jobs or cpus(),
        packages=tuple(packages or ()),
        selectors=tuple(target or ()),
        config=config,
        output=output,
        partial=partial,
        policy=policy or None,
        fail_on=severity(fail_on),
        verify_modules=verify_modules,
        verify_reproducible=verify_reproducible,
        push=push,
        tags=tuple(tag or ()),
        load=load,
        engine=engine or ("docker" if load else ""),
        tarball=tarball,
    )
    return finish(request, _run(request), form, image_refs)


def _run(request: Request) -> Outcome:
    from imagekit.cli.show import display, drawn
    from imagekit.pipeline.ground import prepare
    from imagekit.pipeline.job import build as job

    with display() as shown:
        return drawn(shown, job(prepare(request, SWITCH), SWITCH))


def finish(request: Request, outcome: Outcome, form: str, image_refs: Path | None) -> int:
    """Show the report, deliver, print the references; the exit code."""
    from imagekit.audit.prose import show
    from imagekit.pipeline.job import Refusal

    if isinstance(outcome, Refusal):
        show_refusal(outcome, request.fail_on)
    if outcome.report.findings:
        show(outcome.report, sys.stderr, subjects=False)
    if request.partial is not None:
        return 0
    if request.verify_reproducible:
        from imagekit.pipeline.repeating import verify_reproducible

        same = verify_reproducible(outcome.ground, SWITCH)
        print(f"reproducible: a second build elsewhere gave the same {same} files", file=sys.stderr)
    lines = _delivered(request, outcome)
    text = _json(outcome) if form == "json" else "".join(f"{line}\n" for line in lines)
    if image_refs is not None:
        from imagekit.content import write_whole

        write_whole(image_refs, "".join(f"{line}\n" for line in lines).encode())
    sys.stdout.write(text)
    return 0


def show_refusal(outcome: Refusal, fail_on: Severity) -> NoReturn:
    """Show the report, and raise the `RefusedError` that names its rules."""
    from imagekit.audit.prose import show

    show(outcome.report, sys.stderr, subjects=True)
    hint = "the findings above say what brought it in, and the way out"
    raise RefusedError(_refusal(outcome, fail_on), hint=hint)


def _refusal(outcome: Refusal, fail_on: Severity) -> str:
    rules = sorted({found.rule for found in outcome.report.findings if found.severity >= fail_on})
    return f"the policy {outcome.report.policy} does not allow what was built ({', '.join(rules)}); nothing was written"


def _delivered(request: Request, built: Built) -> tuple[str, ...]:
    """The lines for stdout: where each image is, or the engine's ids with `--load`."""
    from imagekit.pipeline import delivering

    lines = delivering.references(built.shipped.images)
    if request.tarball is not None:
        delivering.tarball(built, request.tarball, SWITCH)
    if request.push:
        lines = (delivering.push(built, request.push, SWITCH),)
    if request.load:
        lines = delivering.load(built, SWITCH)
    return lines


def _json(built: Built) -> str:
    return (built.ground.output / "artifacts.json").read_text(encoding="utf-8")
