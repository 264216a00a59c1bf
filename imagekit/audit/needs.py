"""Which constant pieces a program needs, read from the functions linked into it; no bytes are read here.

Linked is the criterion: a function that is linked may never be called, but one that is not linked cannot be. Go names
inlined functions in the same table, so `os.TempDir` is seen even where it left no code of its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec


class Piece(StrEnum):
    """A constant piece of the root file system, in the order of the layers."""

    CA = "ca"
    TZDATA = "tzdata"
    USERS = "users"
    NSSWITCH = "nsswitch"
    TMP = "tmp"


class Functions(Protocol):
    """The Go function table of a program, its names each closed by a zero byte."""

    def starts(self, *prefixes: str | bytes) -> bool:
        """Whether the name of any function begins with any of the prefixes."""


class Need(msgspec.Struct, frozen=True):
    """Whether a piece belongs into an image, and why (or why not): a sentence for the report."""

    piece: Piece
    needed: bool
    why: str
    embedded: bool = False
    """Not needed because the program carries the same content itself."""


_ROOTS = "golang.org/x/crypto/x509roots/fallback"
_RESOLVER = ("net.(*nsswitchConfig).init", "net.(*conf).hostLookupOrder", "net.(*Resolver).goLookupIPCNAMEOrder")
_TEMPORARY = ("os.MkdirTemp", "os.CreateTemp", "os.TempDir", "io/ioutil.TempDir", "io/ioutil.TempFile")


def needs(functions: Functions | None, *, cgo: bool = False) -> tuple[Need, ...]:
    """One decision a piece, in the order of `Piece`; without a readable table, or with C code, every piece."""
    if functions is None:
        return _all("no readable Go function table: every piece is added")
    if cgo:
        return _all("C code is linked, and Go's function table does not list what it calls: every piece is added")
    return (
        _certificates(functions),
        _zones(functions),
        _package(Piece.USERS, "os/user", functions, "it reads /etc/passwd and /etc/group"),
        _linked(Piece.NSSWITCH, _RESOLVER, functions, "Go's resolver reads /etc/nsswitch.conf"),
        _linked(Piece.TMP, _TEMPORARY, functions, "it writes to /tmp unless TMPDIR is set"),
    )


def _all(why: str) -> tuple[Need, ...]:
    return tuple(Need(piece, True, why) for piece in Piece)


def _certificates(functions: Functions) -> Need:
    if _has_package(functions, "crypto/x509") and _has_package(functions, _ROOTS):
        return Need(Piece.CA, False, f"{_ROOTS} is linked: the program carries its own certificates", True)
    return _package(Piece.CA, "crypto/x509", functions, "it looks for the system's certificates")


def _zones(functions: Functions) -> Need:
    if _has_package(functions, "time/tzdata"):
        return Need(Piece.TZDATA, False, "time/tzdata is linked: the program carries its own zone data", True)
    return _linked(Piece.TZDATA, ("time.LoadLocation",), functions, "it reads /usr/share/zoneinfo")


def _has_package(functions: Functions, package: str) -> bool:
    return functions.starts(f"{package}.")


def _package(piece: Piece, package: str, functions: Functions, does: str) -> Need:
    if _has_package(functions, package):
        return Need(piece, True, f"{package} is linked: {does}")
    return Need(piece, False, f"{package} is not linked")


def _linked(piece: Piece, names: tuple[str, ...], functions: Functions, does: str) -> Need:
    for name in names:
        if functions.starts(f"{name}\0"):
            return Need(piece, True, f"{name} is linked: {does}")
    return Need(piece, False, f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not linked")
