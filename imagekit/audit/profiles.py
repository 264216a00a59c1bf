"""The built-in profiles: policies as data, by name. `glibc-N` is one for every version of glibc."""

from __future__ import annotations

import re

import msgspec

from imagekit.audit.loaders import GLIBC, MUSL, every
from imagekit.audit.terms import Policy, Word
from imagekit.binary.facts import Linkage

_STATIC = (Linkage.STATIC, Linkage.STATIC_PIE)
_WITH_LOADER = (*_STATIC, Linkage.LOADER_ONLY, Linkage.DYNAMIC, Linkage.LIBRARY)
"""What a Linux image with a loader and a libc can start, if they are the right ones; and its own libraries."""

SCRATCH = Policy(
    name="scratch",
    linkage={
        **dict.fromkeys(("linux", "freebsd", "netbsd", "dragonfly"), _STATIC),
        **dict.fromkeys(("darwin", "windows", "openbsd", "solaris", "illumos", "android"), (Linkage.SYSTEM,)),
    },
)
"""A scratch image has no loader and no library; where the OS admits no static program, its own libraries are all."""

DISTROLESS = msgspec.structs.replace(SCRATCH, name="distroless")
"""distroless/static, which has certificates, users and zones beyond scratch, but no loader and no library either."""


def _with_loader(name: str, interpreters: tuple[str, ...], libraries: tuple[str, ...], glibc: str | None) -> Policy:
    """scratch, but for Linux programs that ask for this loader and these libraries."""
    return msgspec.structs.replace(
        SCRATCH,
        name=name,
        linkage={**SCRATCH.linkage, "linux": _WITH_LOADER},
        interpreters={"linux": interpreters},
        libraries={"linux": libraries},
        glibc_min=glibc,
        rules={"interpreter": "error"},
    )


_ALPINE_LIBRARIES = (
    *("libc.musl-*.so.1", "libc.so", "ld-musl-*.so.1"),
    *("libapk.so.*", "libcrypto.so.3", "libssl.so.3", "libz.so.1"),
)
"""musl by its names, and what Alpine's package manager brings into the base image."""
ALPINE = _with_loader("alpine", every(MUSL), _ALPINE_LIBRARIES, None)
"""Alpine's base image without further packages."""

_GLIBC_LIBRARIES = (
    *("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libresolv.so.2", "libutil.so.1"),
    *("libanl.so.1", "libmvec.so.1", "libnss_*.so.2", "libBrokenLocale.so.1", "ld-linux*.so.[0-9]", "ld64.so.[0-9]"),
    "ld.so.1",
)
"""What glibc itself installs; libgcc_s and libstdc++ are the compiler's."""
_GLIBC_NAME = re.compile(r"glibc-((?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2}))")


def glibc(version: str) -> Policy:
    """A Linux image with this version of glibc (`2.36`) and nothing else."""
    return _with_loader(f"glibc-{version}", every(GLIBC), _GLIBC_LIBRARIES, version)


_RELEASE: dict[str, Word] = {
    **dict.fromkeys(("dirty-tree", "local-replace", "go-sum-missing", "vcs-dirty", "no-build-info"), "error"),
    **dict.fromkeys(("instrumented", "writable-code", "rpath", "signature", "packer", "parsers-disagree"), "error"),
    **dict.fromkeys(("no-vcs", "trimpath", "leaked-path", "timestamp", "overlay"), "warning"),
    **dict.fromkeys(("debug", "symbols"), "note"),
}
RELEASE = msgspec.structs.replace(SCRATCH, name="release", rules=_RELEASE)
"""What is handed to others: from a clean commit that can be named, without test instruments and builders' paths."""

HARDENED = msgspec.structs.replace(
    RELEASE,
    name="hardened",
    rules={
        **_RELEASE,
        **dict.fromkeys(("nx", "relro", "aslr", "pprof"), "error"),
        **dict.fromkeys(("pie", "expvar", "loads-code"), "warning"),
    },
)
"""release, and the protections that the file's format offers; on Linux it is stricter than Go's default (no PIE)."""

PROFILES: tuple[Policy, ...] = (SCRATCH, DISTROLESS, ALPINE, RELEASE, HARDENED)
"""Every profile that has one name; `glibc-N` stands beside them."""
EXAMPLE = glibc("2.36")
"""glibc-N for lists of profiles."""


def profile(name: str) -> Policy | None:
    """The built-in profile of that name; None if there is none."""
    if found := _GLIBC_NAME.fullmatch(name):
        return glibc(found[1])
    return next((one for one in PROFILES if one.name == name), None)


def names() -> tuple[str, ...]:
    """Every name, as people are told them: `glibc-N` for any version."""
    return ("scratch", "distroless", "alpine", "glibc-N", "release", "hardened")
