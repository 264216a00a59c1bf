"""Go's spelling of platforms and CPU levels, and the way back to the OCI spelling.

Go names a level by a variable of its own for each architecture (GOAMD64, GOARM, …; `go help environment`). Touches disk
in `check`, which reads the list of ports in GOROOT.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType

from imagekit.errors import ConfigError
from imagekit.platform import Platform

_FLOAT = ("hardfloat", "softfloat")
LEVEL_VARIABLES = MappingProxyType(
    {
        "386": "GO386",
        "amd64": "GOAMD64",
        "arm": "GOARM",
        "arm64": "GOARM64",
        "mips": "GOMIPS",
        "mipsle": "GOMIPS",
        "mips64": "GOMIPS64",
        "mips64le": "GOMIPS64",
        "ppc64": "GOPPC64",
        "ppc64le": "GOPPC64",
        "riscv64": "GORISCV64",
        "wasm": "GOWASM",
    }
)
"""The variable that holds the level of each architecture; loong64 and s390x have none."""

_DEFAULTS = MappingProxyType(
    {
        "GO386": "sse2",
        "GOAMD64": "v1",
        "GOARM": "7",
        "GOARM64": "v8.0",
        "GOMIPS": "hardfloat",
        "GOMIPS64": "hardfloat",
        "GOPPC64": "power8",
        "GORISCV64": "rva20u64",
        "GOWASM": "",
    }
)
_SHAPES = MappingProxyType(
    {
        "GO386": "sse2|softfloat",
        "GOAMD64": "v[1-4]",
        "GOARM": "[5-7](,(softfloat|hardfloat))?",
        "GOARM64": "(v8\\.[0-9]|v9\\.[0-5])(,lse)?(,crypto)?",
        "GOMIPS": "|".join(_FLOAT),
        "GOMIPS64": "|".join(_FLOAT),
        "GOPPC64": "power(8|9|10)",
        "GORISCV64": "rva(20|22|23)u64",
        "GOWASM": "((satconv|signext)(,(satconv|signext))?)?",
    }
)
_PORT = re.compile(r'^\t\{"([a-z0-9]+)", "([a-z0-9]+)"\}:\s*\{(.*)\},$', re.MULTILINE)


def environment_of(platform: Platform, level: str = "") -> dict[str, str]:
    """GOOS, GOARCH and the level's variable for a platform.

    `level` is Go's spelling and '' means the platform's variant, or the lowest level that Go builds (arm: 7, as docker
    reads an arm without a variant). Raises `ConfigError` for a level that the architecture does not have.
    """
    spelled = {"GOOS": platform.os, "GOARCH": platform.architecture}
    variable = LEVEL_VARIABLES.get(platform.architecture)
    wanted = level or level_of_variant(platform)
    if variable is None:
        if wanted:
            raise ConfigError(
                f"{platform}: {platform.architecture} has no CPU levels, {wanted!r} cannot be built",
                hint="leave the level out",
            )
        return spelled
    if not re.fullmatch(_SHAPES[variable], wanted):
        raise ConfigError(f"{platform}: {wanted!r} is not a {variable} level", hint=f"write one of {_shown(variable)}")
    return {**spelled, variable: wanted}


def default_level(architecture: str) -> str:
    """The level of a platform written without one, '' where the architecture has none."""
    return _DEFAULTS[LEVEL_VARIABLES[architecture]] if architecture in LEVEL_VARIABLES else ""


def level_of_variant(platform: Platform) -> str:
    """Go's level for an OCI variant: `arm/v6` is 6, `arm64/v8` is v8.0, `amd64/v3` is v3; the default without one."""
    if not platform.variant:
        return default_level(platform.architecture)
    if platform.architecture == "arm":
        return platform.variant.removeprefix("v")
    if platform.architecture == "arm64" and re.fullmatch(r"v\d", platform.variant):
        return platform.variant + ".0"
    return platform.variant


def platform_of(goos: str, goarch: str, level: str = "") -> Platform:
    """The OCI platform of a build: arm always has its variant, the lowest amd64 and arm64 levels have none."""
    first = level.split(",")[0]
    if goarch == "arm":
        return Platform(goos, goarch, f"v{first or default_level(goarch)}")
    if goarch in ("amd64", "arm64") and first and first != default_level(goarch):
        return Platform(goos, goarch, first)
    return Platform(goos, goarch)


@cache
def ports(goroot: Path) -> frozenset[tuple[str, str]]:
    """Every (GOOS, GOARCH) that this Go builds for, as `go tool dist list` gives them; empty if it cannot be read.

    Since Go 1.25 `go tool dist` is compiled on its first use; its list is generated into this file, which costs 0.1 ms.
    """
    source = goroot / "src" / "internal" / "platform" / "zosarch.go"
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return frozenset((goos, goarch) for goos, goarch, facts in _PORT.findall(text) if "Broken: true" not in facts)


def check(platform: Platform, goroot: Path, *, where: str = "") -> None:
    """Raise `ConfigError`, with the nearest platforms, for one that this Go cannot build."""
    known = ports(goroot)
    if not known or (platform.os, platform.architecture) in known:
        return
    names = sorted("/".join(port) for port in known)
    near = get_close_matches(f"{platform.os}/{platform.architecture}", names, n=3, cutoff=0.5)
    raise ConfigError(
        f"{where + ': ' if where else ''}Go does not build for {platform}",
        hint=f"did you mean {' or '.join(near)}? (`go tool dist list` names all)"
        if near
        else "see `go tool dist list`",
    )


def _shown(variable: str) -> str:
    return {
        "GO386": "sse2, softfloat",
        "GOAMD64": "v1, v2, v3, v4",
        "GOARM": "5, 6, 7 (with ,softfloat or ,hardfloat)",
        "GOARM64": "v8.0 to v8.9, v9.0 to v9.5 (with ,lse or ,crypto)",
        "GOMIPS": "hardfloat, softfloat",
        "GOMIPS64": "hardfloat, softfloat",
        "GOPPC64": "power8, power9, power10",
        "GORISCV64": "rva20u64, rva22u64, rva23u64",
        "GOWASM": "satconv, signext",
    }[variable]
