"""What pyelftools reads in an ELF file. Runs in the parsers' process only."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from imagekit.binary.deep import CompileUnit, dwarf
from imagekit.binary.deep.opinion import Opinion, Said, architecture

_FAMILIES = {
    "EM_386": "386",
    "EM_X86_64": "amd64",
    "EM_ARM": "arm",
    "EM_AARCH64": "arm64",
    "EM_MIPS": "mips",
    "EM_PPC": "ppc",
    "EM_PPC64": "ppc64",
    "EM_S390": "s390",
    "EM_RISCV": "riscv",
    "EM_LOONGARCH": "loong",
    "EM_SPARCV9": "sparc64",
}
_ENTRY_LIMIT = 1 << 16


def opinions(path: Path) -> tuple[Opinion, ...]:
    """One: the headers, the dynamic segment, the versions, and C's compile units."""
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as stream:
        file = ELFFile(stream)
        order = "<" if file.little_endian else ">"
        said = architecture(_FAMILIES, file["e_machine"], file.elfclass, order)
        said |= _interpreter(file) | _dynamic(file) | _versions(file)
        return (Opinion(said=said, compile_units=_units(file, order)),)


def _units(file: Any, order: str) -> tuple[CompileUnit, ...]:
    """() where the sections cannot be unpacked, and for an object file, whose debug information is not linked yet."""
    import zstandard

    if file["e_type"] == "ET_REL":
        return ()
    try:
        return dwarf.units(dwarf.of_elf(file), order, file.elfclass // 8)
    except (zlib.error, zstandard.ZstdError, struct.error):
        return ()


def _interpreter(file: Any) -> Said:
    named = (segment for segment in file.iter_segments() if segment["p_type"] == "PT_INTERP")
    return {"interpreter": tuple(segment.get_interp_name() for segment in named)[:1]}


def _dynamic(file: Any) -> Said:
    needed: list[str] = []
    paths: list[str] = []
    for segment in file.iter_segments():
        if segment["p_type"] == "PT_DYNAMIC":
            for number, tag in enumerate(segment.iter_tags()):
                if number > _ENTRY_LIMIT:
                    raise ValueError("too many entries in the dynamic segment")
                needed += [tag.needed] if tag.entry.d_tag == "DT_NEEDED" else []
                paths += [tag.rpath] if tag.entry.d_tag == "DT_RPATH" else []
                paths += [tag.runpath] if tag.entry.d_tag == "DT_RUNPATH" else []
    return {"needed": tuple(needed), "rpath": tuple(part for path in paths for part in path.split(":") if part)}


def _versions(file: Any) -> Said:
    """Only where sections lead to them: pyelftools finds the versions no other way."""
    from elftools.elf.gnuversions import GNUVerNeedSection

    sections = [section for section in file.iter_sections() if isinstance(section, GNUVerNeedSection)]
    if not sections:
        return {}
    return {"versions": tuple(entry.name for s in sections for _, entries in s.iter_versions() for entry in entries)}
