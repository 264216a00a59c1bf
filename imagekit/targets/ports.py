"""Which platforms Go builds for, which CPU levels they have, and how a platform of `platforms:` is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from imagekit.errors import ConfigError
from imagekit.platform import Platform

PORTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aix": ("ppc64",),
        "android": ("386", "amd64", "arm", "arm64"),
        "darwin": ("amd64", "arm64"),
        "dragonfly": ("amd64",),
        "freebsd": ("386", "amd64", "arm", "arm64", "riscv64"),
        "illumos": ("amd64",),
        "ios": ("amd64", "arm64"),
        "js": ("wasm",),
        "linux": (
            *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
            *("ppc64", "ppc64le", "riscv64", "s390x"),
        ),
        "netbsd": ("386", "amd64", "arm", "arm64"),
        "openbsd": ("386", "amd64", "arm", "arm64", "mips64", "ppc64", "riscv64"),
        "plan9": ("386", "amd64", "arm"),
        "solaris": ("amd64",),
        "wasip1": ("wasm",),
        "windows": ("386", "amd64", "arm", "arm64"),
    }
)
"""`go tool dist list` of Go 1.26, and what the releases since 1.21 built besides (a test compares them)."""

NO_LONGER = ("freebsd/riscv64", "openbsd/mips64", "windows/arm")
"""Ports above that Go 1.26 has dropped or calls broken; an older `go` builds them, a newer one says so itself."""

_FLOAT = ("hardfloat", "softfloat")
LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "386": ("sse2", "softfloat"),
        "amd64": ("v1", "v2", "v3", "v4"),
        "arm": ("7", "6", "5"),
        "arm64": (*(f"v8.{minor}" for minor in range(10)), *(f"v9.{minor}" for minor in range(6))),
        "mips": _FLOAT,
        "mipsle": _FLOAT,
        "mips64": _FLOAT,
        "mips64le": _FLOAT,
        "ppc64": ("power8", "power9", "power10"),
        "ppc64le": ("power8", "power9", "power10"),
        "riscv64": ("rva20u64", "rva22u64", "rva23u64"),
    }
)
"""CPU levels in Go's spelling (`go help environment`), the default first; other architectures have none."""

_EXTENSIONS = re.compile(r"(,lse)?(,crypto)?")


def read_port(text: str, levels: Mapping[str, str]) -> tuple[Platform, str]:
    """A platform of `platforms:` and its CPU level: its own, else the one of `levels`, else the lowest.

    `linux/arm` is `linux/arm/v7`, as engines read it. Raises `ConfigError` with the nearest name for a platform that
    Go does not build for and for a level that the architecture does not have.
    """
    platform = Platform.parse(text)
    _require_port(platform)
    if platform.architecture == "arm":
        platform = Platform(platform.os, "arm", platform.variant or "v7")
        return platform, _known_level("arm", platform.variant, text).removeprefix("v")
    if not platform.variant:
        return platform, levels.get(platform.architecture) or default_level(platform.architecture)
    spelled = "v8.0" if (platform.architecture, platform.variant) == ("arm64", "v8") else platform.variant
    return platform, _known_level(platform.architecture, spelled, text)


def default_level(architecture: str) -> str:
    """The level that is built when nobody names one; '' where the architecture has none."""
    return LEVELS.get(architecture, ("",))[0]


def require_level(architecture: str, level: str) -> None:
    """Raise `ConfigError` unless `level` can stand in `levels:` for the architecture."""
    if architecture == "arm":
        raise ConfigError("arm has no level of its own", hint="write it as the platform's variant, e.g. linux/arm/v6")
    if architecture not in {one for port in PORTS.values() for one in port}:
        raise ConfigError(f"{architecture!r} is not an architecture", hint=_near(architecture, LEVELS))
    bare, _, _ = level.partition(",")
    if architecture == "arm64" and _EXTENSIONS.fullmatch(level.removeprefix(bare)):
        level = bare
    _known_level(architecture, level, architecture)


def is_possible(os: str, architecture: str) -> bool:
    """Whether Go builds for the pair."""
    return architecture in PORTS.get(os, ())


def _require_port(platform: Platform) -> None:
    if not is_possible(platform.os, platform.architecture):
        known = [f"{os}/{architecture}" for os, architectures in PORTS.items() for architecture in architectures]
        written = f"{platform.os}/{platform.architecture}"
        raise ConfigError(f"Go does not build for {written!r}", hint=_near(written, known))


def _known_level(architecture: str, level: str, written: str) -> str:
    known = LEVELS.get(architecture, ())
    names = [f"v{one}" for one in known] if architecture == "arm" else known
    if level not in names:
        cure = f"{architecture} has {', '.join(names)}" if names else f"{architecture} has no levels; leave it out"
        raise ConfigError(f"{written!r} names a CPU level that Go does not have: {level!r}", hint=cure)
    return level


def _near(word: str, known: Mapping[str, object] | list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else "`go tool dist list` names all"
