"""Hardening that a Mach-O slice's load commands show; see hardening.py for what the values mean."""

from __future__ import annotations

from imagekit.binary import macho
from imagekit.binary.facts import CgoUse
from imagekit.binary.hardening import NOT_APPLICABLE, Hardening, Notes, writable_code
from imagekit.binary.importing import Imports
from imagekit.binary.macho import MachO
from imagekit.binary.signature import Signature

_MINIMUM = (macho.LC_BUILD_VERSION, *macho.LC_VERSION_MIN)


def of_macho(program: MachO, signed: Signature | None, cgo: CgoUse, is_go: bool, imports: Imports) -> Hardening:
    """pie, nx, writable_code, stack_protector, fortify, signature, page_hashes, hardened_runtime, minimum_os, symbols,
    debug."""
    notes, flags = Notes(program.view.base), program.flags
    if program.kind == macho.MH_EXECUTE:
        notes.add("pie", bool(flags & macho.MH_PIE), "Mach-O header", 24, f"flags {flags:#x}")
    else:
        notes.add("pie", NOT_APPLICABLE)
    notes.add("nx", not flags & macho.MH_ALLOW_STACK_EXECUTION, "Mach-O header", 24, f"flags {flags:#x}")
    writable_code(program.layout, "load commands", program.commands[0].offset if program.commands else 0, notes)
    _compiled(imports, not (is_go and cgo is CgoUse.ABSENT), notes)
    _signature(program, signed, notes)
    least = program.first(*_MINIMUM)
    notes.add("minimum_os", program.minimum_os, "load commands", least.offset if least else None)
    _left(program, notes)
    return notes.done()


def _compiled(imports: Imports, has_c: bool, notes: Notes) -> None:
    """How the C parts were compiled, by what they import."""
    names = {name for wanted in imports.values() for name in wanted}
    checked = next((name for name in sorted(names) if name.startswith("___") and name.endswith("_chk")), None)
    found = {"stack_protector": "___stack_chk_fail" if "___stack_chk_fail" in names else None, "fortify": checked}
    for key, name in found.items():
        if has_c:
            notes.add(key, name is not None, "imports", None, name or "none is imported")
        else:
            notes.add(key, NOT_APPLICABLE)


def _signature(program: MachO, signed: Signature | None, notes: Notes) -> None:
    """`page_hashes` is `bad` if macOS would kill the program for them; the certificates are not looked at."""
    if signed is None or program.signature is None:
        notes.add("signature", "none", "load commands", 0, "no LC_CODE_SIGNATURE")
        notes.add("page_hashes", NOT_APPLICABLE)
        notes.add("hardened_runtime", NOT_APPLICABLE)
        return
    notes.add("signature", signed.kind, "LC_CODE_SIGNATURE", program.signature[0])
    at = signed.offset - program.view.base
    notes.add("page_hashes", "bad" if signed.fault else "good", "code directory", at, signed.fault)
    notes.add("hardened_runtime", signed.hardened, "code directory", None if signed.fault else at)


def _left(program: MachO, notes: Notes) -> None:
    """Symbols that the file defines (imported ones stay when it is stripped), and DWARF."""
    command = program.first(macho.LC_DYSYMTAB)
    own = program.symbols.count if program.symbols else 0
    if command is not None:
        _, local, _, external = program.view.unpack("IIII", command.offset + 8, "LC_DYSYMTAB")
        own = int(local) + int(external)
    notes.add("symbols", own > 0, "LC_DYSYMTAB", command.offset if command else None, f"{own} own symbols")
    dwarf = next((s for s in program.layout.segments if s.name == "__DWARF"), None)
    notes.add("debug", dwarf is not None, "load commands", dwarf.offset if dwarf else 0, "__DWARF" if dwarf else "none")
