"""nss: a static glibc program that asks the name service loads the host's libraries, and a second libc, at run time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import evidence, is_go, listed
from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.binary.facts import BinaryFacts, Linkage

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

_USERS = ("getpw", "getgr", "getsp", "setpw", "setgr", "initgroups")
"""What begins so asks for users and groups, everything else for hosts; Go has a tag for each (linkage.md A4)."""
_DLOPEN = ("dlopen", "purego.Dlopen", "plugin.Open")


def no_nss_in_static_glibc(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """It crashes, or finds nobody, where the image has no such libraries (golang/go#13470, #30310)."""
    facts = subject.facts
    if facts.libc != "glibc" or facts.linkage not in (Linkage.STATIC, Linkage.STATIC_PIE):
        return
    loads = tuple(name for name in facts.traits.loads if name in _DLOPEN)
    said = [f"calls glibc's name service: {listed(facts.traits.nss)}"] if facts.traits.nss else []
    said += [f"loads libraries: {listed(loads)}"] if loads else []
    if said:
        yield Remark(
            message=f"static, but {'; '.join(said)}",
            evidence=evidence(facts, *(("nss",) if facts.traits.nss else ()), *(("loads",) if loads else ()), "libc"),
            hint=_way_out(facts),
        )


def _way_out(facts: BinaryFacts) -> str:
    if not is_go(facts) or not facts.traits.nss:
        return "link musl, or link dynamically and ship the libraries of the same glibc"
    tags = sorted({tag for name in facts.traits.nss for tag in _tags(name)})
    return f"add `tags: [{', '.join(tags)}]` to the build, or link musl with `cgo: static`"


def _tags(name: str) -> tuple[str, ...]:
    """glibc's own inner functions tell not what is asked for."""
    if name.startswith("__"):
        return ("netgo", "osusergo")
    return ("osusergo",) if name.startswith(_USERS) else ("netgo",)
