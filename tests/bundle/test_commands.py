"""`imagekit bundle …` as a user runs it, in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagekit.bundle.create import Created
from imagekit.content import hash_file

pytestmark = pytest.mark.real
REF = "registry.example/team/app@"


def imagekit(
    *words: str | Path, cwd: Path, prefix: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("GNUPGHOME", "SOURCE_DATE_EPOCH")}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "imagekit", "bundle", *map(str, words)],
        cwd=cwd,
        env={**inherited, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def last(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.rstrip("\n").rpartition("\n")[2]


def test_create_then_verify(layout: Path, key: Any, trust_file: Path, tmp_path: Path) -> None:
    home = key.env["GNUPGHOME"]
    words = ["create", "-o", "out/release.tar", "--openpgp", f"0x{key.fingerprint}", f"oci:{layout}"]
    made = imagekit(*words, cwd=tmp_path, GNUPGHOME=home)
    assert made.returncode == 0, made.stderr
    digest, _ = hash_file(tmp_path / "out/release.tar")
    assert made.stdout == f"{digest[7:]}  out/release.tar\n"
    subprocess.run(["sha256sum", "-c"], input=made.stdout, cwd=tmp_path, text=True, check=True)
    assert "registry.example/team/app:1.0" in made.stderr
    done = imagekit("verify", "out/release.tar", "--trust", trust_file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{REF}sha256:")
    assert f"signed by {key.fingerprint}" in done.stderr


def test_verify_and_load_without_any_network(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    """A network namespace of its own has one interface, lo, and that is down: no route anywhere."""
    alone = ("unshare", "-n")
    done = imagekit("verify", bundle.path, "--trust", trust_file, cwd=tmp_path, prefix=alone)
    assert (done.returncode, done.stdout.count(REF)) == (0, 1), done.stderr
    done = imagekit("load", bundle.path, "--trust", trust_file, "--into", "oci:there", cwd=tmp_path, prefix=alone)
    assert (done.returncode, done.stdout) == (0, "oci:there:app\n"), done.stderr


def test_verify_needs_no_gpg_and_no_home(bundle: Created, trust_file: Path, tmp_path: Path) -> None:
    done = imagekit("verify", bundle.path, "--trust", trust_file, cwd=tmp_path, PATH="/nowhere", HOME="/nowhere")
    assert done.returncode == 0, done.stderr


def test_a_password_from_file_or_environment(layout: Path, key: Any, tmp_path: Path) -> None:
    locked = type(key)(tmp_path / "home", "locked@example.org")
    try:
        change = ["--pinentry-mode", "loopback", "--passphrase", "open sesame", "--quick-generate-key"]
        locked.gpg(*change, "second@example.org", "ed25519", "sign", "never")
        listed = locked.gpg("--list-keys", "--with-colons", "second@example.org").decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr:"))
        (tmp_path / "password").write_text("open sesame\nnot this line\n")
        words = ["create", "-o", "release.tar", "--openpgp", fingerprint, f"oci:{layout}"]
        home = {"GNUPGHOME": locked.env["GNUPGHOME"]}
        for given, env in (
            (["--password-file", "password"], {}),
            ([], {"IMAGEKIT_KEY_PASSWORD": "open sesame"}),
        ):
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=locked.env, check=True)
            done = imagekit(*words, *given, cwd=tmp_path, **home, **env)
            assert done.returncode == 0, done.stderr
            assert "sesame" not in done.stderr + done.stdout
            (tmp_path / "release.tar").unlink()
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=locked.env, check=True)
        done = imagekit(*words, cwd=tmp_path, **home, IMAGEKIT_KEY_PASSWORD="wrong")
        assert done.returncode == 3
        assert not (tmp_path / "release.tar").exists()
    finally:
        locked.close()


def test_every_refusal_has_its_exit_code(copied: Path, trust_file: Path, layout: Path, tmp_path: Path) -> None:
    def code(*words: str | Path) -> int:
        done = imagekit(*words, cwd=tmp_path)
        assert done.stdout == ""
        assert last(done).startswith(f"imagekit: exit {done.returncode}: ")
        return done.returncode

    trust = ("--trust", trust_file)
    for command in ("verify", "load"):
        assert code(command, copied) == 2
        assert code(command, copied, "--trust", "nothing.yaml") == 2
        assert code(command, "nothing.tar", *trust) == 5
        assert code(command, "/etc/hostname", *trust, "--volumes", copied.with_name("VOLUMES.sha256")) == 5
    (tmp_path / "strict.yaml").write_text("version: 1\n")
    assert code("verify", copied, *trust, "--policy", "strict.yaml") == 10
    copied.with_name("VOLUMES.sha256.asc").unlink()
    assert code("verify", copied, *trust) == 5
    assert code("create", "-o", "new/x.tar", "--openpgp", "release@example.org", f"oci:{layout}") == 2
    assert code("create", "-o", "new/x.tar", "--openpgp", "A" * 40, f"oci:{layout}") == 3
    assert code("create", "-o", "new/x.tar", "docker:app") == 2
    assert code("create", "-o", "new/x.tar", "oci:nothing") == 4
    assert code("create", "-o", "new/x.tar") == 2
    assert not (tmp_path / "new/x.tar").exists()


def test_source_date_epoch(layout: Path, tmp_path: Path) -> None:
    digests = []
    for epoch in ("0", "1", "0"):
        done = imagekit("create", "-o", f"{len(digests)}/r.tar", f"oci:{layout}", cwd=tmp_path, SOURCE_DATE_EPOCH=epoch)
        assert done.returncode == 0, done.stderr
        digests.append(done.stdout[:64])
    assert digests[0] == digests[2] != digests[1]
    done = imagekit("create", "-o", "r.tar", f"oci:{layout}", cwd=tmp_path, SOURCE_DATE_EPOCH="yesterday")
    assert done.returncode == 2


def test_umask_home_and_locale_do_not_matter(layout: Path, tmp_path: Path) -> None:
    digests = set()
    for umask, locale in (("022", "C"), ("077", "de_DE.UTF-8")):
        (tmp_path / umask).mkdir()
        script = ("sh", "-c", f'umask {umask}; exec "$@"', "sh")
        words = ["create", "-o", "release.tar", f"oci:{layout}"]
        done = imagekit(*words, cwd=tmp_path / umask, prefix=script, HOME=str(tmp_path / umask), LC_ALL=locale)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


def test_the_page_that_tells_it_is_true(bundle: Created, key: Any, tmp_path: Path) -> None:
    """The commands of docs/air-gap.md section 3, as they stand there, under dash."""
    page = (Path(__file__).parents[2] / "docs/air-gap.md").read_text()
    section = page.split("## 3.")[1].split("## 4.")[0]
    commands = "\n".join(block.split("```")[0] for block in section.split("```sh\n")[1:])
    for path in bundle.path.parent.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "release.gpg").write_bytes(key.gpg("--export", "--armor"))
    (tmp_path / "home").mkdir(mode=0o700)
    prepared = "gpg --dearmor < release.gpg > release.kbx\n"
    env = {**os.environ, "GNUPGHOME": str(tmp_path / "home")}
    script = f"set -eu\n{prepared}{commands}"
    done = subprocess.run(["dash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Good signature") == 3
    assert "release.tar: OK" in done.stdout
