"""OpenPGP: detached signatures made by the user's own gpg, and the whole check of one (RFC 9580) without gpg.

Touches processes (gpg) in `sign_detached`, disk in `read_certificates` and the clock in `verify`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ConfigError, ImagekitError, IntegrityError, ToolError, UsageError
from imagekit.processes import run
from imagekit.text import line
from imagekit.unfinished import temporary_folder

if TYPE_CHECKING:
    from pysequoia import Cert
    from pysequoia.packet import Packet

MAX_SIGNATURE = 64 << 10
"""Bytes of an `.asc`: hundreds of RSA-4096 signatures."""
MAX_SIGNATURES = 16
MAX_CERTIFICATES = 4 << 20
"""Bytes of a root's file."""
_FINGERPRINT = re.compile(r"(?:0x)?([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})")


class Certificate(msgspec.Struct, frozen=True, order=True):
    """A public key with its subkeys, as the operator gave it; `fingerprint` of the primary key, upper-case hex."""

    fingerprint: str
    raw: bytes


class Signer(msgspec.Struct, frozen=True, order=True):
    """Whose signature was valid: the certificate, the key of it that signed, and the time it claims (epoch)."""

    certificate: str
    key: str
    created: int


def parse_fingerprint(text: str) -> str:
    """40 or 64 hex digits, upper-case; raise `UsageError` for key ids, names and addresses, which can be forged."""
    match = _FINGERPRINT.fullmatch(text.replace(" ", ""))
    if not match:
        raise UsageError(
            f"{text!r} is not an OpenPGP fingerprint",
            hint="give all 40 (or 64) hex digits that `gpg --list-secret-keys --with-colons` shows as fpr",
        )
    return match[1].upper()


# --- signing -----------------------------------------------------------------------------------------------------


def sign_detached(
    content: bytes,
    fingerprints: Sequence[str],
    *,
    env: Mapping[str, str],
    password: bytes | None = None,
    cancellation: Cancellation | None = None,
) -> bytes:
    """One armored detached signature packet for each fingerprint, made by gpg and checked as a verifier will.

    With `env` gpg finds the user's keyring, agent and terminal; `password` goes through a pipe, never argv. Raises
    `UsageError` for what is not a fingerprint, `ToolError` when gpg fails or makes what no verifier would believe.
    """
    wanted = [parse_fingerprint(text) for text in fingerprints]
    users = [word for fingerprint in wanted for word in ("--local-user", fingerprint)]
    options = ["--armor", "--no-textmode", "--no-comments", "--no-emit-version", "--digest-algo", "SHA512"]
    unlock = ["--pinentry-mode", "loopback", "--passphrase-fd", "0"] if password is not None else []
    with temporary_folder("imagekit-sign-") as folder:
        path = folder / "content"
        path.write_bytes(content)
        argv = [*options, *unlock, *users, "--output", "-", "--detach-sign", str(path)]
        signature = _gpg(argv, env, cancellation, b"" if password is None else password + b"\n")
    _check_own(content, signature, wanted, env, cancellation)
    return signature


def signing_environment(environ: Mapping[str, str], terminal: str = "") -> dict[str, str]:
    """The user's environment for gpg: plain English messages, the terminal to ask on, no password in it."""
    kept = {name: value for name, value in environ.items() if not name.startswith(("IMAGEKIT_", "LD_", "LC_", "LANG"))}
    return {**({"GPG_TTY": terminal} if terminal else {}), **kept, "LC_ALL": "C"}


def _gpg(argv: Sequence[str], env: Mapping[str, str], cancellation: Cancellation | None, stdin: bytes = b"") -> bytes:
    done = run(["gpg", "--batch", "--quiet", *argv], env=env, stdin=stdin, cancellation=cancellation)
    if done.returncode:
        said = line(" / ".join(done.stderr.decode("utf-8", "replace").split("\n")).strip(" /"))[-600:]
        raise ToolError(
            f"gpg ended with {done.returncode}: {said}",
            hint="see that `gpg --list-secret-keys` shows the key, and unlock it with --password-file or its agent",
        )
    return done.stdout


