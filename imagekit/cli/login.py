"""`imagekit login` and `logout`: credentials for a registry, kept where docker keeps them."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated, Any

import typer

from imagekit.cli.options import Timeout

_LIMIT = 64 << 10
_Registry = Annotated[str, typer.Argument(metavar="REGISTRY", help="host[:port], as references have it.")]


def login(
    registry: _Registry,
    username: Annotated[str, typer.Option("--username", "-u", metavar="NAME", help="The account.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password or token from standard input.")
    ] = False,
    timeout: Timeout = None,
) -> int:
    """Try an account at a registry and keep it, in a credential helper if there is one."""
    from imagekit.cli.stopping import SWITCH, limit_time
    from imagekit.oci.login import check_account, keep, registry_host, verify

    limit_time(timeout)
    host = registry_host(registry)
    credentials = check_account(username, _password(password_stdin))
    verify(host, credentials, SWITCH)
    place = keep(host, credentials, SWITCH)
    print(f"logged in to {host}; kept by {place}", file=sys.stderr)
    if not place.startswith("docker-credential-"):
        print("the password stands there unencrypted; a credential helper would keep it safe", file=sys.stderr)
    return 0


def logout(registry: _Registry) -> int:
    """Forget the account of a registry."""
    from imagekit.cli.stopping import SWITCH
    from imagekit.oci.login import forget, registry_host

    host = registry_host(registry)
    print(f"logged out of {host}" if forget(host, SWITCH) else f"there was no account for {host}", file=sys.stderr)
    return 0


def _password(from_stdin: bool) -> str:
    """From standard input, or asked for; never from the command line, which everybody on the machine can read."""
    from imagekit.errors import UsageError

    if from_stdin:
        raw = sys.stdin.buffer.read(_LIMIT + 1)
        if len(raw) > _LIMIT:
            raise UsageError("standard input is too long for a password", hint="pipe only the password")
        return raw.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password", hint="pipe it to --password-stdin")
    from imagekit.unfinished import unfinished

    with unfinished(_terminal, _restore) as before:
        try:
            return _asked()
        finally:
            _restore(before)


def _asked() -> str:
    from getpass import getpass

    from imagekit.cli.stopping import SWITCH
    from imagekit.workers import waited

    return waited(partial(getpass, "password: "), SWITCH)


def _terminal() -> list[Any]:
    """The terminal as it is: a password is not shown while it is typed."""
    import termios

    return termios.tcgetattr(sys.stdin.fileno())


def _restore(before: list[Any]) -> None:
    import termios

    termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
