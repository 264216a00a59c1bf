"""Progress on stderr: a live line a target on a terminal, a plain line a target elsewhere.

Touches stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from imagekit.pipeline.progress import Event, Phase, Progress, Said, Stage
from imagekit.text import line, plain
from imagekit.unfinished import unfinished

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

R = TypeVar("R")


class Display(Protocol):
    """Draws events; as a context manager it leaves the terminal as it was."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, event: Event) -> None: ...


def display() -> Display:
    """Live lines on a terminal that is not a CI's, plain ones elsewhere."""
    live = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM", "dumb") != "dumb"
    return LiveLines() if live else PlainLines()


def drawn(shown: Display, events: Generator[Event, None, R]) -> R:
    """Draw every event; what the generator returns at its end."""
    while True:
        try:
            shown.show(next(events))
        except StopIteration as end:
            result: R = end.value
            return result


class PlainLines:
    """One line when a target is judged, and every sentence as it comes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stderr.flush()

    def show(self, event: Event) -> None:
        match event:
            case Progress(target=target, stage=Stage.JUDGED, detail=detail):
                print(f"{line(target)}  {line(detail)}", file=sys.stderr)
            case Said(message=message):
                print(plain(message), file=sys.stderr)
            case Progress() | Phase():
                pass


class LiveLines:
    """A table of targets that redraws itself; sentences scroll above it."""

    def __init__(self) -> None:
        self._rows: dict[str, Progress] = {}
        self._phase = ""
        self._live: Live | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            console=Console(stderr=True), transient=False, refresh_per_second=8, get_renderable=self._table
        )
        self._opened.enter_context(unfinished(self._live.start, _show_cursor))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._phase = ""
        if self._live:
            self._live.stop()
        self._opened.close()

    def show(self, event: Event) -> None:
        match event:
            case Progress(target=target):
                self._rows[target] = event
            case Said(message=message):
                if self._live:
                    self._live.console.print(plain(message), markup=False, highlight=False, soft_wrap=True)
            case Phase(name=name):
                self._phase = name

    def _table(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for row in self._rows.values():
            mark = Text("✓", "green") if row.stage is Stage.JUDGED else Spinner("dots")
            table.add_row(mark, Text(line(row.target), "bold"), Text(line(row.detail or row.stage.value)))
        if self._phase:
            table.add_row(Spinner("dots"), Text(self._phase, "dim"))
        return table


def _show_cursor(_: None) -> None:
    """What `Live.stop` would do, and a new line for the last words."""
    os.write(2, b"\x1b[?25h\n")
