"""ELF: headers, segments, sections and notes (System V gABI, chapters 4 and 5). Reads a Window, judges nothing."""

from __future__ import annotations

import msgspec

from imagekit.binary.dynamic import Dynamic, read_dynamic
from imagekit.binary.layout import Layout, Region
from imagekit.binary.window import Window, readable
from imagekit.errors import FormatError

MAGIC = b"\x7fELF"
ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PT_GNU_STACK, PT_GNU_RELRO = 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2
EM_PPC64 = 21
SHT_NULL, SHT_SYMTAB, SHT_NOBITS = 0, 2, 8
_PROGRAM_HEADER_LIMIT = 1 << 16
"""Bytes of program headers that Linux reads at most (fs/binfmt_elf.c, load_elf_phdrs)."""
_SECTION_LIMIT = 1 << 14
_NOTE_LIMIT = 256


class Segment(msgspec.Struct, frozen=True):
    """A program header."""

    kind: int
    flags: int
    offset: int
    address: int
    size: int
    memory: int
    alignment: int


class Section(msgspec.Struct, frozen=True):
    """A section header with its name."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


class Note(msgspec.Struct, frozen=True):
    """One entry of a PT_NOTE segment; `offset` is that of the entry, `content` at most 256 bytes of the descriptor."""

    owner: str
    kind: int
    offset: int
    content: bytes


class Elf(msgspec.Struct, frozen=True, kw_only=True):
    """All that the headers of one ELF file say."""

    view: Window
    bits: int
    os_abi: int
    kind: int
    machine: int
    flags: int
    entry: int
    program_headers: int
    """Offset of the program header table."""
    section_headers: int
    """Offset of the section header table; 0 where it was removed."""
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    interpreter: str | None
    interpreter_offset: int
    dynamic: Dynamic
    notes: tuple[Note, ...]
    layout: Layout

    def note(self, owner: str, kind: int | None = None) -> Note | None:
        return next((n for n in self.notes if n.owner == owner and kind in (None, n.kind)), None)

    def section(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.name == name), None)

    def segment(self, kind: int) -> Segment | None:
        return next((s for s in self.segments if s.kind == kind), None)


def read(view: Window) -> Elf:
    """The headers of one file; raise `FormatError` where the file is truncated or contradicts itself."""
    ident = view.raw(0, 16, "ELF identification")
    if ident[4] not in (1, 2) or ident[5] not in (1, 2) or ident[6] != 1:
        raise FormatError("ELF class, byte order or version is not known", offset=view.base + 4)
    wide, view = ident[4] == 2, view.ordered("<" if ident[5] == 1 else ">")
    header = view.unpack("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH", 16, "ELF header")
    kind, machine, version, entry, ph_offset, sh_offset, flags, _, ph_size, ph_count, sh_size, sh_count, sh_names = (
        header
    )
    if version != 1:
        raise FormatError("ELF version is not 1", offset=view.base + 20)
    segments = _segments(view, wide, ph_offset, ph_size, ph_count)
    sections = _sections(view, wide, sh_offset, sh_size, sh_count, sh_names)
    layout = _layout(wide, segments, sections)
    interpreter, interpreter_offset = _interpreter(view, segments)
    return Elf(
        view=view,
        bits=64 if wide else 32,
        os_abi=ident[7],
        kind=kind,
        machine=machine,
        flags=flags,
        entry=entry,
        program_headers=ph_offset,
        section_headers=sh_offset,
        segments=segments,
        sections=sections,
        interpreter=interpreter,
        interpreter_offset=interpreter_offset,
        dynamic=_dynamic(view, layout, segments),
        notes=_notes(view, segments),
        layout=layout,
    )


def _segments(view: Window, wide: bool, offset: int, size: int, count: int) -> tuple[Segment, ...]:
    if not count:
        return ()
    if size != (56 if wide else 32) or size * count > _PROGRAM_HEADER_LIMIT:
        raise FormatError(f"{count} program headers of {size} bytes", offset=view.base + (54 if wide else 42))
    rows = view.rows("IIQQQQQQ" if wide else "IIIIIIII", offset, count, "program headers")
    segments = tuple(_segment(row, wide) for row in rows)
    for segment in segments:
        if segment.kind in (PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE):
            view.require(segment.offset, segment.size, f"segment of type {segment.kind}")
        if segment.kind == PT_LOAD and segment.size > segment.memory:
            raise FormatError("a segment is larger in the file than in memory", offset=view.base + offset)
    return segments


def _segment(row: tuple[int, ...], wide: bool) -> Segment:
    if wide:
        kind, flags, offset, address, _, size, memory, alignment = row
    else:
        kind, offset, address, _, size, memory, flags, alignment = row
    return Segment(kind, flags, offset, address, size, memory, alignment)


def _sections(view: Window, wide: bool, offset: int, size: int, count: int, names: int) -> tuple[Section, ...]:
    """The named sections; () where the table was removed. Counts beyond 65279 stand in section 0 (gABI 4-11)."""
    if not offset:
        return ()
    if size != (64 if wide else 40):
        raise FormatError(f"section headers of {size} bytes", offset=view.base + (58 if wide else 46))
    layout = "IIQQQQIIQQ" if wide else "IIIIIIIIII"
    first = view.unpack(layout, offset, "section header 0")
    count, names = count or first[5], first[6] if names == 0xFFFF else names
    if count > _SECTION_LIMIT or names >= max(count, 1):
        raise FormatError(f"{count} sections, names in section {names}", offset=view.base + offset)
    rows = view.rows(layout, offset, count, "section headers")
    for row in rows:
        if row[1] not in (SHT_NULL, SHT_NOBITS):
            view.require(row[4], row[5], "section")
    strings = rows[names] if names and rows[names][1] != SHT_NOBITS else None
    raw = view.raw(strings[4], strings[5], "section names") if strings else b""
    if strings and not raw.endswith(b"\0"):
        raise FormatError("section names: no end of string", offset=view.base + strings[4])
    return tuple(_section(row, raw) for row in rows)


def _section(row: tuple[int, ...], names: bytes) -> Section:
    kind, at = row[1], row[0]
    name = readable(names[at : names.find(b"\0", at)][:64]) if kind != SHT_NULL and at < len(names) else ""
    return Section(name, kind, row[2], row[3], row[4], row[5], row[6], row[9])


def _layout(wide: bool, segments: tuple[Segment, ...], sections: tuple[Section, ...]) -> Layout:
    return Layout(
        8 if wide else 4,
        tuple(
            Region("PT_LOAD", s.address, s.offset, s.size, s.memory, bool(s.flags & PF_W), bool(s.flags & PF_X))
            for s in segments
            if s.kind == PT_LOAD
        ),
        tuple(Region(s.name, s.address, s.offset, s.size, s.size) for s in sections if s.kind != SHT_NOBITS),
    )


def _interpreter(view: Window, segments: tuple[Segment, ...]) -> tuple[str | None, int]:
    """The loader's path and its offset; like Linux, refuse one that does not end in a NUL."""
    found = next((s for s in segments if s.kind == PT_INTERP), None)
    if found is None:
        return None, 0
    return view.text(found.offset, "PT_INTERP", found.offset + found.size), found.offset


