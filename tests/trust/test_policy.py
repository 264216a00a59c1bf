from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagekit.errors import ConfigError, IntegrityError
from imagekit.trust import policy
from imagekit.trust.policy import TrustPolicy

Keyring = Any
LIST = b"0000  release.tar\n"


def write(folder: Path, keyring: Keyring, require: str, **roots: str) -> Path:
    """A trust.yaml with these roots; their keys lie in files beside it."""
    for name, fingerprint in roots.items():
        (folder / f"{name}.gpg").write_bytes(keyring.export(fingerprint))
    named = ", ".join(f"{name}: {name}.gpg" for name in roots)
    (folder / "trust.yaml").write_text(f"version: 1\nroots:\n  openpgp: {{{named}}}\nrequire:\n{require}")
    return folder / "trust.yaml"


def check(trust: TrustPolicy, signature: bytes) -> None:
    assert trust.bundle is not None
    policy.check(trust.bundle, trust, LIST, signature, name="VOLUMES.sha256")


def test_paths_are_relative_to_the_file(keyring: Keyring, release: str, tmp_path: Path) -> None:
    trust = policy.load(write(tmp_path, keyring, "  bundle: {all: [openpgp.release]}\n", release=release))
    assert [one.fingerprint for one in trust.roots["openpgp.release"]] == [release]
    assert trust.linkage is None
    check(trust, keyring.sign(LIST, release))


def test_linkage_is_a_policy_found_beside_the_file(keyring: Keyring, release: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("version: 1\nextends: scratch\nlinkage: {linux: [static]}\n")
    require = "  bundle: {all: [openpgp.release]}\n  linkage: ./site.yaml\n"
    trust = policy.load(write(tmp_path, keyring, require, release=release))
    assert trust.linkage is not None
    assert [str(one) for one in trust.linkage.linkage["linux"]] == ["static"]


@pytest.mark.parametrize(
    ("demand", "signers", "missing"),
    [
        ("{all: [openpgp.one, openpgp.two]}", ("one", "two"), ""),
        ("{all: [openpgp.one, openpgp.two]}", ("one",), "not signed by openpgp.two"),
        ("{any: [openpgp.one, openpgp.two]}", ("two",), ""),
        ("{any: [openpgp.one, openpgp.two], threshold: 2}", ("two",), "not signed by 2 of openpgp.one, openpgp.two"),
        ("{any: [openpgp.one, openpgp.two], threshold: 2}", ("two", "one"), ""),
        ("{all: [openpgp.one], any: [openpgp.two]}", ("one",), "not signed by 1 of openpgp.two"),
        ("{all: [openpgp.one], any: [openpgp.two]}", ("two",), "not signed by openpgp.one"),
    ],
    ids=["all", "one of all", "any", "too few", "enough", "any missing", "all missing"],
)
def test_who_must_have_signed(
    keyring: Keyring, release: str, second: str, tmp_path: Path, demand: str, signers: tuple[str, ...], missing: str
) -> None:
    keys = {"one": release, "two": second}
    trust = policy.load(write(tmp_path, keyring, f"  bundle: {demand}\n", **keys))
    signature = keyring.sign(LIST, *(keys[name] for name in signers))
    if not missing:
        check(trust, signature)
        return
    with pytest.raises(IntegrityError, match=missing) as raised:
        check(trust, signature)
    assert raised.value.exit_code == 5


def test_a_root_that_nothing_requires_does_not_count(
    keyring: Keyring, release: str, second: str, tmp_path: Path
) -> None:
    trust = policy.load(write(tmp_path, keyring, "  bundle: {all: [openpgp.one]}\n", one=release, two=second))
    with pytest.raises(IntegrityError, match="no trusted key"):
        check(trust, keyring.sign(LIST, second))


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ("  bundle: {all: [keys.release]}", "cannot check 'keys.release', only openpgp roots"),
        ("  bundle: {any: [sigstore.private]}", "cannot check 'sigstore.private'"),
        ("  bundle: {all: [openpgp.nobody]}", "there is no root 'openpgp.nobody'"),
        ("  bundle: {all: [release]}", "there is no root 'release'"),
        ("  bundle: {all: [openpgp.release, openpgp.release]}", "stands here twice"),
        ("  bundle: {}", "demands no signature"),
        ("  bundle: {all: []}", "demands no signature"),
        ("  bundle: {any: [openpgp.release], threshold: 2}", "2 of the 1 in `any` can never be"),
        ("  bundle: {any: [openpgp.release], threshold: 0}", "0 of the 1"),
        ("  bundle: {all: [openpgp.release], threshold: 1}", "1 of the 0"),
        ("  image: {any: [openpgp.release]}", "cannot check `require.image`"),
        ('  provenance: {builder: "https://ci.example/build"}', "cannot check `require.provenance`"),
        ("  transparency: log", "cannot check `require.transparency`"),
        ("  transparency: log+time", "cannot check `require.transparency`"),
        ("  linkage: glibc", "there is no policy 'glibc'"),
        ("  signatures: [openpgp.release]", "signatures"),
        ('  linkage: scratch\nminimum: {version: "1.4.0"}', "cannot check `minimum`"),
        ('  linkage: scratch\nrepositories: {"a/b": {image: app}}', "cannot check `repositories`"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    keyring: Keyring, release: str, tmp_path: Path, require: str, said: str
) -> None:
    path = write(tmp_path, keyring, require + "\n", release=release)
    with pytest.raises(ConfigError, match=r"trust\.yaml|policy") as raised:
        policy.load(path)
    assert said in raised.value.message
    assert raised.value.exit_code == 2


def test_all_mistakes_at_once_each_with_its_line(keyring: Keyring, release: str, tmp_path: Path) -> None:
    require = "  bundle: {all: [keys.a, openpgp.b]}\n  transparency: log\n"
    with pytest.raises(ConfigError) as raised:
        policy.load(write(tmp_path, keyring, require, release=release))
    for place in ("trust.yaml:5:18", "trust.yaml:5:26", "trust.yaml:6:17"):
        assert place in raised.value.message


def test_one_key_cannot_stand_for_two_roots(keyring: Keyring, release: str, tmp_path: Path) -> None:
    require = "  bundle: {any: [openpgp.one, openpgp.two], threshold: 2}\n"
    with pytest.raises(ConfigError, match=rf"{release} is openpgp\.one already"):
        policy.load(write(tmp_path, keyring, require, one=release, two=release))


def test_a_missing_key_file_is_told_with_its_line(keyring: Keyring, release: str, tmp_path: Path) -> None:
    path = write(tmp_path, keyring, "  bundle: {all: [openpgp.release]}\n", release=release)
    (tmp_path / "release.gpg").unlink()
    with pytest.raises(ConfigError, match=r"trust\.yaml:3:\d+: .*No such file"):
        policy.load(path)
