"""The command line: find the command, import only it, run it, and turn every exception into an exit code.

Touches stderr and the exit status. This is the one place where an exception becomes an exit code. What it needs is
imported late, so that signals are soon listened to and `--version` is quick.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from imagekit.cli.stopping import SWITCH, listen, supervised
from imagekit.errors import ImagekitError, StoppedError

TYPE_CHECKING = False  # what `typing` says too, after 4 ms
if TYPE_CHECKING:
    import typer

COMMANDS: tuple[tuple[str, str], ...] = (
    ("init", "init:init"),
    ("check", "check:check"),
    ("schema", "schema:schema"),
    ("doctor", "doctor:doctor"),
    ("explain", "explain:explain"),
    ("targets", "targets:targets"),
    ("env", "env:env"),
    ("cache key", "cache:key"),
    ("cache prune", "cache:prune"),
    ("build", "build:build"),
    ("merge", "merge:merge"),
    ("rebuild", "rebuild:rebuild"),
    ("dockerfile", "dockerfile:dockerfile"),
    ("rules", "rules:rules"),
    ("lock", "lock:lock"),
    ("audit", "audit:audit"),
    ("diff", "diff:diff"),
    ("image copy", "image:copy"),
    ("image inspect", "image:inspect"),
    ("image validate", "image:validate"),
    ("image list", "image:list_"),
    ("image delete", "image:delete"),
    ("image explain", "image:explain"),
    ("login", "login:login"),
    ("logout", "login:logout"),
    ("bundle create", "bundle:create"),
    ("bundle verify", "bundle:verify"),
    ("bundle load", "bundle:load"),
)
"""Every command and the function behind it, in the order of `--help`."""

GROUPS = {
    "cache": "What a CI should keep of the Go cache.",
    "image": "Images in layouts, archives, registries and engines.",
    "bundle": "Carry images across an air gap.",
}


_SAYING = threading.Lock()
"""Who has it says the last line: the command, or the process that does not wait for it."""


def run() -> None:
    """The command of `sys.argv`. It ends without tearing the interpreter down, which would cost 20 ms for nothing."""
    listen()
    gc.set_threshold(100_000, 50, 50)  # what a command imports and reads stays until it ends
    code = _carried_out(sys.argv[1:])
    if SWITCH.stopped:
        from imagekit.unfinished import undo

        undo()  # what a thread that was left behind still does
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command; its exit code (README.md). Every code but 0 ends stderr with one line that names it."""
    unlisten = listen()
    try:
        return _carried_out(arguments)
    finally:
        unlisten()


def _carried_out(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--version"]:
        return _version()
    if _SAYING.locked():
        _SAYING.release()
    return supervised(partial(_command, arguments), _last_words)


def _command(arguments: Sequence[str]) -> int:
    try:
        return _answered(arguments)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()


def _answered(arguments: Sequence[str]) -> int:
    import typer

    try:
        command = typer.main.get_command(application(arguments))
        code = command.main(list(arguments), prog_name="imagekit", standalone_mode=False)
        SWITCH.check()
        sys.stdout.flush()
        return int(code or 0)
    except SystemExit as end:  # what typer makes of a closed pipe; everything else returns its code
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return _quietly_closed()
    except Exception as error:
        return _failed(SWITCH.reason or error)  # whatever breaks off when everything is stopped does so for that reason


def _failed(error: Exception) -> int:
    import typer

    match error:
        case ImagekitError():
            return _ended(error.exit_code, error.message, error.hint)
        case typer.TyperException():
            return _ended(2, _said(error), "see `imagekit --help`")
        case typer.Abort():
            return _ended(130, "interrupted", "run the same command again; nothing was half written")
        case BrokenPipeError():
            return _quietly_closed()
        case OSError():
            said = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
            return _ended(4, said, _way_out(error.errno))
    return _bug(error)


def _way_out(number: int | None) -> str:
    import errno

    match number:
        case errno.ENOSPC | errno.EDQUOT:
            return "free space on that disk, or name a folder on another; nothing was half written"
        case errno.EROFS:
            return "the file system is read-only: name a folder on another"
        case errno.EFBIG:
            return "the file system, or `ulimit -f`, takes no file of that size"
        case errno.EMFILE | errno.ENFILE:
            return "too many files are open: raise `ulimit -n`, or give a smaller --jobs"
        case errno.ENOMEM | errno.EAGAIN:
            return "there is no memory or process left: give a smaller --jobs"
        case errno.EIO:
            return "the disk or the network below it fails: see the system's log"
    return "check the path and its permissions"


def application(arguments: Sequence[str]) -> typer.Typer:
    """The commands as a Typer application; only the one that `arguments` names is imported, all of them for help."""
    from importlib import import_module

    import typer

    app = typer.Typer(
        name="imagekit",
        help="From a Go module to proven-static, described images that cross an air gap.",
        add_completion=False,
        no_args_is_help=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_about)
    groups: dict[str, typer.Typer] = {}
    for name, place in _wanted(arguments):
        module, _, function = place.partition(":")
        group, _, short = name.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(help=GROUPS[group], rich_markup_mode=None)
            app.add_typer(groups[group], name=group)
        parent = groups[group] if group else app
        parent.command(short)(getattr(import_module(f"imagekit.cli.{module}"), function))
    return app


def _about() -> None:
    """From a Go module to proven-static, described images that cross an air gap."""


def _wanted(arguments: Sequence[str]) -> tuple[tuple[str, str], ...]:
    for length in (2, 1):
        words = " ".join(arguments[:length])
        found = tuple(entry for entry in COMMANDS if entry[0] == words or entry[0].startswith(words + " "))
        if words and found:
            return found
    return COMMANDS


def _version() -> int:
    import imagekit

    try:
        print(f"imagekit {imagekit.__version__}", flush=True)
    except BrokenPipeError:
        return _quietly_closed()
    return 0


def _ended(code: int, message: str, hint: str) -> int:
    """Say what failed; the last line is one line: `imagekit: exit N: what, where, next`."""
    from imagekit.text import plain

    if not _SAYING.acquire(blocking=False):
        threading.Event().wait()  # the process is ending without us
    if "\n" in message:
        print(plain(message), file=sys.stderr)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    print(_last_line(code, message, hint), file=sys.stderr)
    return code


def _last_line(code: int, message: str, hint: str) -> str:
    from imagekit.text import line

    first = message.partition("\n")[0].rstrip(":")
    return f"imagekit: exit {code}: {line(first)}" + (f"; {line(hint)}" if hint else "")


def _last_words(reason: StoppedError) -> None:
    """The last line, for a process that waits for nobody: neither for the command nor for a reader of stderr."""
    import select

    if _SAYING.acquire(blocking=False) and select.select([], [2], [], 0)[1]:
        with suppress(OSError):
            os.write(2, _last_line(reason.exit_code, reason.message, reason.hint).encode() + b"\n")


def _said(error: typer.TyperException) -> str:
    return str(error.format_message()) if hasattr(error, "format_message") else str(error)


def _quietly_closed() -> int:
    """Nobody reads stdout any more (`imagekit … | head`): not an error of ours, and nothing more can be said."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _bug(error: Exception) -> int:
    import traceback

    from imagekit.text import plain

    print(plain("".join(traceback.format_exception(error))), file=sys.stderr)
    return _ended(1, f"bug: {type(error).__name__}: {error}", "please report it with the lines above")
