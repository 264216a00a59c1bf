"""Where a program can run: kinds of images, and versions of glibc. Judged from its facts alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from imagekit.audit.loaders import GLIBC, every
from imagekit.binary.facts import BinaryFacts, Linkage

YES, NO, UNKNOWN = "yes", "no", "unknown"
_STATIC = (Linkage.STATIC, Linkage.STATIC_PIE)
_SCRATCH_SYSTEMS = ("linux", "freebsd", "netbsd", "dragonfly")
"""Systems whose kernels start a static program."""
_GLIBC_LIBRARIES = ("ld-linux", "ld64.so.", "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1")
_GLIBC_MORE = ("libresolv.so.2", "libutil.so.1", "libanl.so.1", "libmvec.so.1", "libnss_", "libBrokenLocale.so.1")
_BASE_ONLY = ("libssl.so.3", "libcrypto.so.3")
_DISTROLESS = ("2.36", "2.41")
"""The glibc of distroless/base-debian12 and -debian13."""
RELEASES = (
    ("2.28", "Debian 10, RHEL 8"),
    ("2.31", "Debian 11, Ubuntu 20.04"),
    ("2.34", "RHEL 9, Amazon Linux 2023"),
    ("2.35", "Ubuntu 22.04"),
    ("2.36", "Debian 12"),
    ("2.39", "Ubuntu 24.04, RHEL 10"),
    ("2.41", "Debian 13"),
)
"""glibc by distribution, the oldest first."""


class Place(msgspec.Struct, frozen=True):
    """Whether a kind of image can start the program: `scratch`, `distroless/static`, `alpine`, `glibc 2.34`."""

    name: str
    verdict: str
    """`yes`, `no`, `unknown`."""
    why: str


def places(facts: BinaryFacts) -> tuple[Place, ...]:
    """scratch, distroless/static, distroless/base, alpine, then glibc by version; for another OS its own system."""
    system = facts.platform.os if facts.platform else ""
    if facts.linkage in (Linkage.BROKEN, Linkage.UNKNOWN, Linkage.LIBRARY) or not system:
        return _nowhere(facts)
    if system in _SCRATCH_SYSTEMS and facts.linkage in _STATIC:
        return _static(facts, system)
    if system != "linux":
        return (*(Place(name, NO, f"a program for {system}") for name in _names(system)), _own_system(facts, system))
    return (*_bare(facts), _base(facts), _alpine(facts), *_glibc_span(facts))


def on_glibc(facts: BinaryFacts, version: str) -> Place:
    """Whether a system with this version of glibc (`2.36`), and nothing but glibc, can start a Linux program."""
    name = f"glibc {version}"
    if not facts.platform or facts.platform.os != "linux":
        return Place(name, NO, f"a program for {facts.platform.os}" if facts.platform else "its system is not known")
    if facts.linkage in _STATIC:
        return Place(name, YES, f"{facts.linkage}: asks for no libc")
    if facts.linkage not in (Linkage.LOADER_ONLY, Linkage.DYNAMIC):
        return Place(name, UNKNOWN if facts.linkage is Linkage.UNKNOWN else NO, _said(facts))
    return _on_glibc(facts, name, version)


def _nowhere(facts: BinaryFacts) -> tuple[Place, ...]:
    verdict = UNKNOWN if facts.linkage is Linkage.UNKNOWN or facts.platform is None else NO
    verdict = NO if facts.linkage in (Linkage.BROKEN, Linkage.LIBRARY) else verdict
    return tuple(Place(name, verdict, _said(facts)) for name in ("scratch", "distroless/static", "alpine"))


def _said(facts: BinaryFacts) -> str:
    if facts.linkage is Linkage.LIBRARY:
        return "a library: a program loads it, no system starts it"
    evidence = facts.evidence.get("linkage")
    return f"{facts.linkage}: {evidence.value}" if evidence else f"linkage is {facts.linkage}"


def _names(system: str) -> tuple[str, ...]:
    return ("scratch", "distroless/static", "alpine") if system != "linux" else ()


def _static(facts: BinaryFacts, system: str) -> tuple[Place, ...]:
    why = f"{facts.linkage}: no loader, no library"
    if system != "linux":
        return (
            Place("scratch", YES, f"{why} (on {system})"),
            *(Place(name, NO, f"a program for {system}") for name in ("distroless/static", "alpine")),
        )
    if facts.libc == "glibc" and facts.traits.nss:
        why += f"; {', '.join(facts.traits.nss[:3])} would load glibc's modules of the same version while it runs"
    names = ("scratch", "distroless/static", "distroless/base", "alpine", "any glibc")
    return tuple(Place(name, YES, why) for name in names)


def _own_system(facts: BinaryFacts, system: str) -> Place:
    if facts.linkage is Linkage.SYSTEM:
        return Place(system, YES, f"needs only what every {system} has: {_listed(facts.needed) or 'its loader'}")
    return Place(system, UNKNOWN, f"needs libraries that {system} does not bring: {_listed(facts.needed)}")


def _bare(facts: BinaryFacts) -> Iterator[Place]:
    """Images without a loader."""
    if facts.interpreter:
        why = f"the kernel asks for the loader {facts.interpreter}, which is not there"
    else:
        why = f"needs {_listed(facts.needed)}, which is not there"
    yield from (Place(name, NO, why) for name in ("scratch", "distroless/static"))


def _base(facts: BinaryFacts) -> Place:
    name = "distroless/base"
    problem = _no_glibc_loader(facts)
    if problem:
        return Place(name, NO, problem)
    missing = tuple(n for n in foreign(facts.needed) if n not in _BASE_ONLY)
    if missing:
        return Place(name, NO, f"it does not hold {_listed(missing)}")
    old, new = _DISTROLESS
    if facts.glibc_min and _number(facts.glibc_min) > _number(old):
        verdict = YES if _number(facts.glibc_min) <= _number(new) else NO
        return Place(name, verdict, f"needs glibc {facts.glibc_min}: debian12 has {old}, debian13 has {new}")
    return Place(name, YES, f"it holds the loader and glibc {old} (debian12) or {new} (debian13)")


def _alpine(facts: BinaryFacts) -> Place:
    loader = (facts.interpreter or "").rpartition("/")[2]
    if not loader.startswith("ld-musl-"):
        asked = f"asks for the loader {facts.interpreter}" if facts.interpreter else "names no loader"
        return Place("alpine", NO, f"{asked}; alpine has musl's only")
    others = tuple(n for n in facts.needed if not n.startswith(("libc.musl-", "libc.so", "ld-musl-")))
    if others:
        return Place("alpine", UNKNOWN, f"needs {_listed(others)} beside musl: install the packages that have them")
    return Place("alpine", YES, "asks for musl's loader and library only")


def _glibc_span(facts: BinaryFacts) -> Iterator[Place]:
    """From which version of glibc on it runs, and which distributions that leaves out."""
    least = facts.glibc_min
    if _no_glibc_loader(facts) or not least:
        yield _on_glibc(facts, "any glibc", "")
        return
    newer = [f"{names} ({version})" for version, names in RELEASES if _number(version) >= _number(least)]
    older = [f"{names} ({version})" for version, names in RELEASES if _number(version) < _number(least)]
    found = _on_glibc(facts, f"glibc {least} or newer", least)
    why = f"{found.why}: {'; '.join(newer) or 'newer than every release that imagekit knows'}"
    yield msgspec.structs.replace(found, why=why)
    if older:
        yield Place(f"glibc before {least}", NO, f"version {least} is asked for: {'; '.join(older)}")


def _on_glibc(facts: BinaryFacts, name: str, version: str) -> Place:
    problem = _no_glibc_loader(facts)
    if problem:
        return Place(name, NO, problem)
    if version and facts.glibc_min and _number(facts.glibc_min) > _number(version):
        return Place(name, NO, f"needs glibc {facts.glibc_min}")
    others = foreign(facts.needed)
    if others:
        return Place(name, UNKNOWN, f"needs {_listed(others)} too")
    if facts.needed and not facts.glibc_min:
        return Place(name, UNKNOWN, "asks for glibc's libraries without saying which version")
    return Place(name, YES, "asks for nothing but glibc" if facts.needed else "asks for the loader only")


def _no_glibc_loader(facts: BinaryFacts) -> str:
    """Why a system with glibc cannot start it; '' if it can."""
    if facts.interpreter is None:
        return f"needs {_listed(facts.needed)}, but names no loader that could load it"
    if facts.libc == "musl" or "ld-musl-" in facts.interpreter:
        return f"asks for musl's loader {facts.interpreter}"
    architecture = facts.platform.architecture if facts.platform else ""
    if facts.interpreter not in GLIBC.get(architecture, every(GLIBC)):
        return f"asks for the loader {facts.interpreter}, which is not where glibc has it"
    return ""


def foreign(needed: Iterable[str]) -> tuple[str, ...]:
    """The libraries that are not part of glibc itself."""
    return tuple(name for name in needed if not name.startswith((*_GLIBC_LIBRARIES, *_GLIBC_MORE)))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
