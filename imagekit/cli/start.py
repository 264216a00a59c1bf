"""The first lines of every command: a signal ends it with the last line that it always ends with, and no traceback.

Importing the command line takes 20 to 100 ms, in which nothing is begun yet. Touches signals, stderr and the exit
status.
"""

import os

REASONS = {2: ("interrupted (SIGINT)", 130), 15: ("terminated (SIGTERM)", 143)}
"""What a signal is called, and the exit code that it gives (POSIX 2.8.2)."""
AGAIN = "run the same command again; nothing was half written"


def run() -> None:
    """The console script."""
    import _signal  # type: ignore[import-not-found]  # compiled into the interpreter; `signal` around it takes 5 ms

    for number in REASONS:
        _signal.signal(number, _end)
    from imagekit.cli.main import run

    run()


def _end(number: int, _frame: object) -> None:
    said, code = REASONS[number]
    try:
        os.write(2, f"imagekit: exit {code}: {said}; {AGAIN}\n".encode())
    finally:
        os._exit(code)
