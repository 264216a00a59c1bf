"""Hardening that a PE file's headers show; see hardening.py for what the values mean."""

from __future__ import annotations

from imagekit.binary import pe
from imagekit.binary.facts import CgoUse
from imagekit.binary.hardening import DEBUG_SECTIONS, NOT_APPLICABLE, Hardening, Notes, Value, writable_code
from imagekit.binary.pe import Pe

_MACHINE_386 = 0x14C
_COOKIE, _HANDLERS = {False: 60, True: 88}, 64
"""Places in the load configuration: the stack cookie's address by width, the table of safe handlers in 32 bits."""
_EX_CHARACTERISTICS, _CET = 20, 1
_DEBUG_ENTRY, _DEBUG_LIMIT = 28, 64


def of_pe(program: Pe, cgo: CgoUse, is_go: bool) -> Hardening:
    """aslr, high_entropy_va, nx, control_flow_guard, shadow_stack, safe_seh, stack_protector, force_integrity,
    writable_code, signature, timestamp, symbols, debug."""
    notes, at = Notes(program.view.base), program.header + 94
    flags = program.dll_characteristics
    shown = f"DllCharacteristics {flags:#06x}"
    moves = bool(flags & pe.DYNAMIC_BASE) and not program.characteristics & pe.RELOCS_STRIPPED
    notes.add("aslr", moves, "optional header", at, shown)
    high: Value = bool(flags & pe.HIGH_ENTROPY_VA) if program.wide else NOT_APPLICABLE
    notes.add("high_entropy_va", high, "optional header", at, shown)
    notes.add("nx", bool(flags & pe.NX_COMPAT), "optional header", at, shown)
    notes.add("control_flow_guard", bool(flags & pe.GUARD_CF), "optional header", at, shown)
    notes.add("shadow_stack", _shadow_stack(program), "debug directory", None)
    has_c = not (is_go and cgo is CgoUse.ABSENT)
    notes.add("safe_seh", _safe_seh(program) if has_c else NOT_APPLICABLE, "load configuration", None)
    notes.add("stack_protector", _cookie(program) if has_c else NOT_APPLICABLE, "load configuration", None)
    notes.add("force_integrity", bool(flags & pe.FORCE_INTEGRITY), "optional header", at, shown)
    writable_code(program.layout, "section table", program.header, notes)
    _left(program, notes)
    return notes.done()


def _left(program: Pe, notes: Notes) -> None:
    """What else stands in the file: signature, time of the link, symbols, DWARF."""
    place, size = program.certificates
    signature = "authenticode" if program.signed else "none"
    notes.add(
        "signature", signature, "security directory", place or None, f"{size} bytes, not verified" if size else ""
    )
    stamp = f"{program.timestamp:#010x}" if program.timestamp else "none"
    notes.add("timestamp", stamp, "COFF header", program.header + 8)
    shown = f"{program.symbol_count} symbols"
    notes.add("symbols", program.symbol_count > 0, "COFF header", program.header + 12, shown)
    first = next((s for s in program.sections if s.name.startswith(("/", *DEBUG_SECTIONS))), None)
    at, shown = (first.offset, first.name) if first else (program.header, "no debug sections")
    notes.add("debug", first is not None, "section table", at, shown)


def _configured(program: Pe, distance: int, width: int) -> int | None:
    """A word of the load configuration; None where it has none."""
    address, _ = program.directory(pe.LOAD_CONFIG)
    start = program.layout.offset_of(program.base + address, distance + width) if address else None
    if start is None or program.view.number(4, start, "load configuration") < distance + width:
        return None
    return program.view.number(width, start + distance, "load configuration")


def _cookie(program: Pe) -> bool | None:
    """MSVC's and clang-cl's stack cookie; mingw's protector leaves no mark, so that its absence proves nothing."""
    return True if _configured(program, _COOKIE[program.wide], 8 if program.wide else 4) else None


def _safe_seh(program: Pe) -> bool | str:
    """Only 32-bit programs keep their exception handlers on the stack."""
    if program.machine != _MACHINE_386 or program.dll_characteristics & pe.NO_SEH:
        return NOT_APPLICABLE
    return bool(_configured(program, _HANDLERS, 4))


def _shadow_stack(program: Pe) -> bool:
    """IMAGE_DLLCHARACTERISTICS_EX_CET_COMPAT, in an entry of the debug directory."""
    address, size = program.directory(pe.DEBUG)
    view, count = program.view, min(size // _DEBUG_ENTRY, _DEBUG_LIMIT)
    start = program.layout.offset_of(program.base + address, count * _DEBUG_ENTRY) if count else None
    for row in view.rows("IIHHIIII", start, count, "debug directory") if start is not None else ():
        if row[4] == _EX_CHARACTERISTICS and row[5] >= 4 and row[7] + 4 <= view.size:
            return bool(view.number(4, row[7], "debug directory") & _CET)
    return False
