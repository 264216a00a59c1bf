"""loads-code, instrumented, fips: what the program does while it runs that its headers do not show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import evidence, listed
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_COSTS = {
    "race": "the race detector needs 5 to 10 times the memory, and C code",
    "asan": "the address sanitizer is C code for tests",
    "msan": "the memory sanitizer is C code for tests",
    "cover": "coverage counters are written while it runs",
}
_NOT_VALIDATED = ("GOFIPS140=latest", "GOFIPS140=inprocess", "fips140=")
"""What begins so names no frozen version of the module (go.dev/doc/security/fips140)."""


def loads_no_code(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    loads = subject.facts.traits.loads
    if loads:
        yield Remark(
            message=f"can load code while it runs ({listed(loads)}): what it loads stands in no header",
            evidence=evidence(subject.facts, "loads"),
            hint="where it is meant, ship what it loads in the image; a scratch image has nothing to load",
        )


def no_instrument(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    for name in subject.facts.traits.instrumented:
        yield Remark(
            message=f"built with -{name}: {_COSTS.get(name, 'an instrument for tests')}",
            evidence=evidence(subject.facts, "instrumented"),
            hint=f"remove -{name} from `flags`, or keep it to builds for tests",
        )


def has_fips(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """What nothing shows does not pass."""
    said = subject.facts.traits.fips
    if said is None:
        message = "nothing shows a FIPS 140-3 module"
    elif said.startswith(_NOT_VALIDATED):
        message = f"{said} names no frozen version of the module, so none that could be validated"
    else:
        return
    yield Remark(
        message=message,
        evidence=evidence(subject.facts, "fips", "go"),
        hint="say `env: {GOFIPS140: v1.0.0}` on the build (Go 1.24 or newer)",
    )
