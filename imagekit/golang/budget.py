"""One CPU budget for many `go build`s. No I/O."""

from __future__ import annotations

import msgspec


class Budget(msgspec.Struct, frozen=True):
    """How many builds run at a time, and how many CPUs each may use (its GOMAXPROCS and `-p`)."""

    parallel: int
    cpus: int


def plan(targets: int, cpus: int, *, cold: bool) -> Budget:
    """How `cpus` are split between the builds of `targets` targets; `cold` if one of them was never linked here.

    Links use about one CPU each, so as many builds run at a time as there are CPUs, each with its share. A cold build
    keeps every CPU busy alone, and a last one that runs alone with a share would leave the others idle; so cold, the
    builds at a time are the largest number that divides the targets evenly.

    Measured on 2 CPUs, Go 1.26, crane for linux/amd64 and linux/arm64, wall seconds, one after the other with both CPUs
    against two at a time with one each: cold 27.8 and 28.1 against 26.5 and 27.5 (and 27.4 to 36.4 with both CPUs
    each); linked again, median of 5: 1.33 against 0.69 (four targets: 1.98 against 1.62); nothing to do: 0.15 against
    0.10.
    """
    cpus = max(1, cpus)
    widest = max(1, min(targets, cpus))
    parallel = max(number for number in range(1, widest + 1) if not cold or targets % number == 0)
    return Budget(parallel, -(-cpus // parallel))
