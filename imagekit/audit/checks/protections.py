"""writable-code, nx, relro, pie, aslr: protections of memory, each asked only where the format and the linkage have it.

A key of `hardening` that is not there, `n/a` or not known is no finding: the facts say which do not apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import evidence, is_go
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.binary.facts import Linkage

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_GO_PIE = (
    "-buildmode=pie, which on Linux asks for a loader (linkage `loader-only`) unless it is linked as a static-pie with "
    "`cgo: static`; a pure Go program loses little without it"
)


def no_writable_code(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """Segments that are both; and relocations in code, for which the loader makes it writable while it works."""
    hardening = subject.facts.hardening
    if hardening.get("writable_code") is True:
        yield Remark(
            message="a segment is writable and executable: what is written there can be run",
            evidence=evidence(subject.facts, "writable_code"),
            hint="link without `-z noseparate-code`, `-N` or an own linker script; unpack a packed file",
        )
    if hardening.get("text_relocations") is True:
        yield Remark(
            message="the loader must write into code before it starts (DT_TEXTREL)",
            evidence=evidence(subject.facts, "text_relocations"),
            hint="compile all C and assembly code with -fPIC",
        )


def no_executable_stack(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    if subject.facts.hardening.get("nx") is False:
        yield Remark(
            message="the stack is executable" if subject.facts.format != "pe" else "memory without code is executable",
            evidence=evidence(subject.facts, "nx"),
            hint="link with `-z noexecstack` (PE: /NXCOMPAT), and mark assembly files with .note.GNU-stack",
        )


def full_relro(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    state = subject.facts.hardening.get("relro")
    if state in ("none", "partial"):
        yield Remark(
            message=f"RELRO is {state}: what the loader fills in stays writable",
            evidence=evidence(subject.facts, "relro"),
            hint="link with `-z relro -z now` (Go's own linker: -ldflags=-bindnow); a static ET_EXEC needs none",
        )


def position_independent(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    facts = subject.facts
    if facts.hardening.get("pie") is False and facts.linkage is not Linkage.LIBRARY:
        yield Remark(
            message="always loaded at the same address",
            evidence=evidence(facts, "pie"),
            hint=_GO_PIE if is_go(facts) else "compile with -fPIE and link with -pie (static programs: -static-pie)",
        )


def randomized(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    hardening = subject.facts.hardening
    if hardening.get("aslr") is False:
        message = "DYNAMIC_BASE is not set: Windows loads it at the same address each time"
    elif hardening.get("high_entropy_va") is False:
        message = "HIGH_ENTROPY_VA is not set: its addresses are drawn from 32 bits only"
    else:
        return
    yield Remark(
        message=message,
        evidence=evidence(subject.facts, "aslr", "high_entropy_va"),
        hint="build with Go's default for Windows (-buildmode=pie); -race and -buildmode=exe turn it off",
    )
