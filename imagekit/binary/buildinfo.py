"""Go's build info inside a program (debug/buildinfo, runtime/debug/mod.go). Reads a Window, judges nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from imagekit.binary.facts import GoBuild, GoModule
from imagekit.binary.layout import Layout
from imagekit.binary.window import Window, readable
from imagekit.errors import FormatError

MAGIC = b"\xff Go buildinf:"
_MAGIC = re.compile(re.escape(MAGIC))
SECTIONS = (".go.buildinfo", "__go_buildinfo")
_ALIGNMENT = 16
_HEADER = 32
_INLINE, _BIG_ENDIAN = 2, 1
_CANDIDATES = 16
"""Places with the magic that are tried; programs that read build info hold it twice."""
_VERSION_LIMIT, _MODULES_LIMIT = 1 << 12, 1 << 20
_MODULE_LIMIT = 1 << 14
_ESCAPES = dict(zip("abfnrtv\\\"'", (bytes([c]) for c in b"\a\b\f\n\r\t\v\\\"'"), strict=True))
_ESCAPE = re.compile(rb"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)


def read(view: Window, layout: Layout) -> tuple[GoBuild, int] | None:
    """The build info and its offset in the window: from its own section, else from writable data.

    What cannot be decoded is passed over and the search goes on; None if nothing can be.
    """
    for at in islice(_places(view, layout), _CANDIDATES):
        found = decode(view, layout, at)
        if found is not None:
            return found, at
    return None


def read_flat(view: Window) -> tuple[GoBuild, int] | None:
    """The same for formats whose sections imagekit does not read (XCOFF, a.out): the whole file is searched."""
    at = tried = 0
    while (at := view.find(MAGIC, at)) >= 0 and (tried := tried + 1) <= _CANDIDATES:
        found = decode(view, Layout(8, ()), at)
        if found is not None:
            return found, at
        at += 1
    return None


def _places(view: Window, layout: Layout) -> Iterator[int]:
    """Offsets of the magic that are multiples of 16, as their addresses are: segments begin at whole pages."""
    named = layout.section(*SECTIONS)
    spans = [(named.offset, named.offset + named.size)] if named is not None else []
    for start, end in spans + layout.spans(lambda segment: segment.writable):
        yield from (at for at, _ in view.matches(_MAGIC, start, end) if not at % _ALIGNMENT)


def decode(view: Window, layout: Layout, at: int) -> GoBuild | None:
    """The build info whose header is at this offset; None if it is none."""
    try:
        pointer, flags = view.unpack("BB", at + len(MAGIC), "build info header")
        if flags & _INLINE:
            version, after = _inline(view, at + _HEADER, _VERSION_LIMIT)
            modules, _ = _inline(view, after, _MODULES_LIMIT)
        else:
            version, modules = _by_pointers(view.ordered(">" if flags & _BIG_ENDIAN else "<"), layout, at, pointer)
        return parse(readable(version), readable(_framed(modules))) if version else None
    except (FormatError, ValueError):
        return None


def _inline(view: Window, at: int, limit: int) -> tuple[bytes, int]:
    """A string after its length as uvarint, and where it ends (Go 1.18 and later)."""
    length = shift = 0
    for _ in range(10):
        byte = view.number(1, at, "string length")
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if length > limit:
        raise FormatError(f"a build info string of {length} bytes", offset=view.base + at)
    return view.raw(at, length, "build info string"), at + length


def _by_pointers(view: Window, layout: Layout, at: int, pointer: int) -> tuple[bytes, bytes]:
    """The two Go strings that the header points to (before Go 1.18)."""
    if pointer not in (4, 8):
        raise FormatError(f"pointers of {pointer} bytes", offset=view.base + at)
    version, modules = view.unpack("QQ" if pointer == 8 else "II", at + 16, "build info header")
    return _go_string(view, layout, version, pointer, _VERSION_LIMIT), _go_string(
        view, layout, modules, pointer, _MODULES_LIMIT
    )


def _go_string(view: Window, layout: Layout, address: int, pointer: int, limit: int) -> bytes:
    header = layout.offset_of(address, 2 * pointer) if address else None
    if header is None:
        return b""
    start, length = view.unpack("QQ" if pointer == 8 else "II", header, "Go string")
    content = layout.offset_of(start, length) if length and length <= limit else None
    return b"" if content is None else view.raw(content, length, "Go string")


def _framed(modules: bytes) -> bytes:
    """The lines between the two 16-byte sentinels; nothing if they are not there."""
    return modules[16:-16] if len(modules) >= 33 and modules[-17:-16] == b"\n" else b""


def parse(version: str, text: str) -> GoBuild:
    """The lines `path`, `mod`, `dep`, `=>` and `build`; raise `ValueError` for one that Go itself would refuse."""
    path, main = "", -1
    modules: list[GoModule] = []
    settings: dict[str, str] = {}
    for line in text.split("\n"):
        kind, _, rest = line.partition("\t")
        if kind == "path":
            path = rest
        elif kind in ("mod", "dep"):
            if len(modules) == _MODULE_LIMIT:
                raise ValueError("too many modules")
            main = len(modules) if kind == "mod" else main
            modules.append(_module(rest))
        elif kind == "=>":
            if not modules:
                raise ValueError("a replacement of nothing")
            modules[-1] = GoModule(modules[-1].path, modules[-1].version, modules[-1].sum, _module(rest))
        elif kind == "build":
            key, value = _setting(rest)
            settings[key] = value
    deps = tuple(m for index, m in enumerate(modules) if index != main)
    return GoBuild(version, path, modules[main] if main >= 0 else None, deps, settings)


def _module(columns: str) -> GoModule:
    path, version, *rest = columns.split("\t")
    return GoModule(path, version, rest[0] if rest else "")


def _setting(text: str) -> tuple[str, str]:
    """`key=value`, either of them as a quoted Go string if need be."""
    if text[:1] in ('"', "`"):
        end = _quote_end(text)
        key, rest = _unquoted(text[:end]), text[end:]
    else:
        cut = text.index("=")
        key, rest = text[:cut], text[cut:]
    if not key or rest[:1] != "=":
        raise ValueError(text)
    value = rest[1:]
    return key, _unquoted(value) if value[:1] in ('"', "`") else value


def _quote_end(text: str) -> int:
    """The index after the closing quote."""
    if text[0] == "`":
        return text.index("`", 1) + 1
    match = re.match(r'"(?:[^"\\]|\\.)*"', text)
    if match is None:
        raise ValueError(text)
    return match.end()


def _unquoted(text: str) -> str:
    """strconv.Unquote for the quotes that build info uses."""
    if len(text) < 2 or _quote_end(text) != len(text):
        raise ValueError(text)
    return text[1:-1] if text[0] == "`" else readable(_ESCAPE.sub(_escape, text[1:-1].encode()))


def _escape(match: re.Match[bytes]) -> bytes:
    """`\\x` and octal name a byte, `\\u` a character, a letter one of Go's own."""
    body = match[0][1:].decode()
    if body[0] in "uU" and len(body) > 1:
        return chr(min(int(body[1:], 16), 0x110000)).encode()
    if len(body) == 3:
        return bytes([int(body[1:], 16) if body[0] == "x" else int(body, 8)])
    if body not in _ESCAPES:
        raise ValueError(body)
    return _ESCAPES[body]
