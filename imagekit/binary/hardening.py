"""Hardening that the file's own headers show, asked of each kind of file only where it means something.

A key that does not apply is `n/a`; None is not known.
"""

from __future__ import annotations

from imagekit.binary import elf, macho, pe
from imagekit.binary.cnames import Imports
from imagekit.binary.elf import Elf
from imagekit.binary.facts import CgoUse
from imagekit.binary.layout import Layout
from imagekit.binary.macho import MachO
from imagekit.binary.pe import Pe
from imagekit.binary.signature import Signature

Hardening = dict[str, str | bool | None]
_NX_BY_KERNEL = ("openbsd", "netbsd", "solaris", "illumos", "dragonfly", "android")
"""Systems that do not read PT_GNU_STACK: stacks are never executable there."""


def of_elf(program: Elf, cgo: CgoUse, system: str, is_go: bool, imported: Imports) -> Hardening:
    """pie, nx, relro, text_relocations, writable_code, stack_protector, fortify, symbols, debug."""
    asks = _asks_libc(program, cgo, is_go)
    return {
        "pie": program.kind == elf.ET_DYN and program.dynamic.pie,
        "nx": _nx(program, system),
        "relro": _relro(program),
        "text_relocations": program.dynamic.text_relocations,
        "writable_code": _writable_code(program.layout),
        "stack_protector": asks if asks is not True else b"__stack_chk_fail" in imported,
        "fortify": asks if asks is not True else any(name.endswith(b"_chk") for name in imported),
        "symbols": program.section(".symtab") is not None,
        "debug": any(s.name.startswith((".debug_", ".zdebug_")) for s in program.sections),
    }


def _nx(program: Elf, system: str) -> bool | str:
    if system in _NX_BY_KERNEL:
        return "n/a"
    stack = program.segment(elf.PT_GNU_STACK)
    return stack is not None and not stack.flags & elf.PF_X


def _relro(program: Elf) -> str:
    """`n/a` where nothing is relocated when the program starts, so that nothing could be made read-only after."""
    if program.segment(elf.PT_GNU_RELRO) is None:
        return "none" if program.dynamic.offset is not None or program.kind == elf.ET_DYN else "n/a"
    return "full" if program.dynamic.bind_now else "partial"


def _asks_libc(program: Elf, cgo: CgoUse, is_go: bool) -> bool | str | None:
    """Whether imports show how the C parts were compiled; a static libc has such functions in any case: not known."""
    if is_go and cgo is CgoUse.ABSENT:
        return "n/a"
    return True if program.dynamic.needed else None


def _writable_code(layout: Layout) -> bool:
    return any(s.writable and s.executable for s in layout.segments)


def of_macho(program: MachO, signature: Signature | None) -> Hardening:
    """pie, nx, writable_code, signature, minimum_os, symbols, debug."""
    return {
        "pie": bool(program.flags & macho.MH_PIE),
        "nx": not program.flags & macho.MH_ALLOW_STACK_EXECUTION,
        "writable_code": _writable_code(program.layout),
        "signature": signature.kind if signature else "none",
        "minimum_os": program.minimum_os,
        "symbols": _own_symbols(program) > 0,
        "debug": any(s.name == "__DWARF" for s in program.layout.segments),
    }


def _own_symbols(program: MachO) -> int:
    """Symbols that the file defines; imported ones stay when it is stripped."""
    command = program.first(macho.LC_DYSYMTAB)
    if command is None:
        return program.symbols.count if program.symbols else 0
    _, local, _, external = program.view.unpack("IIII", command.offset + 8, "LC_DYSYMTAB")
    return int(local) + int(external)


def of_pe(program: Pe) -> Hardening:
    """aslr, high_entropy_va, nx, control_flow_guard, writable_code, signature, timestamp, symbols, debug."""
    flags = program.dll_characteristics
    return {
        "aslr": bool(flags & pe.DYNAMIC_BASE),
        "high_entropy_va": bool(flags & pe.HIGH_ENTROPY_VA) if program.wide else "n/a",
        "nx": bool(flags & pe.NX_COMPAT),
        "control_flow_guard": bool(flags & pe.GUARD_CF),
        "writable_code": _writable_code(program.layout),
        "signature": "authenticode" if program.signed else "none",
        "timestamp": f"{program.timestamp:#010x}" if program.timestamp else "none",
        "symbols": program.symbol_count > 0,
        "debug": any(s.name.startswith(("/", ".debug_", ".zdebug_")) for s in program.sections),
    }
