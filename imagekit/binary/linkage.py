"""The decision tables: from what the headers say to one word. docs/linkage.md explains each line."""

from __future__ import annotations

import msgspec

from imagekit.binary import baselines, elf, macho, pe
from imagekit.binary.elf import Elf
from imagekit.binary.facts import CgoUse, Evidence, Linkage
from imagekit.binary.gocode import GoCode
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.binary.signature import Signature


class Verdict(msgspec.Struct, frozen=True):
    linkage: Linkage
    evidence: Evidence


def of_elf(program: Elf, code: GoCode, cgo: CgoUse, system: str, packed: Evidence | None) -> Verdict:
    """Top to bottom, the first that fits."""
    dynamic, asks = program.dynamic, program.interpreter is not None
    dynamic_at = program.view.base + (dynamic.offset or program.program_headers)
    if packed:
        return Verdict(Linkage.UNKNOWN, packed)
    if program.kind == elf.ET_REL:
        return _verdict(Linkage.LIBRARY, "ELF header", program.view.base + 16, "ET_REL: an object file")
    if program.kind not in (elf.ET_EXEC, elf.ET_DYN):
        return _verdict(Linkage.UNKNOWN, "ELF header", program.view.base + 16, f"e_type {program.kind}")
    mode = code.setting("-buildmode")
    if mode in ("c-shared", "plugin"):
        return _verdict(Linkage.LIBRARY, "build info", code.build_offset, f"-buildmode={mode}")
    entered = program.entry != 0 or dynamic.pie
    if program.kind == elf.ET_DYN and not asks and (dynamic.needed or dynamic.soname or not entered):
        return _verdict(Linkage.LIBRARY, "PT_DYNAMIC", dynamic_at, "ET_DYN without PT_INTERP: a shared object")
    if fault := _cannot_start(program):
        return fault
    if asks:
        return _asks_for_loader(program, cgo, system)
    if dynamic.needed:
        return _verdict(Linkage.DYNAMIC, "PT_DYNAMIC", dynamic_at, "needs " + _listed(dynamic.needed))
    return _asks_for_nothing(program, code, cgo)


def _cannot_start(program: Elf) -> Verdict | None:
    """No loaded segment, or an entry point outside of those that may be executed."""
    segment = program.layout.segment_at(program.entry)
    # e_entry of big-endian ppc64 (ELFv1) names a function descriptor in the data.
    if segment is not None and (segment.executable or program.machine == elf.EM_PPC64):
        return None
    return _verdict(
        Linkage.BROKEN,
        "ELF header",
        program.view.base + 24,
        f"entry point {program.entry:#x} is in no executable segment",
    )


def _asks_for_loader(program: Elf, cgo: CgoUse, system: str) -> Verdict:
    loader, needed = program.interpreter or "", program.dynamic.needed
    at = program.view.base + program.interpreter_offset
    if baselines.elf_allows(system, loader, needed) and (needed or system == "android"):
        return _verdict(
            Linkage.SYSTEM, "PT_INTERP", at, f"{loader} and only {system}'s own libraries: {_listed(needed)}"
        )
    if needed:
        without = "" if cgo is CgoUse.PROVEN else ", without cgo" if cgo is CgoUse.ABSENT else ""
        return _verdict(Linkage.DYNAMIC, "PT_INTERP", at, f"{loader}, needs {_listed(needed)}{without}")
    return _verdict(Linkage.LOADER_ONLY, "PT_INTERP", at, f"{loader}, needs no library")


def _asks_for_nothing(program: Elf, code: GoCode, cgo: CgoUse) -> Verdict:
    at = program.view.base + program.program_headers
    if program.kind == elf.ET_EXEC:
        return _verdict(Linkage.STATIC, "program headers", at, "ET_EXEC, no PT_INTERP, no DT_NEEDED")
    if program.dynamic.pie:
        return _verdict(Linkage.STATIC_PIE, "program headers", at, "ET_DYN with DF_1_PIE, no PT_INTERP, no DT_NEEDED")
    why = "ET_DYN without DF_1_PIE and without PT_INTERP"
    if code.present and cgo is CgoUse.ABSENT:
        # Without runtime/cgo it was Go's own linker, whose programs leave relocating to a loader.
        return _verdict(Linkage.BROKEN, "program headers", at, f"{why}: nobody applies its relocations")
    return _verdict(Linkage.UNKNOWN, "program headers", at, why)


