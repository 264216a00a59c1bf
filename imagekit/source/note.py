"""Signed notes: a text and the lines that sign it (golang.org/x/mod/sumdb/note). Computes only.

The signature is Ed25519 over the text; a verifier key is written `name+hash+base64(0x01 || public key)`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Self

import msgspec

from imagekit.errors import IntegrityError, UsageError

_ED25519 = 1
_MAX_SIGNATURES = 100
_DASH = "— "


class VerifierKey(msgspec.Struct, frozen=True):
    """Whose signature is believed: `text` is the key as it was written."""

    name: str
    hash: bytes
    public: bytes
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name+hash+key`; raise `UsageError` if it is not one, or not Ed25519, or its hash is of another key."""
        name, _, rest = text.partition("+")
        hash_hex, _, key64 = rest.partition("+")
        key = _base64(key64)
        if not _is_name(name) or not re.fullmatch("[0-9a-f]{8}", hash_hex) or len(key) != 33 or key[0] != _ED25519:
            raise UsageError(f"{text!r} is not the verifier key of a checksum database", hint="name+hash+key, one word")
        if key_hash(name, key).hex() != hash_hex:
            raise UsageError(
                f"the verifier key {text!r} does not have the hash that stands in it", hint="copy it again"
            )
        return cls(name, bytes.fromhex(hash_hex), key[1:], text)


def key_hash(name: str, key: bytes) -> bytes:
    """The first four bytes of SHA-256 over name, newline, key (with its algorithm byte)."""
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]


def open_note(message: bytes, key: VerifierKey) -> str:
    """The text of the note, once `key` is known to have signed it.

    Raises `IntegrityError` if it is no note, if no signature is by `key`, or if the one that says so is not.
    """
    text, signatures = _split(message)
    mine = [signature for name, number, signature in signatures if (name, number) == (key.name, key.hash)]
    if not mine:
        raise IntegrityError(f"{key.name}: the signed tree head is not signed by the key {key.name}+{key.hash.hex()}")
    _verify(key, text.encode(), mine[0])
    return text


def _verify(key: VerifierKey, text: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text)
    except (InvalidSignature, ValueError) as error:
        raise IntegrityError(
            f"{key.name}: the signature of a tree head is not by the key {key.name}+{key.hash.hex()}",
            hint="somebody between here and the checksum database changed its answer; try another network or GOPROXY",
        ) from error


def _split(message: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text, and (name, key hash, signature) of each signature line."""
    try:
        decoded = message.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed() from None
    text, blank, block = decoded.rpartition("\n\n")
    if not blank or not block.endswith("\n") or any(c < " " and c != "\n" for c in decoded):
        raise _malformed()
    lines = block.removesuffix("\n").split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise _malformed()
    return text + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    signature = _base64(encoded)
    if not line.startswith(_DASH) or not _is_name(name) or len(signature) < 5:
        raise _malformed()
    return name, signature[:4], signature[4:]


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def _base64(text: str) -> bytes:
    """The bytes, empty if it is not strict base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _malformed() -> IntegrityError:
    return IntegrityError(
        "what the checksum database sent is not a signed note",
        hint="does a captive portal or a proxy answer in its place? Look at GOPROXY and GOSUMDB",
    )
