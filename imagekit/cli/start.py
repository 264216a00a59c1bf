"""The first lines of every command: a signal ends it with the last line that it always ends with, and no traceback.

Importing the command line takes 20 to 100 ms, in which nothing is begun yet. Touches signals, `sys.path`, stderr and
the exit status.
"""

import os
import sys

REASONS = {2: ("interrupted (SIGINT)", 130), 15: ("terminated (SIGTERM)", 143)}
"""What a signal is called, and the exit code that it gives (POSIX 2.8.2)."""
AGAIN = "run the same command again; nothing was half written"


def run() -> None:
    """The console script."""
    import _signal  # type: ignore[import-not-found]  # compiled into the interpreter; `signal` around it takes 5 ms

    for number in REASONS:
        _signal.signal(number, _end)
    _open_closed_streams()
    _leave_first_folder()
    from imagekit.cli.main import run

    run()


def _open_closed_streams() -> None:
    """Let what was closed for us (`>&-`, a service without a terminal) lead nowhere.

    Else the next file that is opened, a blob perhaps, has its number, and gets what is said to it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for good


def _leave_first_folder() -> None:
    """Import nothing from the folder that Python looks into first (`python -P` of 3.11).

    `python -m imagekit` is often run in a tree that is not ours, whose `typer.py` would be run; beside the console
    script there is nothing for us. Where imagekit itself stands there it stays.
    """
    first = sys.path[0]
    is_folder = os.path.isdir(first)  # noqa: PTH112 - pathlib is not imported yet
    if is_folder and not sys.flags.safe_path and not __file__.startswith(f"{first}{os.sep}imagekit{os.sep}"):
        del sys.path[0]


def _end(number: int, _frame: object) -> None:
    said, code = REASONS[number]
    try:
        os.write(2, f"imagekit: exit {code}: {said}; {AGAIN}\n".encode())
    finally:
        os._exit(code)
