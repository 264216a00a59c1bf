"""BinaryFacts: what a file's bytes say. `None` and `unknown` where they are silent."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from imagekit.platform import Platform


class Linkage(StrEnum):
    """What a program asks of the system that starts it (docs/linkage.md defines each word)."""

    STATIC = "static"
    STATIC_PIE = "static-pie"
    LOADER_ONLY = "loader-only"
    DYNAMIC = "dynamic"
    SYSTEM = "system"
    LIBRARY = "library"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class CgoUse(StrEnum):
    PROVEN = "proven"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Evidence(msgspec.Struct, frozen=True):
    """Where a fact was read: `where` names segment, section, load command or table; `offset` in bytes of the file."""

    where: str
    offset: int | None
    value: str


class GoModule(msgspec.Struct, frozen=True):
    """A line of Go's build info: `sum` is the `h1:` of its tree, '' where Go wrote none."""

    path: str
    version: str
    sum: str = ""
    replace: GoModule | None = None


class GoBuild(msgspec.Struct, frozen=True):
    """Go build info (runtime/debug.BuildInfo); `path` is the main package."""

    version: str
    path: str
    main: GoModule | None
    deps: tuple[GoModule, ...]
    settings: dict[str, str]


class BinaryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All that one program (one slice of a fat file) says of itself."""

    format: str
    """`elf`, `macho`, `pe`, `wasm`, `xcoff`, `aout`, `ar`, `unknown`."""
    platform: Platform | None
    """OCI spelling; variant only where the bytes prove one (arm EABI level)."""
    linkage: Linkage
    cgo: CgoUse
    libc: str | None = None
    glibc_min: str | None = None
    interpreter: str | None = None
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    go: GoBuild | None = None
    hardening: dict[str, str | bool | None] = {}
    evidence: dict[str, Evidence] = {}
    """One for each fact that is not silent: `linkage`, `cgo`, `libc`, `interpreter`, `needed`, `platform`, `go`."""
    slice: str = ""
    """For a slice of a fat Mach-O: its architecture (`arm64`); '' otherwise."""
