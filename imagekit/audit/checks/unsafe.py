"""unsafe: what was admitted from outside the allow-lists is named, each flag and each variable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.audit.why import where_written

if TYPE_CHECKING:
    from imagekit.audit.policy import Policy


def nothing_unsafe(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """One remark for each flag, then for each variable, in the order they were written."""
    target = subject.expected.target if subject.expected else None
    if target is None:
        return
    settings = [(flag, flag) for flag in target.unsafe.flags]
    settings += [(f"{name}={value}", name) for name, value in target.unsafe.env]
    for shown, key in settings:
        yield Remark(
            message=f"{shown} is outside the allow-lists, and was admitted ({where_written(target, key)})",
            hint="remove it from `unsafe`, or waive this rule with a reason",
        )
