"""Ctrl-C, SIGTERM and `--timeout`: one switch that stops the whole tree of work, with its reason.

Touches signals and the clock.
"""

from __future__ import annotations

import re
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagekit.errors import StoppedError, UsageError
from imagekit.workers import Cancellation

SWITCH = Cancellation()
"""The switch of this process; every command hands it down."""

_AGAIN = "run the same command again; nothing was half written"
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "ms": 0.001}


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside the block a signal throws the switch and raises its `StoppedError` in the main thread."""
    reasons = {
        signal.SIGINT: StoppedError("interrupted (SIGINT)", exit_code=130, hint=_AGAIN),
        signal.SIGTERM: StoppedError("terminated (SIGTERM)", exit_code=143, hint=_AGAIN),
    }
    before = {number: signal.signal(number, _stop_with(reason)) for number, reason in reasons.items()}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def limit_time(text: str | None) -> None:
    """Start the clock of `--timeout` (`90`, `90s`, `15m`, `1h`); raise `UsageError` for another spelling."""
    if text is None:
        return
    spelled = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if not spelled or not float(spelled[1]):
        raise UsageError(f"--timeout {text}: not a duration", hint="write 90s, 15m or 1h")
    reason = StoppedError(
        f"timed out after {text} (--timeout)", exit_code=124, hint="give it more time, or see what hangs"
    )
    signal.signal(signal.SIGALRM, _stop_with(reason))
    signal.setitimer(signal.ITIMER_REAL, float(spelled[1]) * _UNITS[spelled[2] or ""])


def _stop_with(reason: StoppedError) -> Callable[[int, types.FrameType | None], None]:
    def stop(_number: int, _frame: types.FrameType | None) -> None:
        if not SWITCH.stopped:
            SWITCH.stop(reason)
            raise reason

    return stop
