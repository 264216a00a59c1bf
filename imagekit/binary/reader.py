"""`read`: from a file to BinaryFacts. Touches disk.

What is damaged is a fact (`broken`), not an error: only a path that cannot be opened raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from imagekit.binary import (
    buildinfo,
    cnames,
    formats,
    gocode,
    hardening,
    libc,
    linkage,
    macho,
    machohardening,
    packers,
    pehardening,
    platforms,
    signature,
    traits,
)
from imagekit.binary.elf import Elf
from imagekit.binary.facts import BinaryFacts, CgoUse, Evidence, Linkage
from imagekit.binary.gocode import GoCode
from imagekit.binary.linkage import Verdict
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.binary.window import Window, open_window
from imagekit.errors import FormatError
from imagekit.platform import Platform

_WASI, _WASM_HEAD = b"wasi_snapshot_preview1", 1 << 16


def read(path: Path) -> tuple[BinaryFacts, ...]:
    """The facts of the file: one, or one a slice of a fat Mach-O in the file's order.

    Raises `UnreadableError` if the path cannot be opened or is not a regular file, and for nothing else.
    """
    view = open_window(path)
    try:
        return tuple(_all(view))
    finally:
        if not isinstance(view.buffer, bytes):
            view.buffer.close()


def _all(view: Window) -> Iterator[BinaryFacts]:
    kind = formats.recognise(view)
    if kind != "fat":
        yield _facts(view, kind)
        return
    try:
        slices = tuple(macho.slices(view))
    except FormatError as error:
        yield _broken("macho", error)
        return
    for name, part in slices:
        inner = formats.recognise(part)
        yield msgspec.structs.replace(_facts(part, inner if inner in ("macho", "ar") else "unknown"), slice=name)


def _facts(view: Window, kind: str) -> BinaryFacts:
    if kind not in ("elf", "macho", "pe"):
        return _silent(view, kind)
    try:
        program = formats.program(view, kind)
        match program:
            case Elf():
                return _elf(program)
            case MachO():
                return _macho(program)
            case Pe():
                return _pe(program)
    except FormatError as error:
        return _broken(kind, error)


def _broken(kind: str, error: FormatError) -> BinaryFacts:
    said = Evidence("damaged", error.offset, error.message)
    return BinaryFacts(
        format=kind, platform=None, linkage=Linkage.BROKEN, cgo=CgoUse.UNKNOWN, evidence={"linkage": said}
    )


def _elf(program: Elf) -> BinaryFacts:
    code = gocode.trace(program)
    use, use_said = gocode.cgo(code)
    platform, platform_said = platforms.of_elf(program, code)
    system = platform.os if platform else ""
    library, least = libc.of_elf(program, use, system), libc.glibc_min(program)
    dynamic, base = program.dynamic, program.view.base
    packed, imported = packers.find(program, code.present), cnames.imports(program)
    verdict = linkage.of_elf(program, code, use, system, packed[1] if packed else None)
    told = traits.of_elf(program, code, use, library[0] if library else None, imported, packed)
    evidence = _evidence(code, verdict, told, ("cgo", use_said), ("platform", platform_said))
    name = library[0] if library else None
    hard = hardening.of_elf(program, use, system, name, code.present, imported)
    if library:
        evidence["libc"] = library[1]
    if least:
        evidence["glibc_min"] = least[1]
    if program.interpreter is not None:
        evidence["interpreter"] = Evidence("PT_INTERP", base + program.interpreter_offset, program.interpreter)
    if dynamic.needed_offset is not None:
        evidence["needed"] = Evidence("DT_NEEDED", base + dynamic.needed_offset, ", ".join(dynamic.needed))
    if dynamic.rpath_offset is not None:
        evidence["rpath"] = Evidence("DT_RPATH or DT_RUNPATH", base + dynamic.rpath_offset, ":".join(dynamic.rpath))
    return BinaryFacts(
        format="elf",
        platform=platform,
        linkage=verdict.linkage,
        cgo=use,
        libc=library[0] if library else None,
        glibc_min=least[0] if least else None,
        interpreter=program.interpreter,
        needed=dynamic.needed,
        rpath=dynamic.rpath,
        go=code.build,
        hardening=hard.values,
        evidence=evidence | hard.evidence,
        traits=told.traits,
    )


def _macho(program: MachO) -> BinaryFacts:
    code = gocode.trace(program)
    use, use_said = gocode.cgo(code)
    platform, platform_said = platforms.of_macho(program, code)
    signed = signature.check(program.view, *program.signature) if program.signature else None
    packed = packers.find(program, code.present)
    architecture = platform.architecture if platform else ""
    verdict = linkage.of_macho(program, signed, architecture, packed[1] if packed else None)
    told = traits.of_macho(program, code, packed)
    evidence = _evidence(code, verdict, told, ("cgo", use_said), ("platform", platform_said))
    hard = machohardening.of_macho(program, signed, use, code.present, told.traits.imports)
    base, library = program.view.base, libc.of_macho(program.needed)
    if program.loader:
        evidence["interpreter"] = Evidence("LC_LOAD_DYLINKER", base + program.loader.offset, program.interpreter or "")
    if program.dylibs:
        evidence["needed"] = Evidence("LC_LOAD_DYLIB", base + program.dylibs.offset, ", ".join(program.needed))
        if library:
            evidence["libc"] = evidence["needed"]
    if (command := program.first(macho.LC_RPATH)) is not None:
        evidence["rpath"] = Evidence("LC_RPATH", base + command.offset, ":".join(program.rpath))
    return BinaryFacts(
        format="macho",
        platform=platform,
        linkage=verdict.linkage,
        cgo=use,
        libc=library,
        interpreter=program.interpreter,
        needed=program.needed,
        rpath=program.rpath,
        go=code.build,
        hardening=hard.values,
        evidence=evidence | hard.evidence,
        traits=told.traits,
    )


def _pe(program: Pe) -> BinaryFacts:
    code = gocode.trace(program)
    use, use_said = gocode.cgo(code)
    platform, platform_said = platforms.of_pe(program, code)
    packed = packers.find(program, code.present)
    verdict = linkage.of_pe(program, packed[1] if packed else None)
    told = traits.of_pe(program, code, packed)
    evidence = _evidence(code, verdict, told, ("cgo", use_said), ("platform", platform_said))
    hard, library = pehardening.of_pe(program, use, code.present), libc.of_pe(program.needed)
    if program.libraries:
        at = program.view.base + program.libraries[0].offset
        evidence["needed"] = Evidence("import table", at, ", ".join(program.needed))
        if library:
            evidence["libc"] = evidence["needed"]
    return BinaryFacts(
        format="pe",
        platform=platform,
        linkage=verdict.linkage,
        cgo=use,
        libc=library,
        needed=program.needed,
        go=code.build,
        hardening=hard.values,
        evidence=evidence | hard.evidence,
        traits=told.traits,
    )


def _evidence(
    code: GoCode, verdict: Verdict, told: traits.Told, *said: tuple[str, Evidence | None]
) -> dict[str, Evidence]:
    """The evidence that all three formats have: linkage first, then what is not silent."""
    evidence = {"linkage": verdict.evidence} | {fact: found for fact, found in said if found is not None}
    evidence |= told.evidence
    if code.build is not None:
        evidence["go"] = Evidence("build info", code.build_offset, code.build.version)
    return evidence


def _silent(view: Window, kind: str) -> BinaryFacts:
    """What is known of a format whose linkage imagekit does not read: its platform, and Go's build info."""
    found = buildinfo.read_flat(view) if kind in ("xcoff", "aout", "wasm") else None
    evidence = {"linkage": Evidence("file", 0, "no format that imagekit can judge" if kind == "unknown" else kind)}
    platform = _silent_platform(view, kind)
    if platform is not None:
        evidence["platform"] = Evidence("magic", view.base, str(platform))
    if found is not None:
        evidence["go"] = Evidence("build info", view.base + found[1], found[0].version)
    return BinaryFacts(
        format=kind,
        platform=platform,
        linkage=Linkage.UNKNOWN,
        cgo=CgoUse.UNKNOWN,
        go=found[0] if found else None,
        evidence=evidence,
    )


def _silent_platform(view: Window, kind: str) -> Platform | None:
    match kind:
        case "xcoff":
            return Platform("aix", formats.architecture(view))
        case "aout":
            return Platform("plan9", formats.architecture(view))
        case "wasm":
            return Platform("wasip1" if view.find(_WASI, 0, _WASM_HEAD) >= 0 else "js", "wasm")
        case _:
            return None
