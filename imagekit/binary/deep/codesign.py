"""What a Mach-O code signature says of itself, from the bytes that lief hands over (xnu, cs_blobs.h)."""

from __future__ import annotations

import hashlib
import struct
from typing import BinaryIO

import msgspec

_SUPERBLOB, _DIRECTORY, _CMS_SLOT, _ENTITLEMENTS = 0xFADE0CC0, 0xFADE0C02, 0x10000, 5
_ADHOC, _RUNTIME, _LINKER_SIGNED = 0x2, 0x10000, 0x20000
_HASHES = {
    1: ("SHA-1", "sha1", 20),
    2: ("SHA-256", "sha256", 32),
    3: ("SHA-256/160", "sha256", 20),
    4: ("SHA-384", "sha384", 48),
}
_MOST_BLOBS, _EMPTY_CMS, _NAME = 64, 8, 1024


class CodeSignature(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` as in the facts' hardening; `certificates` is the size of the CMS signature in bytes."""

    kind: str
    identifier: str
    algorithm: str
    runtime: bool
    entitlements: bool
    certificates: int
    pages: str

    def __str__(self) -> str:
        words = [self.kind, f"identifier {self.identifier}", f"{self.algorithm}: {self.pages}"]
        words += ["hardened runtime"] if self.runtime else []
        words += ["entitlements"] if self.entitlements else []
        words += [f"CMS signature of {self.certificates} bytes"] if self.certificates else []
        return ", ".join(words)


def read(blob: bytes, code: BinaryIO, start: int) -> CodeSignature:
    """The strongest code directory of a SuperBlob, and whether the pages of the slice at `start` are what it says.

    Raises `ValueError` for damaged bytes.
    """
    try:
        return _read(blob, code, start)
    except (struct.error, IndexError) as error:
        raise ValueError(f"a damaged code signature: {error}") from error


def _read(blob: bytes, code: BinaryIO, start: int) -> CodeSignature:
    magic, _, count = struct.unpack_from(">III", blob)
    if magic != _SUPERBLOB or count > _MOST_BLOBS:
        raise ValueError("not a code signature")
    slots: dict[int, int] = dict(struct.iter_unpack(">II", blob[12 : 12 + 8 * count]))
    found = [at for slot, at in slots.items() if slot == 0 or 0x1000 <= slot < 0x1006]
    directories = [at for at in found if struct.unpack_from(">I", blob, at)[0] == _DIRECTORY]
    if not directories:
        raise ValueError("a code signature without a code directory")
    at = max(directories, key=lambda each: blob[each + 37])
    flags, _, name = struct.unpack_from(">III", blob, at + 12)
    cms = struct.unpack_from(">II", blob, slots[_CMS_SLOT])[1] - _EMPTY_CMS if _CMS_SLOT in slots else 0
    return CodeSignature(
        kind="linker-signed" if flags & _LINKER_SIGNED else "adhoc" if flags & _ADHOC else "certificate",
        identifier=blob[at + name : at + name + _NAME].partition(b"\0")[0].decode("utf-8", "backslashreplace"),
        algorithm=_HASHES[blob[at + 37]][0] if blob[at + 37] in _HASHES else "an unknown hash",
        runtime=bool(flags & _RUNTIME),
        entitlements=_ENTITLEMENTS in slots,
        certificates=max(cms, 0),
        pages=_pages(blob, at, code, start),
    )


def _pages(blob: bytes, at: int, code: BinaryIO, start: int) -> str:
    """The first page that is not what was signed, or that all are."""
    hashes, _, _, slots, limit, width, kind, _, shift = struct.unpack_from(">IIIIIBBBB", blob, at + 16)
    _, name, digits = _HASHES.get(kind, ("", "", 0))
    if not digits or width != digits or not 12 <= shift <= 16 or slots != -(-limit // (1 << shift)):
        return "its page hashes cannot be checked"
    code.seek(start)
    for number in range(slots):
        page = code.read(min(1 << shift, limit - (number << shift)))
        place = at + hashes + number * width
        if hashlib.new(name, page, usedforsecurity=False).digest()[:width] != blob[place : place + width]:
            return f"page {number} of {slots} is not what was signed"
    return f"all {slots} pages are what was signed"
