"""One switch that stops a tree of work, with its reason. Touches the clock."""

from __future__ import annotations

import threading

from imagekit.errors import StoppedError


class Cancellation:
    """A switch that is thrown once, with the reason; every child process and task looks at it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason: StoppedError | None = None

    def stop(self, reason: StoppedError) -> None:
        """Throw the switch; the first reason stays."""
        if self._reason is None:
            self._reason = reason
            self._event.set()

    def check(self) -> None:
        """Raise the `StoppedError` that the switch was thrown with, if it was."""
        if self._reason is not None:
            raise self._reason

    @property
    def reason(self) -> StoppedError | None:
        """What the switch was thrown with."""
        return self._reason

    @property
    def stopped(self) -> bool:
        return self._reason is not None

    def wait(self, seconds: float) -> bool:
        """Sleep until the switch is thrown or the time is over; whether it was thrown."""
        return self._event.wait(seconds)
