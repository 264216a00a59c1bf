"""The code signature of a Mach-O slice: who signed, and whether each page is still what was signed (xnu cs_blobs.h)."""

from __future__ import annotations

import hashlib

import msgspec

from imagekit.binary.window import Window
from imagekit.errors import FormatError

_SUPERBLOB, _DIRECTORY = 0xFADE0CC0, 0xFADE0C02
_ADHOC, _RUNTIME, _LINKER_SIGNED = 0x2, 0x10000, 0x20000
_HASHES = {1: ("sha1", 20), 2: ("sha256", 32), 3: ("sha256", 20), 4: ("sha384", 48)}
_BLOB_LIMIT = 64


class Signature(msgspec.Struct, frozen=True):
    """`kind` is `linker-signed`, `adhoc` or `certificate`; `fault` says what macOS would kill the program for."""

    kind: str
    fault: str = ""
    offset: int = 0
    """Of the fault, else of the code directory."""
    hardened: bool = False
    """Whether the hardened runtime is asked for (CS_RUNTIME), which notarization needs."""


def check(view: Window, offset: int, size: int) -> Signature:
    """Read the strongest code directory and hash every page that it covers; raise `FormatError` if it is damaged."""
    blob = view.part(offset, size, "code signature").ordered(">")
    magic, _, count = blob.unpack("III", 0, "code signature")
    if magic != _SUPERBLOB or count > _BLOB_LIMIT:
        raise FormatError("not a code signature", offset=blob.base)
    rows = blob.rows("II", 12, count, "code signature index")
    found = [at for kind, at in rows if kind == 0 or 0x1000 <= kind < 0x1006]
    directories = [at for at in found if blob.number(4, at, "code directory") == _DIRECTORY]
    if not directories:
        raise FormatError("a code signature without a code directory", offset=blob.base)
    strongest = max(directories, key=lambda at: blob.number(1, at + 37, "hash type"))
    return _check_pages(view, blob, strongest, offset)


def _check_pages(view: Window, blob: Window, at: int, signature: int) -> Signature:
    fields = blob.unpack("IIIIIIIIIBBBB", at, "code directory")
    _, _, _, flags, hashes, _, _, slots, limit, width, algorithm, _, shift = fields
    kind = "linker-signed" if flags & _LINKER_SIGNED else "adhoc" if flags & _ADHOC else "certificate"
    hardened = bool(flags & _RUNTIME)
    name, expected_width = _HASHES.get(algorithm, ("", 0))
    if not name or width != expected_width or not 12 <= shift <= 16:
        raise FormatError("the code directory's hash or page size is not known", offset=blob.base + at)
    if limit != signature or slots != -(-limit // (1 << shift)):
        # Whatever is not covered could be changed unseen; linkers cover all that stands before the signature.
        return Signature(kind, f"{slots} page hashes for {limit} of {signature} bytes", blob.base + at, hardened)
    stored = memoryview(blob.raw(at + hashes, slots * width, "page hashes"))
    page = _first_changed(view, name, 1 << shift, limit, stored, width)
    if page is None:
        return Signature(kind, offset=blob.base + at, hardened=hardened)
    return Signature(kind, f"page {page >> shift} is not what was signed", page, hardened)


def _first_changed(view: Window, name: str, page: int, limit: int, stored: memoryview, width: int) -> int | None:
    """Offset of the first page whose hash differs, from the start of the file; None if all agree."""
    digest = getattr(hashlib, name)
    with memoryview(view.buffer) as whole, whole[view.base : view.base + limit] as code:
        for index, start in enumerate(range(0, limit, page)):
            with code[start : start + page] as piece:
                if digest(piece, usedforsecurity=False).digest()[:width] != stored[index * width : (index + 1) * width]:
                    return view.base + start
    return None
