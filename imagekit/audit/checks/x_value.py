"""x-value: the linker ignores a wrong `-X` name silently, so each value is looked for in its variable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, assert_never

from imagekit.audit.finding import Remark
from imagekit.audit.subject import Expected, Subject, XCheck, XOutcome

if TYPE_CHECKING:
    from imagekit.audit.policy import Policy


def must_hold_x_values(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """One remark for each value that is not where it was meant to be, in the order they were asked for."""
    if subject.expected is not None:
        for check in subject.expected.x_values:
            if check.outcome is not XOutcome.PRESENT:
                yield _remark(check, subject.expected)


def _remark(check: XCheck, expected: Expected) -> Remark:
    asked = f"-X {check.name} ({expected.target.origin(f'ldflags/set/{check.name}')})"
    match check.outcome:
        case XOutcome.WRONG:
            return Remark(
                message=f"{asked}: the variable holds {check.found!r}, not {check.value!r}",
                hint="another -X in `flags`, or a declaration with an initial value that is computed, wins over it",
            )
        case XOutcome.MISSING:
            return Remark(
                message=f"{asked}: there is no such string variable, so {check.value!r} is nowhere",
                hint=_right_name(check, expected),
            )
        case XOutcome.DROPPED:
            return Remark(
                message=f"{asked}: nothing reads the variable, so the linker dropped it and {check.value!r}",
                hint="read the variable somewhere, or remove it from `ldflags.set`",
            )
        case XOutcome.UNCHECKED | XOutcome.PRESENT:
            return Remark(
                message=f"{asked}: whether the variable holds {check.value!r} could not be checked: "
                + (check.reason or "its format is not read yet"),
                hint="build for a platform whose format imagekit reads, or waive the rule for this target",
            )
        case _:
            assert_never(check.outcome)


def _right_name(check: XCheck, expected: Expected) -> str:
    package, _, variable = check.name.rpartition(".")
    if expected.package and package == expected.package:
        return f"the linker knows the main package as `main`: write main.{variable}"
    return "write importpath.variable of a package-level `var` of type string without a computed initial value"