def of_macho(program: MachO, signature: Signature | None, architecture: str, packed: Evidence | None) -> Verdict:
    """Top to bottom, the first that fits; never `static`, which macOS does not support."""
    base = program.view.base
    if packed:
        return Verdict(Linkage.UNKNOWN, packed)
    if program.kind in (macho.MH_DYLIB, macho.MH_BUNDLE, macho.MH_OBJECT, macho.MH_DYLINKER):
        return _verdict(Linkage.LIBRARY, "Mach-O header", base + 12, f"filetype {program.kind}")
    if program.kind != macho.MH_EXECUTE:
        return _verdict(Linkage.UNKNOWN, "Mach-O header", base + 12, f"filetype {program.kind}")
    if not program.entry:
        return _verdict(Linkage.BROKEN, "load commands", base, "no LC_MAIN and no LC_UNIXTHREAD: no entry point")
    if fault := _killed(program, signature, architecture):
        return fault
    return _dylibs(program)


def _killed(program: MachO, signature: Signature | None, architecture: str) -> Verdict | None:
    """macOS on arm64 kills what is not signed, or was changed since (golang/go#42684)."""
    if architecture != "arm64" or program.system not in (None, "darwin"):
        return None
    if signature is None:
        return _verdict(Linkage.BROKEN, "load commands", program.view.base, "arm64 without LC_CODE_SIGNATURE")
    if signature.fault:
        return _verdict(Linkage.BROKEN, "code signature", signature.offset, signature.fault)
    return None


def _dylibs(program: MachO) -> Verdict:
    foreign = tuple(name for name in program.needed if not baselines.macho_allows(name))
    command = program.dylibs or program.loader
    at = program.view.base + (command.offset if command else 0)
    if foreign:
        return _verdict(Linkage.DYNAMIC, "LC_LOAD_DYLIB", at, "needs " + _listed(foreign))
    if program.needed:
        return _verdict(Linkage.SYSTEM, "LC_LOAD_DYLIB", at, "only macOS's own: " + _listed(program.needed))
    if program.interpreter:
        return _verdict(Linkage.LOADER_ONLY, "LC_LOAD_DYLINKER", at, f"{program.interpreter}, needs no library")
    return _verdict(Linkage.UNKNOWN, "load commands", at, "neither a loader nor a library")


def of_pe(program: Pe, packed: Evidence | None) -> Verdict:
    """Top to bottom, the first that fits."""
    header = program.view.base + program.header
    if packed:
        return Verdict(Linkage.UNKNOWN, packed)
    if program.characteristics & pe.DLL:
        return _verdict(Linkage.LIBRARY, "COFF header", header + 22, "IMAGE_FILE_DLL")
    if program.subsystem not in pe.CONSOLE_OR_WINDOW:
        return _verdict(Linkage.UNKNOWN, "optional header", header + 92, f"subsystem {program.subsystem}")
    if not program.characteristics & pe.EXECUTABLE_IMAGE:
        return _verdict(Linkage.BROKEN, "COFF header", header + 22, "not marked IMAGE_FILE_EXECUTABLE_IMAGE")
    if not any(s.executable and s.holds(program.base + program.entry) for s in program.layout.segments):
        return _verdict(Linkage.BROKEN, "optional header", header + 40, f"entry point {program.entry:#x} is in no code")
    return _dlls(program)


def _dlls(program: Pe) -> Verdict:
    at = program.view.base + (program.imports or program.header)
    foreign = tuple(name for name in program.needed if not baselines.pe_allows(name))
    if foreign:
        return _verdict(Linkage.DYNAMIC, "import table", at, "needs " + _listed(foreign))
    if program.needed:
        return _verdict(Linkage.SYSTEM, "import table", at, "only Windows' own: " + _listed(program.needed))
    return _verdict(Linkage.UNKNOWN, "import table", at, "no imports, not even kernel32.dll")


def _verdict(linkage: Linkage, where: str, offset: int | None, value: str) -> Verdict:
    return Verdict(linkage, Evidence(where, offset, value))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"
