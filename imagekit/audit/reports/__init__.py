"""The report in every format that `imagekit audit --format` has: `render` gives bytes, `write` fills a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from imagekit.audit.finding import Severity
from imagekit.audit.judge import Report
from imagekit.audit.reports.reading import Threshold
from imagekit.errors import UsageError

Renderer = Callable[[Report, Threshold], bytes]


def _text(report: Report, _: Threshold) -> bytes:
    from imagekit.audit.prose import text

    return text(report, tree=True).encode(errors="backslashreplace")


def _json(report: Report, _: Threshold) -> bytes:
    from imagekit.audit.report import audit_json

    return audit_json(report)


def _sarif(report: Report, threshold: Threshold) -> bytes:
    from imagekit.audit.reports.sarif import sarif

    return sarif(report, threshold)


def _junit(report: Report, threshold: Threshold) -> bytes:
    from imagekit.audit.reports.junit import junit

    return junit(report, threshold)


def _github(report: Report, threshold: Threshold) -> bytes:
    from imagekit.audit.reports.annotations import workflow_commands

    return workflow_commands(report, threshold)


def _html(report: Report, threshold: Threshold) -> bytes:
    from imagekit.audit.reports.html import page

    return page(report, threshold)


FORMATS: dict[str, Renderer] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "junit": _junit,
    "github": _github,
    "html": _html,
}
"""Each imports what it needs when it is called: jinja2 for html alone."""


def render(report: Report, form: str, *, fail_on: Severity = Severity.ERROR, allow_skipped: bool = False) -> bytes:
    """The report as the bytes of a file; the same report gives the same bytes.

    `fail_on` and `allow_skipped` are those of the exit code: JUnit's failures and the page's verdict follow them.
    Raises `UsageError` for a format that there is not.
    """
    renderer = FORMATS.get(form)
    if renderer is None:
        raise UsageError(f"there is no format {form!r}", hint=f"formats: {', '.join(FORMATS)}")
    return renderer(report, Threshold(fail_on, allow_skipped))


def write(
    report: Report,
    form: str,
    stream: TextIO,
    *,
    fail_on: Severity = Severity.ERROR,
    allow_skipped: bool = False,
) -> None:
    """Write the report to a stream: text as `prose.show` does (colours on a terminal), everything else as UTF-8.

    Bytes go past the stream's encoding where it lets them (`buffer`); raises what `render` raises.
    """
    if form == "text":
        from imagekit.audit.prose import show

        show(report, stream, tree=True)
        return
    content = render(report, form, fail_on=fail_on, allow_skipped=allow_skipped)
    stream.flush()
    if hasattr(stream, "buffer"):
        stream.buffer.write(content)
    else:
        stream.write(content.decode())
    stream.flush()
