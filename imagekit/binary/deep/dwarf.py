"""C's compile units in DWARF debug information, by pyelftools, from the sections of any format. Bounded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from imagekit.binary.deep import CompileUnit

SECTIONS = ("info", "abbrev", "str", "line_str", "str_offsets", "addr")
"""What a unit's first entry may be made of; each is `.debug_…`, `.zdebug_…` (compressed) or Mach-O's `__debug_…`."""
MOST_BYTES = 1 << 28
"""Of all these sections together, uncompressed; more is not looked at."""
_UNITS, _KEPT, _TEXT = 1 << 16, 1 << 10, 1 << 10
_GO, _SHF_COMPRESSED, _ZLIB, _ZSTD = 0x16, 0x800, 1, 2
_LANGUAGES = {
    **dict.fromkeys((0x01, 0x02, 0x0C, 0x1D, 0x2C, 0x3E), "C"),
    **dict.fromkeys((0x04, 0x1A, 0x21, 0x2B, 0x3A), "C++"),
    **dict.fromkeys((0x07, 0x08, 0x0E, 0x22, 0x23, 0x2D), "Fortran"),
    **dict.fromkeys((0x0D, 0x05), "Ada"),
    **{0x09: "Pascal", 0x10: "Objective-C", 0x11: "Objective-C++", 0x13: "D", 0x1C: "Rust", 0x1E: "Swift"},
    **{0x27: "Zig", 0x31: "Assembly", 0x8001: "Assembly"},
}
"""DW_LANG_ (DWARF 5, table 7.17, and the registry at dwarfstd.org)."""


def of_elf(file: Any) -> dict[str, bytes]:
    """The sections of an `ELFFile`, uncompressed; {} where they are larger than is looked at."""
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    order, wide = "<" if file.little_endian else ">", file.elfclass == 64
    for section in file.iter_sections():
        name = wanted(section.name)
        if not name or section["sh_type"] == "SHT_NOBITS" or name in found:
            continue
        if section["sh_size"] > left:
            return {}
        file.stream.seek(section["sh_offset"])
        raw = file.stream.read(section["sh_size"])
        compressed = section["sh_flags"] & _SHF_COMPRESSED
        found[name] = _unpacked(raw, order, wide, left) if compressed else inflated(section.name, raw, left)
        left -= len(found[name])
    return found


def _unpacked(raw: bytes, order: str, wide: bool, limit: int) -> bytes:
    """A section behind its Elf32_Chdr or Elf64_Chdr (gABI 4, section compression); b"" in a way that is not known."""
    kind, size = struct.unpack_from(order + ("I4xQ" if wide else "II"), raw)
    body = raw[24 if wide else 12 :]
    if size > limit:
        return b""
    if kind == _ZLIB:
        return zlib.decompressobj().decompress(body, max(size, 1))
    if kind == _ZSTD:
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=MOST_BYTES).stream_reader(body).read(size)
    return b""


def wanted(name: str) -> str:
    """`info` for `.debug_info`; '' for a section that is not looked at."""
    bare = name.lstrip("._").removeprefix("z").removeprefix("debug_")
    bare = "str_offsets" if bare == "str_offs" else bare  # Mach-O cuts names at 16 bytes
    return bare if bare in SECTIONS and "debug_" in name else ""


def inflated(name: str, content: bytes, limit: int) -> bytes:
    """The bytes of a `.zdebug_` section behind its 12 bytes of header; others as they are. At most `limit` bytes."""
    if "zdebug_" not in name or content[:4] != b"ZLIB":
        return content
    return zlib.decompressobj().decompress(content[12:], limit)


def units(sections: dict[str, bytes], order: str, pointer: int) -> tuple[CompileUnit, ...]:
    """At most 1,024 units that are not Go's; those before the first that cannot be read."""
    if "info" not in sections or "abbrev" not in sections:
        return ()
    return tuple(islice(_units(sections, order, pointer), _KEPT))


def _units(sections: dict[str, bytes], order: str, pointer: int) -> Iterator[CompileUnit]:
    from elftools.common.exceptions import DWARFError, ELFError
    from elftools.construct import ConstructError

    found = _Units(sections, order, pointer)
    try:
        for unit in islice(found.every.iter_CUs(), _UNITS):
            top = unit.get_top_DIE()
            language = top.attributes.get("DW_AT_language") or top.attributes.get("DW_AT_language_name")
            if language is not None and language.value != _GO:
                yield CompileUnit(
                    _text(top, "DW_AT_name"),
                    _text(top, "DW_AT_producer"),
                    _LANGUAGES.get(language.value, f"DW_LANG {language.value:#x}"),
                )
            unit._dielist.clear()  # each unit is looked at once; the file has as many as it likes
            unit._diemap.clear()
    except (DWARFError, ELFError, ConstructError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        return  # what is damaged ends the list, as it does in a debugger
    except (AssertionError, RecursionError, OverflowError):
        return


class _Units:
    """pyelftools' view of the sections, without those that only a debugger wants."""

    def __init__(self, sections: dict[str, bytes], order: str, pointer: int) -> None:
        from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

        every = {
            f"debug_{name}_sec": DebugSectionDescriptor(io.BytesIO(content), f".debug_{name}", 0, len(content), 0)
            for name, content in sections.items()
        }
        named = (
            "aranges",
            "frame",
            "loc",
            "ranges",
            "line",
            "pubtypes",
            "pubnames",
            "loclists",
            "rnglists",
            "sup",
            "types",
        )
        none = dict.fromkeys((*(f"debug_{n}_sec" for n in (*named, *SECTIONS)), "eh_frame_sec", "gnu_debugaltlink_sec"))
        self.every = DWARFInfo(config=DwarfConfig(order == "<", "", pointer), **none | every)


def _text(entry: Any, name: str) -> str:
    attribute = entry.attributes.get(name)
    value = attribute.value if attribute is not None else b""
    return value[:_TEXT].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else ""
