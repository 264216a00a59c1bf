"""Keys made by the real gpg in a home of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class Keyring:
    """A GNUPGHOME; `run` is gpg in it."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self.env = {**os.environ, "GNUPGHOME": str(home), "LC_ALL": "C"}
        self.home = home

    def run(self, *words: str | Path, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        argv = ["gpg", "--batch", "--no-tty", "--yes", "--quiet", *map(str, words)]
        done = subprocess.run(argv, env=self.env, input=stdin, capture_output=True, check=False)
        assert not check or done.returncode == 0, done.stderr.decode()
        return done

    def make(
        self, name: str, algorithm: str = "ed25519", *, expire: str = "never", at: str = "", password: str = ""
    ) -> str:
        """A new key that signs; its fingerprint."""
        clock = ("--faked-system-time", at) if at else ()
        unlock = ("--pinentry-mode", "loopback", "--passphrase", password)
        self.run(*clock, *unlock, "--quick-generate-key", f"{name} <{name}@example.org>", algorithm, "sign", expire)
        return self.fingerprints(name)[0]

    def fingerprints(self, name: str) -> list[str]:
        """The primary key's, then its subkeys'."""
        listed = self.run("--list-keys", "--with-colons", f"{name}@example.org").stdout.decode()
        return [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]

    def export(self, *fingerprints: str) -> bytes:
        return self.run("--export", *fingerprints).stdout

    def sign(self, content: bytes, *fingerprints: str, options: tuple[str, ...] = ()) -> bytes:
        users = [word for fingerprint in fingerprints for word in ("--local-user", fingerprint)]
        return self.run("--armor", *options, *users, "--output", "-", "--detach-sign", stdin=content).stdout

    def close(self) -> None:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=self.env, check=True)


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyring]:
    """Keys `release` (ed25519) and `second` (RSA) are in it; tests may make more."""
    ring = Keyring(tmp_path_factory.mktemp("gpg") / "home")
    ring.make("release")
    ring.make("second", "rsa2048")
    yield ring
    ring.close()


@pytest.fixture(scope="session")
def release(keyring: Keyring) -> str:
    return keyring.fingerprints("release")[0]


@pytest.fixture(scope="session")
def second(keyring: Keyring) -> str:
    return keyring.fingerprints("second")[0]