def _dynamic(view: Window, layout: Layout, segments: tuple[Segment, ...]) -> Dynamic:
    found = [s for s in segments if s.kind == PT_DYNAMIC]
    if not found:
        return Dynamic()
    if len(found) > 1 or layout.offset_of(found[0].address, found[0].size) != found[0].offset:
        # The loader goes by address, other readers by offset: a file where these differ says two things at once.
        raise FormatError("PT_DYNAMIC is not one table inside a loaded segment", offset=view.base + found[0].offset)
    return read_dynamic(view, layout, found[0].offset, found[0].size)


def _notes(view: Window, segments: tuple[Segment, ...]) -> tuple[Note, ...]:
    """The notes, in file order; a malformed one ends its segment, as no loader reads further."""
    notes: list[Note] = []
    for segment in segments:
        if segment.kind != PT_NOTE:
            continue
        at, end, step = segment.offset, segment.offset + segment.size, 8 if segment.alignment == 8 else 4
        while at + 12 <= end and len(notes) < _NOTE_LIMIT:
            owner_size, size, kind = view.unpack("III", at, "note")
            content = at + _rounded(12 + owner_size, step)
            if content + size > end:
                break
            owner = view.raw(at + 12, min(owner_size, 32), "note owner").rstrip(b"\0").decode("ascii", "replace")
            notes.append(Note(owner, kind, at, view.raw(content, min(size, 256), "note")))
            at = content + _rounded(size, step)
    return tuple(notes)


def _rounded(size: int, step: int) -> int:
    return (size + step - 1) // step * step
