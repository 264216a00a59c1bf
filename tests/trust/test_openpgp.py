from __future__ import annotations

import base64
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from imagekit.errors import ConfigError, IntegrityError, ToolError, UsageError
from imagekit.trust import openpgp

pytestmark = pytest.mark.real
CONTENT = b"d2c7  release.tar\nand a second line\n"
Keyring = Any


def trusted(keyring: Keyring, *fingerprints: str) -> tuple[openpgp.Certificate, ...]:
    return openpgp.parse_certificates(keyring.export(*fingerprints), "test")


def verify(keyring: Keyring, signature: bytes, *roots: str, content: bytes = CONTENT) -> tuple[openpgp.Signer, ...]:
    return openpgp.verify(content, signature, trusted(keyring, *roots), name="the list")


def test_what_is_signed_here_verifies_here_and_with_gpg(
    keyring: Keyring, release: str, second: str, tmp_path: Path
) -> None:
    signature = openpgp.sign_detached(CONTENT, [f"0x{release.lower()}", second], env=keyring.env)
    assert {one.certificate for one in verify(keyring, signature, release, second)} == {release, second}
    (tmp_path / "list").write_bytes(CONTENT)
    (tmp_path / "list.asc").write_bytes(signature)
    assert b"Good signature" in keyring.run("--verify", tmp_path / "list.asc", tmp_path / "list").stderr


def test_one_trusted_signature_of_two_is_enough(keyring: Keyring, release: str, second: str) -> None:
    signature = keyring.sign(CONTENT, second, release)
    assert [one.certificate for one in verify(keyring, signature, release)] == [release]


def test_a_signature_by_a_stranger(keyring: Keyring, release: str, second: str) -> None:
    with pytest.raises(IntegrityError, match=f"by {second}: no trusted key") as raised:
        verify(keyring, keyring.sign(CONTENT, second), release)
    assert raised.value.exit_code == 5


def test_a_signature_of_other_bytes(keyring: Keyring, release: str) -> None:
    signature = keyring.sign(CONTENT, release)
    for other in (CONTENT + b"\n", CONTENT[:-1], CONTENT.replace(b"\n", b"\r\n"), b""):
        with pytest.raises(IntegrityError, match="not valid"):
            verify(keyring, signature, release, content=other)


def test_a_text_signature_is_refused_because_it_lets_line_ends_change(keyring: Keyring, release: str) -> None:
    signature = keyring.sign(CONTENT, release, options=("--textmode",))
    with pytest.raises(IntegrityError, match="not a signature of binary bytes"):
        verify(keyring, signature, release)


def test_a_weak_hash_is_refused(keyring: Keyring, second: str) -> None:
    signature = keyring.sign(CONTENT, second, options=("--digest-algo", "SHA1"))
    with pytest.raises(IntegrityError, match="too weak"):
        verify(keyring, signature, second)


def test_a_short_rsa_key_is_refused(keyring: Keyring) -> None:
    weak = keyring.make("weak", "rsa1024")
    with pytest.raises(IntegrityError, match="no trusted key"):
        verify(keyring, keyring.sign(CONTENT, weak), weak)


def test_a_signature_from_the_future_is_refused(keyring: Keyring, release: str) -> None:
    signature = keyring.sign(CONTENT, release, options=("--faked-system-time", "20990101T000000"))
    with pytest.raises(IntegrityError):
        verify(keyring, signature, release)


def test_an_expired_key_is_refused_though_it_signed_in_time(keyring: Keyring) -> None:
    old = keyring.make("old", expire="1y", at="20200101T000000")
    signature = keyring.sign(CONTENT, old, options=("--faked-system-time", "20200601T000000"))
    with pytest.raises(IntegrityError, match=f"{old} expired on 2020-12-31"):
        verify(keyring, signature, old)


