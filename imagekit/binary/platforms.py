"""The platform that the bytes prove, in the OCI spelling."""

from __future__ import annotations

from imagekit.binary import macho, pe
from imagekit.binary.elf import Elf
from imagekit.binary.facts import Evidence
from imagekit.binary.gocode import GoCode
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.platform import Platform

_EF_MIPS_ABI2 = 0x20
_MACHINES: dict[tuple[int, int, str], str] = {
    (3, 32, "<"): "386",
    (62, 64, "<"): "amd64",
    (40, 32, "<"): "arm",
    (40, 32, ">"): "armbe",
    (183, 64, "<"): "arm64",
    (183, 64, ">"): "arm64be",
    (8, 32, ">"): "mips",
    (8, 32, "<"): "mipsle",
    (8, 64, ">"): "mips64",
    (8, 64, "<"): "mips64le",
    (20, 32, ">"): "ppc",
    (21, 64, ">"): "ppc64",
    (21, 64, "<"): "ppc64le",
    (22, 32, ">"): "s390",
    (22, 64, ">"): "s390x",
    (43, 64, ">"): "sparc64",
    (243, 32, "<"): "riscv",
    (243, 64, "<"): "riscv64",
    (258, 64, "<"): "loong64",
}
"""GOARCH of (e_machine, class, byte order)."""
_OS_NOTES = {
    "FreeBSD": "freebsd",
    "NetBSD": "netbsd",
    "OpenBSD": "openbsd",
    "DragonFly": "dragonfly",
    "Android": "android",
}
_OS_ABI = {2: "netbsd", 3: "linux", 6: "solaris", 9: "freebsd", 12: "openbsd"}
_LOADERS = (
    ("/system/bin/linker", "android"),
    ("/libexec/ld-elf.so", "freebsd"),
    ("/usr/libexec/ld.elf_so", "netbsd"),
    ("/libexec/ld.elf_so", "netbsd"),
    ("/usr/libexec/ld.so", "openbsd"),
    ("/usr/libexec/ld-elf.so.2", "dragonfly"),
    ("/lib/amd64/ld.so.1", "solaris"),
    ("/usr/lib/ld.so.1", "solaris"),
)


def of_elf(elf: Elf, code: GoCode) -> tuple[Platform | None, Evidence]:
    """The architecture from the header; the OS from build info, then OS note, EI_OSABI, loader path, else linux."""
    architecture = _MACHINES.get((elf.machine, elf.bits, elf.view.order))
    if elf.machine == 8 and elf.flags & _EF_MIPS_ABI2:
        architecture = None  # the n32 ABI, which Go does not have
    system, where, offset = _elf_system(elf, code)
    said = Evidence(f"ELF header, {where}", offset, f"e_machine {elf.machine}, {elf.bits} bits, {system}")
    if architecture is None:
        return None, said
    return Platform(system, architecture, _arm_variant(code) if architecture == "arm" else ""), said


def _elf_system(elf: Elf, code: GoCode) -> tuple[str, str, int | None]:
    if goos := code.setting("GOOS"):
        return goos, "build info", code.build_offset
    for note in elf.notes:
        if note.owner in _OS_NOTES:
            return _OS_NOTES[note.owner], f"note {note.owner}", elf.view.base + note.offset
    if elf.os_abi in _OS_ABI:
        return _OS_ABI[elf.os_abi], "EI_OSABI", elf.view.base + 7
    for prefix, system in _LOADERS:
        if elf.interpreter and elf.interpreter.startswith(prefix):
            return system, "PT_INTERP", elf.view.base + elf.interpreter_offset
    return "linux", "no other OS named", elf.view.base


def _arm_variant(code: GoCode) -> str:
    """`v5`, `v6`, `v7` from GOARM (`7`, `7,hardfloat`); '' where build info does not tell."""
    level = code.setting("GOARM").partition(",")[0]
    return f"v{level}" if level in ("5", "6", "7") else ""


def of_macho(program: MachO, code: GoCode) -> tuple[Platform | None, Evidence]:
    """The architecture from cputype, the OS from LC_BUILD_VERSION, else build info, else darwin."""
    architecture = macho.ARCHITECTURES.get(program.cpu)
    system = program.system or code.setting("GOOS") or "darwin"
    said = Evidence("Mach-O header", program.view.base, f"cputype {program.cpu:#x}, {system}")
    if architecture is None:
        return None, said
    return Platform(system, architecture, _arm_variant(code) if architecture == "arm" else ""), said


def of_pe(program: Pe, code: GoCode) -> tuple[Platform | None, Evidence]:
    """Windows on Machine's architecture; None for drivers and EFI programs, which Windows does not start."""
    architecture = pe.ARCHITECTURES.get(program.machine)
    at = program.view.base + program.header + 4
    said = Evidence("COFF header", at, f"machine {program.machine:#x}, subsystem {program.subsystem}")
    if architecture is None or program.subsystem not in pe.CONSOLE_OR_WINDOW:
        return None, said
    return Platform("windows", architecture, _arm_variant(code) if architecture == "arm" else ""), said