def _check_own(
    content: bytes, signature: bytes, wanted: list[str], env: Mapping[str, str], cancellation: Cancellation | None
) -> None:
    ours = _gpg(["--export", *wanted], env, cancellation)
    try:
        signers = verify(content, signature, parse_certificates(ours, "gpg --export"), name="what gpg just made")
    except ImagekitError as error:
        raise ToolError(f"no verifier would believe this key: {error.message}", hint=error.hint) from error
    missing = set(wanted) - {name for signer in signers for name in (signer.certificate, signer.key)}
    if missing:
        raise ToolError(f"gpg did not sign with {', '.join(sorted(missing))}", hint="is it a key that may sign?")


# --- certificates ------------------------------------------------------------------------------------------------


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """All public keys in a file (binary, armored, or armored blocks one after another).

    Raises `ConfigError` for a missing file, one without a key, one with secret keys in it.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_CERTIFICATES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="write the key there: gpg --export --armor FINGERPRINT"
        ) from error
    return parse_certificates(raw, str(path))


def parse_certificates(raw: bytes, name: str) -> tuple[Certificate, ...]:
    """The same from bytes; `name` is what an error calls them."""
    if len(raw) > MAX_CERTIFICATES:
        raise ConfigError(f"{name} has more than {MAX_CERTIFICATES} bytes", hint="export only the keys you trust")
    from pysequoia import Cert

    with _translated(lambda said: ConfigError(f"{name} is not an OpenPGP public key: {said}", hint=_EXPORT)):
        found = tuple(_certificate(cert, name) for cert in Cert.split_bytes(raw))
    if not found:
        raise ConfigError(f"{name} holds no OpenPGP public key", hint=_EXPORT)
    return found


_EXPORT = "write it with: gpg --export --armor FINGERPRINT"


def _certificate(cert: Cert, name: str) -> Certificate:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what shall take its place parses secret keys only
        secret = cert.has_secret_keys
    if secret:
        raise ConfigError(f"{name} holds a secret key", hint=f"take it away from there; {_EXPORT}")
    return Certificate(cert.fingerprint.upper(), bytes(cert))


# --- verifying ---------------------------------------------------------------------------------------------------


def verify(
    content: bytes,
    signature: bytes,
    certificates: Sequence[Certificate],
    *,
    name: str,
    at: datetime | None = None,
) -> tuple[Signer, ...]:
    """Everyone among `certificates` whose signature of `content` is valid; raise `IntegrityError` if nobody's is.

    `signature` holds one to 16 signature packets. Each must be over binary bytes (a text signature would pass
    changed line ends), with SHA-256 or stronger (RFC 9580 9.5), made by a key of a given certificate that neither is
    revoked nor has expired `at` that time (now if None), even if it had not when it signed: dates can be set back.
    """
    moment = at or datetime.now(UTC)
    refusals: list[str] = []
    signers: list[Signer] = []
    for packet in _signatures(signature, name):
        try:
            signers.append(_signer(content, packet, certificates, moment))
        except _Refusal as refusal:
            refusals.append(str(refusal))
    if not signers:
        raise IntegrityError(
            f"the signature of {name} is not valid: {'; '.join(refusals)}",
            hint="compare the fingerprint with your trust roots, and get the medium again from who made it",
        )
    return tuple(sorted(set(signers)))


class _Refusal(Exception):
    """Why one signature packet is not believed."""


def _signatures(signature: bytes, name: str) -> list[Packet]:
    from pysequoia.packet import Tag

    if len(signature) > MAX_SIGNATURE:
        raise IntegrityError(f"the signature of {name} has more than {MAX_SIGNATURE} bytes")
    with _translated(lambda said: IntegrityError(f"the signature of {name} is unreadable: {said}")):
        packets = _packets(signature)
    if not 0 < len(packets) <= MAX_SIGNATURES or any(packet.tag != Tag.Signature for packet in packets):
        raise IntegrityError(f"the signature of {name} is not 1 to {MAX_SIGNATURES} detached OpenPGP signatures")
    return packets


def _packets(raw: bytes) -> list[Packet]:
    from pysequoia.packet import PacketPile

    return list(PacketPile.from_bytes(raw))


def _signer(content: bytes, packet: Packet, certificates: Sequence[Certificate], moment: datetime) -> Signer:
    from pysequoia import Cert, Sig, verify
    from pysequoia.packet import HashAlgorithm, SignatureType

    issuer = (packet.issuer_fingerprint or packet.issuer_key_id or "an unnamed key").upper()
    if packet.signature_type != SignatureType.Binary:
        raise _Refusal(f"by {issuer}: {packet.signature_type} is not a signature of binary bytes")
    strong = (HashAlgorithm.SHA256, HashAlgorithm.SHA384, HashAlgorithm.SHA512)
    if packet.hash_algorithm not in (*strong, HashAlgorithm.SHA3_256, HashAlgorithm.SHA3_512):
        raise _Refusal(f"by {issuer}: {packet.hash_algorithm} is too weak")
    with _translated(lambda _: _Refusal(f"by {issuer}: no trusted key made it over these bytes")):
        trusted = {one.fingerprint.lower(): Cert.from_bytes(one.raw) for one in certificates}
        sig = Sig.from_bytes(bytes(packet))
        valid = verify(bytes=content, store=lambda _: list(trusted.values()), signature=sig).valid_sigs
        certificate, key = str(valid[0].certificate), str(valid[0].signing_key)
    if certificate not in trusted or sig.created is None:
        raise _Refusal(f"by {issuer}: no trusted key made it over these bytes")
    _check_alive(trusted[certificate], key, moment)
    return Signer(certificate.upper(), key.upper(), int(sig.created.timestamp()))


def _check_alive(cert: Cert, key: str, moment: datetime) -> None:
    """Neither certificate nor signing key is revoked or past its end; a root's own file says so."""
    if cert.is_revoked:
        raise _Refusal(f"{cert.fingerprint.upper()} is revoked")
    for subject, end, revoked in _lifetimes(cert):
        if subject in (key, cert.fingerprint) and revoked:
            raise _Refusal(f"{subject.upper()} is revoked")
        if subject in (key, cert.fingerprint) and end is not None and end <= moment:
            raise _Refusal(f"{subject.upper()} expired on {end:%Y-%m-%d}")


