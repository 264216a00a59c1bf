"""One CPU budget for many `go build`s. No I/O."""

from __future__ import annotations

import msgspec

_CPUS_OF_A_COLD_BUILD = 4


class Budget(msgspec.Struct, frozen=True):
    """How many builds run at a time, and how many CPUs each may use (its GOMAXPROCS and `-p`)."""

    parallel: int
    cpus: int


def plan(targets: int, cpus: int, *, cold: bool) -> Budget:
    """How `cpus` are split between the builds of `targets` targets; `cold` if one of them was never linked here.

    On 2 cores (crane, two targets): compiling cold, two builds side by side take as long as one after the other, since
    each fills both cores by itself; relinked side by side they take two thirds of the time, since a link runs mostly
    on one core. So cold builds get at least four CPUs each, and links all run at once.
    """
    cpus = max(1, cpus)
    widest = max(1, cpus // _CPUS_OF_A_COLD_BUILD) if cold else cpus
    parallel = max(1, min(targets, widest))
    return Budget(parallel, -(-cpus // parallel))
