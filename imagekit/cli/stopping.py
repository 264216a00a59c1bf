"""Ctrl-C, SIGTERM and `--timeout`: one switch that stops the whole tree of work, with its reason.

The command runs in a thread, and the main thread, which is the one that Python gives signals to, only waits for it. So
no signal ever raises an exception in the middle of anybody's code, where it could leave a lock held for ever or a file
behind. The work looks at the switch and ends by itself; what has not ended after a moment, or when a second signal
comes, is ended with the process. Touches signals, the clock, stderr and the exit status.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import types
from collections.abc import Callable

from imagekit.cancellation import Cancellation
from imagekit.cli.start import AGAIN, REASONS
from imagekit.errors import StoppedError, UsageError

SWITCH = Cancellation()
"""The switch of this process; every command hands it down."""

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "ms": 0.001}
_TICK = 0.05
_PATIENCE = 1.5
"""Seconds that the work has to end by itself; a child process takes one of them at most."""
_SAME = 0.25
"""Seconds within which a second signal is the first one again: `timeout` sends it to the process and to its group."""
_received: list[tuple[int, float]] = []
"""The signals that came, and when."""
_limits: list[tuple[float, StoppedError]] = []
"""Empty, or when the time of `--timeout` is over, and what is said then."""


def listen() -> Callable[[], None]:
    """From now on signals are noted, for `supervised`; what is returned lets them do again what they did before."""
    _received.clear()
    before = {number: signal.signal(number, _note) for number in REASONS}

    def unlisten() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return unlisten


def _note(number: int, _frame: types.FrameType | None) -> None:
    _received.append((number, time.monotonic()))


def supervised(work: Callable[[], int], last_words: Callable[[StoppedError], None]) -> int:
    """What `work` returns or raises. A signal throws the switch, and the work says why it stopped.

    Where it does not stop, all that is unfinished is undone, `last_words` says why, and the process ends.
    """
    _limits.clear()
    task, watched = _Task(work), _Watched()
    while not task.ended():
        if watched.must_end():
            _end(last_words)
    return task.result()


class _Task(threading.Thread):
    """The command, in a thread of its own."""

    def __init__(self, work: Callable[[], int]) -> None:
        super().__init__(name="command", daemon=True)
        self._work, self._code = work, 1
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._code = self._work()
        except BaseException as error:
            self._error = error

    def ended(self) -> bool:
        self.join(_TICK)
        return not self.is_alive()

    def result(self) -> int:
        if self._error is not None:
            raise self._error
        return self._code


class _Watched:
    """The signals that came, and the clock: throws the switch, and knows when patience is over."""

    def __init__(self) -> None:
        self._stopped_at = 0.0

    def must_end(self) -> bool:
        """Whether the process must end now, whatever the work does."""
        now = time.monotonic()
        if not self._stopped_at:
            self._stop(now)
            return False
        again = any(at > self._stopped_at + _SAME for _, at in _received)
        return again or now > self._stopped_at + _PATIENCE

    def _stop(self, now: float) -> None:
        if _received:
            number, self._stopped_at = _received[0]
            said, code = REASONS[number]
            SWITCH.stop(StoppedError(said, exit_code=code, hint=AGAIN))
        elif _limits and now > _limits[0][0]:
            self._stopped_at = now
            SWITCH.stop(_limits[0][1])


def _end(last_words: Callable[[StoppedError], None]) -> None:
    """End the process now; a third signal does not even wait for this."""
    from imagekit.unfinished import undo

    for number in REASONS:
        signal.signal(number, signal.SIG_DFL)
    reason = SWITCH.reason or StoppedError("stopped", exit_code=130)
    undo()
    last_words(reason)
    os._exit(reason.exit_code)


def limit_time(text: str | None) -> None:
    """Start the clock of `--timeout` (`90`, `90s`, `15m`, `1h`); raise `UsageError` for another spelling."""
    import re

    if text is None:
        return
    spelled = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if not spelled or not float(spelled[1]):
        raise UsageError(f"--timeout {text}: not a duration", hint="write 90s, 15m or 1h")
    reason = StoppedError(
        f"timed out after {text} (--timeout)", exit_code=124, hint="give it more time, or see what hangs"
    )
    _limits[:] = [(time.monotonic() + float(spelled[1]) * _UNITS[spelled[2] or ""], reason)]
