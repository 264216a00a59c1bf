"""Why a program is as it is, where it can run, and what a scratch image must hold for it."""

from __future__ import annotations

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Whether a kind of image can start the program: `scratch`, `distroless/static`, `alpine`, `glibc 2.34`."""

    name: str
    verdict: str
    """`yes`, `no`, `unknown`."""
    why: str


class File(msgspec.Struct, frozen=True):
    """A file that the program looks for while it runs, and the function by which that is known."""

    path: str
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be said beyond the facts."""

    cgo_functions: tuple[str, ...] = ()
    """Function names that prove cgo, sorted, at most 50."""
    cgo_packages: tuple[str, ...] = ()
    chains: tuple[tuple[str, ...], ...] = ()
    """Shortest import chains, main first, where the source is at hand."""
    libraries: dict[str, str] = {}
    """Library -> what asks for it."""
    places: tuple[Place, ...] = ()
    files: tuple[File, ...] = ()
    fixes: tuple[str, ...] = ()
