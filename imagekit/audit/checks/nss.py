"""nss: a static glibc program that asks the name service loads the host's libraries, and a second libc, at run time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.finding import Remark
from imagekit.audit.subject import Subject
from imagekit.binary.facts import Evidence, Linkage

if TYPE_CHECKING:
    from imagekit.audit.policy import Policy

_CALLS = (
    ("net._C_getaddrinfo", "netgo"),
    ("net._C2func_getaddrinfo", "netgo"),
    ("os/user._C_", "osusergo"),
)
"""Functions through which Go reaches glibc's name service, each with the tag that removes it (linkage.md A4)."""


def no_nss_in_static_glibc(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """It crashes, or finds nobody, where the image has no such libraries (golang/go#13470, #30310)."""
    facts = subject.facts
    if facts.libc != "glibc" or facts.linkage not in (Linkage.STATIC, Linkage.STATIC_PIE) or subject.functions is None:
        return
    found = [(name, tag, at) for name, tag in _CALLS if (at := subject.functions.where_starts(name)) is not None]
    if found:
        tags = ", ".join(sorted({tag for _, tag, _ in found}))
        yield Remark(
            message=f"static, but calls glibc's name service: {', '.join(name for name, _, _ in found)}",
            evidence=(
                *(Evidence(where="Go function table", offset=at, value=name) for name, _, at in found),
                *(facts.evidence[fact] for fact in ("libc",) if fact in facts.evidence),
            ),
            hint=f"add `tags: [{tags}]` to the build, or link musl with `cgo: static`",
        )
