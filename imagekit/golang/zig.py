"""`cgo: static`: C compiled by the ziglang wheel against musl, for any linux target from any host.

Touches no disk but to find the wheel. `CC` names `zig` and its folder stands on PATH, so that the place of the virtual
environment is in no action id of Go and in no output.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from imagekit.errors import ConfigError, ToolError
from imagekit.golang import arch
from imagekit.platform import Platform

LINK_FLAGS = ("-linkmode=external", "-extldflags", "-static")
"""What the Go linker needs so that zig's linker makes one static file."""
SHIPPED_LINK_FLAGS = ("-linkmode=external", "-w", "-extldflags", "-static -Wl,--strip-debug")
"""The same for a file that is the same in every folder.

zig compiles musl and its own runtime with DWARF that names the working folder and the cache folder of whoever linked
first (seen with 0.17: two builds differed in .debug_* alone). Its linker drops the symbol table with the DWARF; Go's
own function table stays. A link without these two flags has symbols, at the same addresses (seen on amd64 and arm64).
"""

_TRIPLES: Mapping[str, str] = MappingProxyType(
    {
        "386": "x86-linux-musl",
        "amd64": "x86_64-linux-musl",
        "arm64": "aarch64-linux-musl",
        "loong64": "loongarch64-linux-musl",
        "mips": "mips-linux-musleabi",
        "mips64": "mips64-linux-muslabi64",
        "mips64le": "mips64el-linux-muslabi64",
        "mipsle": "mipsel-linux-musleabi",
        "ppc64": "powerpc64-linux-musl",
        "ppc64le": "powerpc64le-linux-musl",
        "riscv64": "riscv64-linux-musl",
        "s390x": "s390x-linux-musl",
    }
)


def find() -> Path:
    """The zig program of the wheel; raise `ToolError` where it is not installed."""
    spec = find_spec("ziglang")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for name in ("zig", "zig.exe"):
            if (Path(place) / name).is_file():
                return Path(place) / name
    raise ToolError("`cgo: static` needs zig, and the ziglang wheel is not here", hint="pip install 'imagekit[cgo]'")


def triple(platform: Platform, level: str = "") -> str:
    """Zig's name of a linux platform with musl; raise `ConfigError` where there is none."""
    if platform.os == "linux" and platform.architecture == "arm":
        hard = _arm_level(platform, level).partition(",")[2]
        return "arm-linux-musleabi" + ("hf" if _arm_level(platform, level)[0] != "5" and hard != "softfloat" else "")
    if platform.os != "linux" or platform.architecture not in _TRIPLES:
        raise ConfigError(
            f"`cgo: static` does not reach {platform}",
            hint=f"it builds linux for {', '.join(sorted([*_TRIPLES, 'arm']))}; elsewhere write `cgo: off`",
        )
    return _TRIPLES[platform.architecture]


def environment_of(platform: Platform, level: str, cache_dir: Path) -> dict[str, str]:
    """CC and its kin for a platform, with zig's caches inside `cache_dir`."""
    compiler = f"-target {triple(platform, level)}{_cpu(platform, level)}"
    return {
        "CC": f"zig cc {compiler}",
        "CXX": f"zig c++ {compiler}",
        "AR": "zig ar",
        "CGO_CFLAGS": "-O2 -g0",
        "CGO_CXXFLAGS": "-O2 -g0",
        "CGO_LDFLAGS": "-O2",
        "ZIG_GLOBAL_CACHE_DIR": str(cache_dir / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(cache_dir / "zig"),
    }


def _cpu(platform: Platform, level: str) -> str:
    """The CPU that C is compiled for, where the Go level names one that zig knows too."""
    wanted = level or arch.level_of_variant(platform)
    if platform.architecture == "amd64":
        return " -mcpu=x86_64" + ("" if wanted == "v1" else f"_{wanted}")
    if platform.architecture == "arm":
        return {"5": " -mcpu=arm926ej_s", "6": " -mcpu=arm1176jzf_s"}.get(wanted[0], " -mcpu=generic+v7a")
    return ""


def _arm_level(platform: Platform, level: str) -> str:
    return level or arch.level_of_variant(platform)
