"""Finding, Skip and their severity; Remark, which is a finding before the policy has given it a severity."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from imagekit.binary.facts import Evidence


class Severity(IntEnum):
    """Ordered: a finding fails the command when it is at or above `--fail-on`."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> Severity:
        """Read `note`, `warning`, `error`; raise `KeyError` for another word."""
        return cls[word.upper()]


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """What a check says of its subject; `severity` only where it is not the rule's own.

    `hint` is the way out; `chain` is the shortest import chain, main first.
    """

    message: str
    evidence: tuple[Evidence, ...] = ()
    chain: tuple[str, ...] = ()
    hint: str = ""
    severity: Severity | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says of a subject, with its evidence, the shortest import chain (main first) and the way out."""

    rule: str
    severity: Severity
    subject: str
    message: str
    evidence: tuple[Evidence, ...] = ()
    chain: tuple[str, ...] = ()
    hint: str = ""


class Skip(msgspec.Struct, frozen=True):
    """A file that was not examined; it counts as not passed."""

    path: str
    reason: str
