"""`imagekit audit`: what binaries and images ask of the system that starts them, judged by a policy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import CacheDir, ConfigFile, Jobs, Timeout, cache_directory
from imagekit.cli.stopping import SWITCH, limit_time
from imagekit.text import line

if TYPE_CHECKING:
    from imagekit.audit.finding import Severity
    from imagekit.audit.judge import Report
    from imagekit.audit.policy import Policy
    from imagekit.audit.subjects.sourcing import SourceTree

_CONFIG = "imagekit.yaml"
_SUBJECTS = (
    "A file, a tree, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], bundle:FILE[:NAME], "
    "docker:REF, podman:REF, or an image in a registry."
)


def audit(
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECT...", help=_SUBJECTS)],
    policy: Annotated[
        str,
        typer.Option(
            "--policy", metavar="P", help="A profile or a policy.yaml; default imagekit.yaml's, else scratch."
        ),
    ] = "",
    form: Annotated[
        str, typer.Option("--format", metavar="F", help="text, json, sarif, junit, github or html.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the report there, not to stdout.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Ask independent parsers too: DWARF, signatures, disagreements.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why, where it can run, and what to change; default for one file.")
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="Report only what this audit.json does not have.")
    ] = None,
    fail_on: Annotated[
        str, typer.Option("--fail-on", metavar="SEV", help="Exit 10 from this severity on: error, warning, note.")
    ] = "error",
    allow_skipped: Annotated[
        bool, typer.Option("--allow-skipped", help="Pass although something could not be examined.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--source", metavar="DIR", help="The programs' module, for import chains.")
    ] = None,
    config: ConfigFile = None,
    cache_dir: CacheDir = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
) -> None:
    """Judge programs in files, trees and images: every platform, every layer. The report goes to stdout."""
    from imagekit.audit.auditing import audit, conclusion
    from imagekit.audit.baseline import load
    from imagekit.audit.reports import FORMATS
    from imagekit.audit.subjects import Options, Wishes
    from imagekit.cli.asking import choice, severity
    from imagekit.workers import cpus

    limit_time(timeout)
    choice("--format", form, tuple(FORMATS))
    threshold = severity(fail_on)
    known = load(baseline) if baseline else None
    judged_by = _policy(policy, config)
    wishes = Wishes(
        deep=deep,
        explain=explain,
        sizes=form == "html",
        packages=bool(judged_by.forbidden_packages),
        sources=_sources(source, cache_dir),
    )
    options = Options(jobs=jobs or cpus(), wishes=wishes)
    audited = audit(subjects, judged_by, options, SWITCH, baseline=known)
    if audited.known:
        print(f"{audited.known} known from {line(str(baseline))} left out", file=sys.stderr)
    _write(audited.report, form, output, threshold, allow_skipped)
    if error := conclusion(audited, threshold, allow_skipped=allow_skipped):
        raise error


def _policy(given: str, config: Path | None) -> Policy:
    """The policy that is named, else the configuration's, else scratch."""
    from imagekit.audit import policy

    if given:
        return policy.load(given)
    path = config or Path(_CONFIG)
    if config is None and not path.is_file():
        return policy.load("scratch")
    from imagekit.config.document import ConfigDocument
    from imagekit.loading import load_document

    return policy.load(load_document(path, ConfigDocument).value.policy, beside=path.parent)


def _sources(directory: Path | None, cache_dir: Path | None) -> SourceTree | None:
    if directory is None:
        return None
    from imagekit.audit.subjects.sourcing import SourceTree

    return SourceTree.open(directory, cache_directory(cache_dir), SWITCH)


def _write(report: Report, form: str, output: Path | None, threshold: Severity, allow_skipped: bool) -> None:
    from imagekit.audit.reports import render, write

    if output is None:
        write(report, form, sys.stdout, fail_on=threshold, allow_skipped=allow_skipped)
        return
    from imagekit.content import write_whole

    write_whole(output, render(report, form, fail_on=threshold, allow_skipped=allow_skipped))
