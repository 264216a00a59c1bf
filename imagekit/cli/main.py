"""The command line: find the command, import only it, run it, and turn every exception into an exit code.

Touches signals, stderr and the exit status. This is the one place where an exception becomes an exit code.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import imagekit
from imagekit.errors import ImagekitError
from imagekit.text import line, plain

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


def run() -> None:
    """The console script. It ends without tearing the interpreter down, which would cost 20 ms and do nothing more."""
    gc.set_threshold(100_000, 50, 50)  # what a command imports and reads stays until it ends
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code of SURFACE's table. Every code but 0 ends stderr with one line that names it."""
    if list(arguments) == ["--version"]:
        return _version()
    import typer

    from imagekit.cli.stopping import stoppable

    try:
        with stoppable():
            command = typer.main.get_command(application(arguments))
            code = command.main(list(arguments), prog_name="imagekit", standalone_mode=False)
            sys.stdout.flush()
            return int(code or 0)
    except ImagekitError as error:
        return _ended(error.exit_code, error.message, error.hint)
    except typer.TyperException as error:
        return _ended(2, _said(error), "see `imagekit --help`")
    except BrokenPipeError:
        return _quietly_closed()
    except SystemExit as end:  # what typer makes of a closed pipe; everything else returns its code
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return _quietly_closed()
    except (KeyboardInterrupt, typer.Abort):
        return _ended(130, "interrupted", "run the same command again; nothing was half written")
    except OSError as error:
        return _ended(
            4, f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), "check the path and its permissions"
        )
    except Exception as error:
        return _bug(error)


def application(arguments: Sequence[str]) -> typer.Typer:
    """The commands as a Typer application; only the one that `arguments` names is imported, all of them for help."""
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
    try:
        print(f"imagekit {imagekit.__version__}", flush=True)
    except BrokenPipeError:
        return _quietly_closed()
    return 0


def _ended(code: int, message: str, hint: str) -> int:
    """Say what failed; the last line is one line: `imagekit: exit N: what, where, next`."""
    first, _, rest = message.partition("\n")
    if rest:
        print(plain(message), file=sys.stderr)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    print(f"imagekit: exit {code}: {line(first.rstrip(':'))}" + (f"; {line(hint)}" if hint else ""), file=sys.stderr)
    return code


def _said(error: typer.TyperException) -> str:
    return str(error.format_message()) if hasattr(error, "format_message") else str(error)


def _quietly_closed() -> int:
    """Nobody reads stdout any more (`imagekit … | head`): not an error of ours, and nothing more can be said."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _bug(error: Exception) -> int:
    import traceback

    print(plain("".join(traceback.format_exception(error))), file=sys.stderr)
    return _ended(1, f"bug: {type(error).__name__}: {error}", "please report it with the lines above")