def _lifetimes(cert: Cert) -> Iterator[tuple[str, datetime | None, bool]]:
    """Each key of the certificate with its end, if it has one, and whether a revocation follows it."""
    from pysequoia.packet import SignatureType

    yield cert.fingerprint, cert.expiration, cert.is_revoked
    for key, following in _subkeys(cert):
        bindings = [packet for packet in following if packet.signature_type == SignatureType.SubkeyBinding]
        newest = max(bindings, key=_created, default=None)
        period = newest.key_validity_period if newest is not None else None
        end = key.key_created + period if key.key_created is not None and period else None
        revoked = any(packet.signature_type == SignatureType.SubkeyRevocation for packet in following)
        yield key.fingerprint or "", end, revoked


def _subkeys(cert: Cert) -> list[tuple[Packet, list[Packet]]]:
    from pysequoia.packet import Tag

    found: list[tuple[Packet, list[Packet]]] = []
    for packet in _packets(bytes(cert)):
        if packet.tag == Tag.PublicSubkey:
            found.append((packet, []))
        elif found:
            found[-1][1].append(packet)
    return found


def _created(packet: Packet) -> datetime:
    return packet.signature_created or datetime.fromtimestamp(0, UTC)


@contextmanager
def _translated(refuse: Callable[[str], Exception]) -> Iterator[None]:
    """Turn the library's exceptions (RuntimeError with a Rust backtrace, or a caught Rust panic) into ours."""
    try:
        yield
    except (ImagekitError, _Refusal):
        raise
    except Exception as error:
        raise refuse(line(str(error).split("\n")[0])) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise refuse("malformed packets") from error
