"""pprof, expvar, health: what a server of this program may answer to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagekit.audit.checks.said import chain_to, evidence, is_go
from imagekit.audit.finding import Remark, Severity
from imagekit.audit.subject import Subject

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy


def no_pprof(subject: Subject, policy: Policy) -> Iterator[Remark]:
    """Importing net/http/pprof is enough: its init registers on the default mux."""
    if "pprof" in subject.facts.traits.endpoints:
        yield Remark(
            message="net/http/pprof is linked in: heap, goroutines and command line for whoever reaches the server",
            evidence=evidence(subject.facts, "endpoints"),
            chain=_chain(subject, policy, "pprof", "net/http/pprof"),
            hint="import it under a build tag, and build debug images with that tag; or serve it on a port of its own",
        )


def no_expvar(subject: Subject, policy: Policy) -> Iterator[Remark]:
    if "expvar" in subject.facts.traits.endpoints:
        yield Remark(
            message="expvar is linked in: it answers /debug/vars with command line and memory figures",
            evidence=evidence(subject.facts, "endpoints"),
            chain=_chain(subject, policy, "expvar", "expvar"),
            hint="do not serve http.DefaultServeMux, or publish figures through a metrics endpoint of your own",
        )


def _chain(subject: Subject, policy: Policy, rule: str, package: str) -> tuple[str, ...]:
    """Who imports it; only where the policy refuses it, since the graph costs a `go list`."""
    return chain_to(subject, package) if policy.severity(rule, Severity.NOTE) is Severity.ERROR else ()


def has_health(subject: Subject, _policy: Policy) -> Iterator[Remark]:
    """What no function's name shows is not proven, and does not pass."""
    facts = subject.facts
    if "health" not in facts.traits.endpoints:
        where = "no function and no path in it shows one" if is_go(facts) else "only a Go function table could show one"
        yield Remark(
            message=f"no health endpoint is proven: {where}",
            evidence=evidence(facts, "go"),
            hint="serve gRPC's health service or /healthz, or a command for `healthcheck` (an image without a shell)",
        )