def test_an_expired_subkey_is_refused(keyring: Keyring) -> None:
    primary = keyring.make("subkey", at="20200101T000000")
    unlock = ("--pinentry-mode", "loopback", "--passphrase", "")
    clock = ("--faked-system-time", "20200102T000000")
    keyring.run(*clock, *unlock, "--quick-add-key", primary, "ed25519", "sign", "1y")
    subkey = keyring.fingerprints("subkey")[1]
    signature = keyring.sign(CONTENT, f"{subkey}!", options=("--faked-system-time", "20200601T000000"))
    with pytest.raises(IntegrityError, match=f"{subkey} expired"):
        verify(keyring, signature, primary)


def test_a_signing_subkey_speaks_for_its_certificate(keyring: Keyring) -> None:
    primary = keyring.make("withsub")
    keyring.run(
        "--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-key", primary, "ed25519", "sign", "never"
    )
    subkey = keyring.fingerprints("withsub")[1]
    signer = verify(keyring, openpgp.sign_detached(CONTENT, [subkey], env=keyring.env), primary)[0]
    assert (signer.certificate, signer.key) == (primary, subkey)


@pytest.mark.parametrize("reason", ["0", "1", "3"], ids=["no reason", "compromised", "no longer used"])
def test_a_revoked_key_is_refused_though_it_signed_before(keyring: Keyring, reason: str) -> None:
    name = f"revoked{reason}"
    gone = keyring.make(name, at="20240101T000000")
    signature = keyring.sign(CONTENT, gone, options=("--faked-system-time", "20240601T000000"))
    assert verify(keyring, signature, gone)
    answers = f"y\n{reason}\n\ny\n".encode()
    made = keyring.run("--no-batch", "--command-fd", "0", "--gen-revoke", gone, stdin=answers).stdout
    keyring.run("--import", stdin=made)
    with pytest.raises(IntegrityError, match=r"revoked|no trusted key"):
        verify(keyring, signature, gone)


def test_a_revoked_subkey_is_refused(keyring: Keyring) -> None:
    primary = keyring.make("subgone", at="20240101T000000")
    unlock = ("--pinentry-mode", "loopback", "--passphrase", "")
    keyring.run(
        "--faked-system-time", "20240101T000001", *unlock, "--quick-add-key", primary, "ed25519", "sign", "never"
    )
    subkey = keyring.fingerprints("subgone")[1]
    signature = keyring.sign(CONTENT, f"{subkey}!", options=("--faked-system-time", "20240601T000000"))
    assert verify(keyring, signature, primary)
    answers = b"key 1\nrevkey\ny\n3\n\ny\nsave\n"
    keyring.run("--no-batch", "--command-fd", "0", "--edit-key", primary, stdin=answers)
    with pytest.raises(IntegrityError, match=r"revoked|no trusted key"):
        verify(keyring, signature, primary)


def test_every_flipped_byte_of_a_signature_is_refused_or_changes_nothing(keyring: Keyring, release: str) -> None:
    signature = keyring.sign(CONTENT, release)
    believed = verify(keyring, signature, release)
    for position in range(len(signature)):
        flipped = bytearray(signature)
        flipped[position] ^= 1 << position % 8
        try:
            assert verify(keyring, bytes(flipped), release) == believed
        except IntegrityError:
            continue


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\n",
        b"garbage",
        b"\xff" * 100,
        b"-----BEGIN PGP SIGNATURE-----\n\n",
        b"-----BEGIN PGP SIGNATURE-----\n\n=====\n-----END PGP SIGNATURE-----\n",
        bytes(openpgp.MAX_SIGNATURE + 1),
    ],
    ids=["empty", "newline", "text", "bytes", "cut", "no packets", "huge"],
)
def test_what_is_no_signature(keyring: Keyring, release: str, signature: bytes) -> None:
    with pytest.raises(IntegrityError, match="the list"):
        verify(keyring, signature, release)


def test_too_many_signatures(keyring: Keyring, release: str) -> None:
    packet = base64.b64decode("".join(keyring.sign(CONTENT, release).decode().splitlines()[2:-2]))
    assert verify(keyring, packet * openpgp.MAX_SIGNATURES, release)
    with pytest.raises(IntegrityError, match="1 to 16"):
        verify(keyring, packet * (openpgp.MAX_SIGNATURES + 1), release)


