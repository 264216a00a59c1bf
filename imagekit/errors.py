"""Every exception that imagekit raises on purpose, with its exit code and the way out.

Exit codes: 0 clean, 1 bug, 2 usage or config, 3 a tool failed, 4 unreadable, 5 integrity, 6 network,
10 a finding, 124 timeout, 130 SIGINT, 143 SIGTERM.
"""

from __future__ import annotations

from collections.abc import Iterable

PRECEDENCE = (5, 4, 6, 3, 10)
"""Which exit code wins when several failures come together."""


class ImagekitError(Exception):
    """What failed and where; `hint` is the next command or edit that helps."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ImagekitError):
    """The command line or an environment variable asks for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file is wrong; the message names file, line and column of every mistake."""


class ToolError(ImagekitError):
    """A program that imagekit calls (go, git, gpg, zig, an engine) failed or is missing."""

    exit_code = 3


class UnreadableError(ImagekitError):
    """An argument or container cannot be read."""

    exit_code = 4


class FormatError(UnreadableError):
    """Bytes break their format's rules; `offset` is where, in bytes from the start of the file."""

    def __init__(self, message: str, *, offset: int = 0, hint: str = "") -> None:
        super().__init__(f"{message} (at offset {offset:#x})", hint=hint)
        self.offset = offset


class IntegrityError(ImagekitError):
    """Bytes are not the bytes that were promised: a digest, a signature, a broken link of `verify`."""

    exit_code = 5


class NetworkError(ImagekitError):
    """A registry, a proxy or the network in between refused or did not answer."""

    exit_code = 6


class RefusedError(ImagekitError):
    """The policy does not allow what was found; nothing was shipped."""

    exit_code = 10


class StoppedError(ImagekitError):
    """The work was cancelled: 124 `--timeout`, 130 SIGINT, 143 SIGTERM."""

    def __init__(self, message: str, *, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def worst(codes: Iterable[int]) -> int:
    """The exit code for several outcomes together: the first of 5, 4, 6, 3, 10, else the largest."""
    seen = set(codes)
    return next((code for code in PRECEDENCE if code in seen), max(seen, default=0))
