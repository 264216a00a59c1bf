"""What examining an argument gives, and what to read of it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.subject import Subject
from imagekit.audit.subjects.program import Wishes
from imagekit.errors import ImagekitError

UNREADABLE = "unreadable"
"""The rule of a member of a tree that cannot be read."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to examine: at most `jobs` processes; `explain_single` explains a file that is the only argument."""

    jobs: int = 1
    wishes: Wishes = Wishes()
    explain_single: bool = True


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of the answer: programs, what was not examined, how many files are in no executable format.

    `findings` are those that no facts show; `errors` are arguments, or images in them, that could not be read to their
    end: each stands among the skips too.
    """

    subjects: tuple[Subject, ...] = ()
    skips: tuple[Skip, ...] = ()
    other: int = 0
    findings: tuple[Finding, ...] = ()
    errors: tuple[ImagekitError, ...] = ()


def unreadable_member(label: str, reason: str) -> Examined:
    """A file or folder of a tree that cannot be read."""
    return Examined(
        findings=(
            Finding(
                rule=UNREADABLE,
                severity=Severity.ERROR,
                subject=label,
                message=f"cannot be read: {reason}",
                hint="run the audit as a user who may read it, or leave it out of the tree",
            ),
        )
    )


def failed(label: str, error: ImagekitError) -> Examined:
    """An argument, or an image in it, that could not be examined to its end."""
    return Examined(skips=(Skip(label, error.message),), errors=(error,))


def shown_path(path: str | Path) -> str:
    """A path as text that every report can hold: bytes that are not UTF-8 become `\\xff`-like escapes."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
