"""What differing bytes mean: a build id, a VCS stamp, a time, a path, a version, a signature. Computes only."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from imagekit.audit.comparing.difference import Change
from imagekit.audit.comparing.spots import Around, Differing
from imagekit.binary.formats import Program
from imagekit.binary.pe import Pe

_BY_NAME = (
    ("Go's build id, a hash of all that the build was made of", (".note.go.buildid", "Go build id")),
    ("the linker's build id, a hash of the program", (".note.gnu.build-id", "LC_UUID")),
    ("the signature, a hash of each page: it differs when anything does", ("code signature", "Authenticode")),
    ("symbols, which no start needs", (".symtab", ".strtab", "symbol table", "symbol names", "COFF symbols")),
    ("debug information", (".debug_", ".zdebug_", "__debug_", "__zdebug_")),
    ("machine code, or the addresses in it", (".text", "__text")),
    ("names of functions", ("Go function names",)),
    ("which file each piece of code is from", ("Go compile units", "Go line tables")),
    ("addresses of functions and of what belongs to each", ("Go functions",)),
    ("where the parts stand in the file", ("ELF header", "program headers", "section headers", "section table")),
    ("where the parts stand in the file", ("Mach-O header", "LC_SEGMENT", "LC_SYMTAB", "LC_DYSYMTAB")),
    ("where the signature stands", ("LC_CODE_SIGNATURE",)),
)
"""Parts whose name says it all, by how it begins."""
_ELSE = (
    ("where the tables of Go's function table stand", (".gopclntab", ".data.rel.ro.gopclntab", "__gopclntab")),
    ("how to unwind the code", (".eh_frame", "__unwind", "__eh_frame", ".pdata", ".xdata")),
    ("the file that has the debug information", (".gnu_debuglink", ".gnu_debugaltlink")),
    ("the C compilers that were at work", (".comment",)),
    ("constants, or addresses of what stands elsewhere now", (".rodata", ".rdata", "__rodata", "__cstring")),
    ("initial values, or addresses of what stands elsewhere now", (".data", "__data", ".noptrdata", "__noptrdata")),
    ("addresses of what stands elsewhere now", (".go.", ".itablink", ".typelink", ".rel", ".got", ".plt", ".dyn")),
    ("addresses of what stands elsewhere now", ("__go_", "__itablink", "__typelink", "__got", "__stubs", ".reloc")),
)
"""What the other parts hold, where the text in them tells nothing."""
_GAP, _FILES = "after ", "Go file names"
_PATTERNS = (
    ("Go's build id", re.compile(r"[\w-]{20}/[\w-]{20}(/[\w-]{20}){0,2}")),
    ("a time", re.compile(r"\d{4}-\d\d-\d\d(?:[T _-]?\d\d:?\d\d(?::?\d\d)?(?:Z|[+-]\d\d:?\d\d)?)?")),
    ("a time", re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .{5,6}.{4,24}\d\d:\d\d:\d\d[^\"]{0,14}")),
    ("a time in seconds", re.compile(r"(?<!\d)1[0-9]{9}(?!\d)")),
    ("a commit or a digest", re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{7,12})(?![0-9a-f])")),
    ("a path of the machine that built it", re.compile(r"(?:/[\w.@+~-]+){2,}|[A-Z]:\\[\w.\\ @+~-]+")),
    ("a version", re.compile(r"v?\d+\.\d+(?:\.\d+)?(?:[-+][\w.+-]+)?")),
)
"""The most telling first; a pattern counts if it holds the first byte that differs, on both sides."""
_TIMESTAMP, _CHECKSUM = 8, 64


def meaning(found: Differing, program: Program, other: Program, said: Sequence[Change]) -> str:
    """Why the bytes of one part may differ; `said` is what differs in the build info. '' where nothing tells it."""
    if isinstance(program, Pe) and isinstance(other, Pe) and (told := _pe(found, program, other)):
        return told
    name = found.spot.where
    if name in (".go.buildinfo", "__go_buildinfo"):
        return "Go's build info: " + (_names(said) or "where its strings stand")
    if name.startswith(_GAP):
        return "padding" if _zero(found) else "bytes that no header describes"
    if name == _FILES and found.one and found.other:
        return f"the path of a source file: {_quoted(found.one)} against {_quoted(found.other)}"
    return _named(name, _BY_NAME) or _text(found, said) or _named(name, _ELSE)


def _quoted(around: Around) -> str:
    return around.text() or "nothing"


def _zero(found: Differing) -> bool:
    return not any(around.raw[around.at :].strip(b"\0") for around in (found.one, found.other) if around)


def _named(name: str, table: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    return next((words for words, starts in table if name.startswith(starts)), "")


def _names(said: Sequence[Change]) -> str:
    """`vcs.time, vcs.revision and 3 more`."""
    names = [change.name for change in said]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _pe(found: Differing, program: Pe, other: Pe) -> str:
    if found.spot.where == "COFF header" and program.timestamp != other.timestamp:
        return f"the time of the link (TimeDateStamp): {_moment(program.timestamp)} against {_moment(other.timestamp)}"
    if found.spot.where == "optional header" and found.one:
        if found.one.offset - program.view.base == program.header + 24 + _CHECKSUM:
            return "the file's checksum, which differs when anything does"
        return "sizes and addresses of the parts"
    return ""


def _moment(seconds: int) -> str:
    """A 32-bit time in UTC; 0 is what reproducible linkers write."""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S}" if seconds else "none"


def _text(found: Differing, said: Sequence[Change]) -> str:
    """What the text is in which the first byte differs; that of a build setting is called by its name."""
    if found.one is None or found.other is None:
        return ""
    texts = (found.one.text(), found.other.text())
    setting = next((c.name for c in said if any(text.startswith(f"{c.name}=") for text in texts)), "")
    if setting:
        return f"Go's build info: {setting}"
    for word, pattern in _PATTERNS:
        left, right = _match(pattern, found.one), _match(pattern, found.other)
        if left and right and left != right:
            stamp = next((c.name for c in said if c.one and c.other and left in c.one and right in c.other), "")
            return f"{f'{stamp}, ' if stamp else ''}{word}: {left} against {right}"
    return ""


def _match(pattern: re.Pattern[str], around: Around) -> str:
    text = around.raw.decode("latin-1")
    return next((m[0] for m in pattern.finditer(text) if m.start() <= around.at < m.end()), "")
