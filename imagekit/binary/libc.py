"""Which C library a program has inside or asks for, and the oldest glibc that can start it."""

from __future__ import annotations

import re

from imagekit.binary.elf import Elf
from imagekit.binary.facts import CgoUse, Evidence
from imagekit.binary.window import Window

_GLIBC_SECTIONS = ("__libc_freeres_fn", "__libc_IO_vtables", "__libc_atexit")
_GLIBC_STRINGS = (b"Fatal glibc error", b"GLIBC_PRIVATE")
"""Both must be there: scanners of binaries carry one or the other as data."""
_MUSL_STRING = b"No error information\0"
_MUSL_TABLE = _MUSL_STRING + b"Illegal byte sequence\0Domain error\0"
"""How the table of musl's strerror begins (src/errno/__strerror.h): proof enough where no cgo shows C inside."""
_LOADERS = (
    ("ld-musl-", "musl"),
    ("ld-uClibc", "uclibc"),
    ("ld-linux", "glibc"),
    ("ld64.so", "glibc"),
    ("linker", "bionic"),
)
_SYSTEM_LIBC = {
    "openbsd": "openbsd",
    "netbsd": "netbsd",
    "freebsd": "freebsd",
    "dragonfly": "dragonfly",
    "android": "bionic",
}
_RELR_VERSION, _RELR_GLIBC = "GLIBC_ABI_DT_RELR", (2, 36)
_VERSION = re.compile(r"GLIBC_(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


def of_elf(elf: Elf, cgo: CgoUse, system: str) -> tuple[str, Evidence] | None:
    """The library's name and how it is known; None where nothing shows one."""
    if elf.dynamic.needed:
        return _asked_for(elf, system)
    if elf.interpreter is not None or cgo is CgoUse.ABSENT:
        return None
    return _inside(elf, cgo)


def _asked_for(elf: Elf, system: str) -> tuple[str, Evidence] | None:
    view, dynamic = elf.view, elf.dynamic
    if any(version.startswith("GLIBC_") for _, version in dynamic.versions):
        return "glibc", Evidence("DT_VERNEED", _absolute(view, dynamic.versions_offset), "versions of GLIBC are needed")
    loader = (elf.interpreter or "").rpartition("/")[2]
    name = next((libc for prefix, libc in _LOADERS if loader.startswith(prefix)), None)
    if name is not None:
        return name, Evidence("PT_INTERP", view.base + elf.interpreter_offset, elf.interpreter or "")
    library = next((n for n in dynamic.needed if n.startswith(("libc.so", "libc.musl-"))), None)
    if library is None:
        return None
    name = "musl" if library.startswith("libc.musl-") else _SYSTEM_LIBC.get(system)
    name = "glibc" if name is None and library == "libc.so.6" and system == "linux" else name
    return (name, Evidence("DT_NEEDED", _absolute(view, dynamic.needed_offset), library)) if name else None


def _inside(elf: Elf, cgo: CgoUse) -> tuple[str, Evidence] | None:
    """A libc that was linked in: its own sections first, then strings that only it has."""
    for name in _GLIBC_SECTIONS:
        section = elf.section(name)
        if section is not None:
            return "glibc", Evidence(f"section {name}", elf.view.base + section.offset, "glibc's own section")
    found = [_find(elf, text) for text in _GLIBC_STRINGS]
    if None not in found:
        return "glibc", Evidence("loaded bytes", found[0], "glibc's own messages")
    musl = _find(elf, _MUSL_STRING if cgo is CgoUse.PROVEN else _MUSL_TABLE)
    return ("musl", Evidence("loaded bytes", musl, "musl's own message")) if musl is not None else None


def _find(elf: Elf, text: bytes) -> int | None:
    """Offset in the file of a string in loaded bytes."""
    for start, end in elf.layout.spans(lambda _: True):
        found = elf.view.find(text, start, end)
        if found >= 0:
            return elf.view.base + found
    return None


def glibc_min(elf: Elf) -> tuple[str, Evidence] | None:
    """The highest `GLIBC_x.y` that is asked for, e.g. `2.34`; relative relocations (DT_RELR) need 2.36."""
    versions = [name for _, name in elf.dynamic.versions]
    levels = [tuple(int(n) for n in match.groups("0")) for match in map(_VERSION.fullmatch, versions) if match]
    if _RELR_VERSION in versions:
        levels.append((*_RELR_GLIBC, 0))
    if not levels:
        return None
    major, minor, patch = max(levels)
    text = f"{major}.{minor}" + (f".{patch}" if patch else "")
    return text, Evidence("DT_VERNEED", _absolute(elf.view, elf.dynamic.versions_offset), f"GLIBC_{text}")


def of_pe(needed: tuple[str, ...]) -> str | None:
    """`ucrt` or `msvcrt`, by the DLLs that are asked for."""
    names = [name.lower() for name in needed]
    if any(name.startswith(("api-ms-win-crt-", "ucrtbase")) for name in names):
        return "ucrt"
    return "msvcrt" if "msvcrt.dll" in names else None


def of_macho(needed: tuple[str, ...]) -> str | None:
    """`libSystem`, which holds macOS's C library."""
    return "libSystem" if any(n.startswith("/usr/lib/libSystem.") for n in needed) else None


def _absolute(view: Window, offset: int | None) -> int | None:
    return None if offset is None else view.base + offset
