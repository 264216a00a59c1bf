"""Where each libc and each OS has its loader, by architecture: what PT_INTERP says in a program that runs anywhere."""

from __future__ import annotations

from imagekit.binary import baselines
from imagekit.platform import Platform

GLIBC: dict[str, tuple[str, ...]] = {
    "386": ("/lib/ld-linux.so.2",),
    "amd64": ("/lib64/ld-linux-x86-64.so.2", "/libx32/ld-linux-x32.so.2"),
    "arm": ("/lib/ld-linux-armhf.so.3", "/lib/ld-linux.so.3"),
    "arm64": ("/lib/ld-linux-aarch64.so.1",),
    "loong64": ("/lib64/ld-linux-loongarch-lp64d.so.1",),
    "mips": ("/lib/ld.so.1", "/lib/ld-linux-mipsn8.so.1"),
    "mips64": ("/lib64/ld.so.1", "/lib64/ld-linux-mipsn8.so.1"),
    "mips64le": ("/lib64/ld.so.1", "/lib64/ld-linux-mipsn8.so.1"),
    "mipsle": ("/lib/ld.so.1", "/lib/ld-linux-mipsn8.so.1"),
    "ppc64": ("/lib64/ld64.so.1",),
    "ppc64le": ("/lib64/ld64.so.2",),
    "riscv64": ("/lib/ld-linux-riscv64-lp64d.so.1",),
    "s390x": ("/lib/ld64.so.1",),
}
"""glibc's ABI list (sysdeps/unix/sysv/linux/*/shlib-versions and ldsodefs), by OCI architecture."""

MUSL: dict[str, tuple[str, ...]] = {
    name: tuple(f"/lib/ld-musl-{spelled}.so.1" for spelled in spellings)
    for name, spellings in {
        "386": ("i386",),
        "amd64": ("x86_64", "x32"),
        "arm": ("armhf", "arm"),
        "arm64": ("aarch64",),
        "loong64": ("loongarch64",),
        "mips": ("mips", "mips-sf"),
        "mips64": ("mips64", "mips64-sf"),
        "mips64le": ("mips64el", "mips64el-sf"),
        "mipsle": ("mipsel", "mipsel-sf"),
        "ppc64": ("powerpc64",),
        "ppc64le": ("powerpc64le",),
        "riscv64": ("riscv64",),
        "s390x": ("s390x",),
    }.items()
}
"""musl's own list (configure, `LDSO_PATHNAME`)."""

_SYSTEMS = {
    "darwin": ("/usr/lib/dyld",),
    "ios": ("/usr/lib/dyld",),
    "dragonfly": ("/usr/libexec/ld-elf.so.2", "/libexec/ld-elf.so.2"),
    "freebsd": ("/libexec/ld-elf.so.1", "/libexec/ld-elf32.so.1"),
    "netbsd": ("/usr/libexec/ld.elf_so", "/libexec/ld.elf_so"),
    **{system: loaders for system, (loaders, _) in baselines.ELF.items()},
}


def canonical(platform: Platform) -> tuple[str, ...]:
    """The loaders that a program of this platform may name, the usual one first; () for an OS not known here."""
    if platform.os != "linux":
        return _SYSTEMS.get(platform.os, ())
    if platform.architecture in GLIBC:
        return (*GLIBC[platform.architecture], *MUSL[platform.architecture])
    return (*every(GLIBC), *every(MUSL))


def every(loaders: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """All paths of a table, each once, sorted."""
    return tuple(sorted({path for paths in loaders.values() for path in paths}))
