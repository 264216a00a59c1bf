"""Isolation: a program is started where there is no network at all, not even loopback. Starts `unshare`."""

from __future__ import annotations

import os

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.processes import run

_WAYS = (
    ("unshare", "--net"),
    ("unshare", "--user", "--map-current-user", "--net"),
)
"""A network namespace of one's own (network_namespaces(7)): as root, or in a user namespace of one's own."""


def isolation(cancellation: Cancellation) -> tuple[str, ...]:
    """The words that go before a command; raises `ToolError` where this machine gives no network namespace."""
    said = ""
    for words in _WAYS:
        try:
            tried = run([*words, "true"], env={"PATH": os.environ.get("PATH", os.defpath)}, cancellation=cancellation)
        except ToolError as error:
            said = error.message
            continue
        if tried.returncode == 0:
            return words
        said = tried.stderr.decode(errors="replace").strip()
    raise ToolError(
        f"a compile cannot be kept from the network here: {said or 'unshare failed'}",
        hint="run it on a Linux that allows user namespaces, or accept a compile that could reach one: --allow network",
    )
