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


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What else the bytes show beyond linkage; an empty tuple means looked for and not found, None not known."""

    imports: dict[str, tuple[str, ...]] = {}
    """PE and Mach-O: library -> the names imported from it, sorted; at most 4,096 names in all.

    `#12` is a PE import by its number; Mach-O's names have a `_` before C's, and `flat namespace` is no library's.
    """
    instrumented: tuple[str, ...] = ()
    """`race`, `asan`, `msan`, `cover`."""
    leaked_paths: tuple[str, ...] | None = None
    """Absolute source paths of the function table's file list, those outside of Go's own tree first, sorted each.

    At most 20; None where there is no list.
    """
    leaked_total: int = 0
    """How many there are in all; at most 65,536 are counted."""
    endpoints: tuple[str, ...] = ()
    """What an HTTP or gRPC server of it may answer to: `pprof`, `expvar`, `health`."""
    loads: tuple[str, ...] = ()
    """Functions by which it loads code while it runs: `plugin.Open`, `dlopen`, `purego.Dlopen`, `LoadLibraryW`.

    Every static glibc program has `dlopen` inside and every Go program for Windows imports LoadLibrary: not told there.
    """
    nss: tuple[str, ...] = ()
    """C functions of the name service that it calls: `getaddrinfo`, `getpwnam_r`.

    In a static glibc program without symbols or Go's names, `__nss_next` stands for those that cannot be told.
    """
    fips: str | None = None
    """`GOFIPS140=v1.0.0`, `fips140=on`, `boringcrypto`; None where nothing says so."""
    build_ids: dict[str, str] = {}
    """`go`, `gnu`, `uuid`."""
    overlay: int = 0
    """Bytes behind the last thing that the headers describe."""
    packer: str | None = None
    """`UPX`."""


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
    """One for each fact, trait and key of `hardening` that is not silent, under its name."""
    traits: Traits = Traits()
    slice: str = ""
    """For a slice of a fat Mach-O: its architecture (`arm64`); '' otherwise."""
