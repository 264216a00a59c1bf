"""Which format a file has, and the programs in it."""

from __future__ import annotations

from collections.abc import Iterator

from imagekit.binary import elf, macho, pe
from imagekit.binary.window import Window

Program = elf.Elf | macho.MachO | pe.Pe
_PLAN9 = {0x1EB: "386", 0x8A97: "amd64", 0x647: "arm"}
"""GOARCH spelling of Plan 9's a.out magics (debug/plan9obj)."""
_HEAD, _XCOFF_SECTIONS, _XCOFF_OPTIONAL = 20, 256, 512
_WASM = (b"\x01\0\0\0", b"\x0d\0\x01\0")
"""Version and layer of a module, and of a component."""
_XCOFF = {b"\x01\xdf": "ppc", b"\x01\xf7": "ppc64"}


def recognise(view: Window) -> str:
    """`elf`, `macho`, `fat`, `pe`, `wasm`, `xcoff`, `aout`, `ar` or `unknown`, from the first bytes."""
    head = view.raw(0, min(_HEAD, view.size), "magic")
    if head[:4] == elf.MAGIC:
        return "elf"
    if head[:4] in macho.THIN_MAGICS:
        return "macho"
    if macho.is_fat(view):
        return "fat"
    if head[:2] == b"MZ" and pe.header_offset(view) is not None:
        return "pe"
    return _other(head)


def _other(head: bytes) -> str:
    if head[:4] == b"\0asm" and head[4:8] in _WASM:
        return "wasm"
    if head[:8] in (b"!<arch>\n", b"!<thin>\n", b"<bigaf>\n"):
        return "ar"
    if head[:2] in _XCOFF and _is_xcoff(head):
        return "xcoff"
    return "aout" if int.from_bytes(head[:4], "big") in _PLAN9 else "unknown"


def _is_xcoff(head: bytes) -> bool:
    """Two bytes are too few to tell a program by: sections and the optional header must have sizes that can be."""
    sections, optional = int.from_bytes(head[2:4], "big"), int.from_bytes(head[16:18], "big")
    return len(head) == _HEAD and sections <= _XCOFF_SECTIONS and optional <= _XCOFF_OPTIONAL


def architecture(view: Window) -> str:
    """GOARCH of an XCOFF or Plan 9 file."""
    head = view.raw(0, 4, "magic")
    return _XCOFF.get(head[:2]) or _PLAN9[int.from_bytes(head, "big")]


def program(view: Window, kind: str) -> Program:
    """The headers of one ELF, thin Mach-O or PE file; raise `FormatError` if they are damaged."""
    if kind == "elf":
        return elf.read(view)
    return macho.read(view) if kind == "macho" else pe.read(view, pe.header_offset(view) or 0)


def programs(view: Window) -> Iterator[Program]:
    """Each program of a file: one, one a slice, none where the format is not one of the three."""
    kind = recognise(view)
    if kind == "fat":
        thin = (part for _, part in macho.slices(view) if recognise(part) == "macho")
        yield from (program(part, "macho") for part in thin)
    elif kind in ("elf", "macho", "pe"):
        yield program(view, kind)