def test_a_public_key_is_no_signature(keyring: Keyring, release: str) -> None:
    with pytest.raises(IntegrityError, match="1 to 16 detached"):
        verify(keyring, keyring.export(release), release)


@pytest.mark.parametrize(
    "text",
    ["", "release@example.org", "DEADBEEF", "0x0123456789ABCDEF", "--homedir=/tmp", "g" * 40, "a" * 41],
)
def test_only_whole_fingerprints_name_a_key(text: str) -> None:
    with pytest.raises(UsageError, match="not an OpenPGP fingerprint") as raised:
        openpgp.parse_fingerprint(text)
    assert raised.value.exit_code == 2


def test_a_password_goes_through_a_pipe_and_never_through_argv(keyring: Keyring, tmp_path: Path) -> None:
    locked = keyring.make("locked", password="correct horse")
    (tmp_path / "gpg").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/argv\nexec {shutil.which("gpg")} "$@"\n')
    (tmp_path / "gpg").chmod(stat.S_IRWXU)
    env = {**keyring.env, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    signature = openpgp.sign_detached(CONTENT, [locked], env=env, password=b"correct horse")
    assert verify(keyring, signature, locked)
    seen = (tmp_path / "argv").read_text()
    assert "--passphrase-fd 0" in seen
    assert "horse" not in seen


def test_a_wrong_password_is_the_tools_failure(keyring: Keyring) -> None:
    locked = keyring.make("locked2", password="right")
    with pytest.raises(ToolError, match="gpg ended with 2") as raised:
        openpgp.sign_detached(CONTENT, [locked], env=keyring.env, password=b"wrong")
    assert raised.value.exit_code == 3


def test_a_key_that_gpg_does_not_have(keyring: Keyring) -> None:
    with pytest.raises(ToolError, match="No secret key"):
        openpgp.sign_detached(CONTENT, ["A" * 40], env=keyring.env)


def test_a_key_that_no_verifier_would_believe_is_not_signed_with(keyring: Keyring) -> None:
    weak = keyring.make("weaker", "rsa1024")
    with pytest.raises(ToolError, match="no verifier would believe"):
        openpgp.sign_detached(CONTENT, [weak], env=keyring.env)


def test_the_environment_for_gpg_holds_no_password() -> None:
    given = {"HOME": "/h", "IMAGEKIT_KEY_PASSWORD": "x", "LC_ALL": "de_DE", "LD_PRELOAD": "evil.so"}
    assert openpgp.signing_environment(given, "/dev/pts/3") == {"HOME": "/h", "LC_ALL": "C", "GPG_TTY": "/dev/pts/3"}


def test_a_roots_file_may_hold_several_keys_in_any_form(keyring: Keyring, release: str, second: str) -> None:
    armored = b"".join(keyring.run("--armor", "--export", one).stdout for one in (release, second))
    binary = keyring.export(release) + keyring.export(second)
    for raw in (armored, binary):
        assert {one.fingerprint for one in openpgp.parse_certificates(raw, "x")} == {release, second}


def test_a_roots_file_with_a_secret_key_is_refused(keyring: Keyring, release: str) -> None:
    secret = keyring.run("--pinentry-mode", "loopback", "--passphrase", "", "--export-secret-keys", release).stdout
    with pytest.raises(ConfigError, match="secret key"):
        openpgp.parse_certificates(secret, "release.gpg")


@pytest.mark.parametrize("raw", [b"", b"hello", bytes(1 << 10), b"\xff" * 99], ids=["empty", "text", "zeros", "ones"])
def test_a_roots_file_without_a_key(raw: bytes) -> None:
    with pytest.raises(ConfigError, match=r"release\.gpg"):
        openpgp.parse_certificates(raw, "release.gpg")


def test_a_missing_roots_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as raised:
        openpgp.read_certificates(tmp_path / "release.gpg")
    assert "gpg --export" in raised.value.hint
