"""The text of a document, read once and bounded. Touches disk."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from imagekit.errors import ConfigError

LARGEST = 1 << 20
"""Bytes that a document may have."""

_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


class Source(msgspec.Struct, frozen=True):
    """A document's name, as people call it, and its text."""

    name: str
    text: str

    def line(self, number: int) -> str:
        """The line (from 0), without its end; YAML ends lines at NEL, LS and PS too."""
        lines = _BREAK.split(self.text)
        return lines[number] if number < len(lines) else ""

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 0, of a character."""
        before = _BREAK.split(self.text[:offset])
        return len(before) - 1, len(before[-1])


def read_source(path_or_bytes: Path | bytes, name: str) -> Source:
    """The document's text; raise `ConfigError` if it cannot be read, is larger than 1 MiB or is not UTF-8."""
    if isinstance(path_or_bytes, Path):
        name = name or str(path_or_bytes)
        content = _read(path_or_bytes, name)
    else:
        name, content = name or "document", path_or_bytes
    if len(content) > LARGEST:
        raise ConfigError(f"{name}: larger than 1 MiB", hint="split what it describes into several files")
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: byte {error.start} is not UTF-8", hint="save the file as UTF-8") from error


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}", hint="name a file that can be read") from error
