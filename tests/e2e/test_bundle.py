"""Across the gap: fixtures/hello in a signed bundle, verified, loaded and run where there is no network."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imagekit.cli.main import main

SEED = 20261124
ALONE = ("unshare", "-n")
"""A network namespace of one's own: no route, no interface that is up; the engine's unix socket is still there."""
BESIDE = ("VOLUMES.sha256", "VOLUMES.sha256.asc")


class Carried(NamedTuple):
    """What crosses the gap: `folder` with release.tar and what lies beside it; trust.yaml is already over there."""

    folder: Path
    trust: Path
    tag: str
    gnupg: dict[str, str]


def ran(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | (env or {})
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a gpg with one key of its own."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    env = {"GNUPGHOME": str(home), "LC_ALL": "C"}
    words = ["--batch", "--quiet", "--pinentry-mode=loopback", "--passphrase", ""]
    ran("gpg", *words, "--quick-generate-key", "release@example.org", "ed25519", "sign", "never", env=env)
    yield env
    ran("gpgconf", "--kill", "gpg-agent", env=env)


@pytest.fixture(scope="module")
def source(built: Callable[[str], Path], own_name: str) -> Path:
    """A build of fixtures/hello whose image only the tests here load and remove."""
    return built(f"registry.example/{own_name}/carried")


@pytest.fixture(scope="module")
def carried(
    source: Path, imagekit: Callable[..., Any], gnupg: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Carried:
    """A bundle of the image in dist/, made by the command. Read only."""
    folder, other_side = tmp_path_factory.mktemp("carried"), tmp_path_factory.mktemp("trust")
    listed = ran("gpg", "--list-keys", "--with-colons", env=gnupg).splitlines()
    fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr:"))
    words = ["bundle", "create", "-o", folder / "release.tar", "--openpgp", fingerprint, "oci:dist/oci:hello"]
    done = imagekit(*words, cwd=source, **gnupg)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{sha256(folder / 'release.tar')}  {folder / 'release.tar'}\n"
    (other_side / "release.asc").write_text(ran("gpg", "--export", "--armor", fingerprint, env=gnupg))
    (other_side / "trust.yaml").write_text(
        "version: 1\nroots: {openpgp: {release: release.asc}}\n"
        "require: {bundle: {all: [openpgp.release]}, linkage: scratch}\n"
    )
    with tarfile.open(folder / "release.tar") as tar:
        index = tar.extractfile("index.json")
        assert index
        tag = index.read().decode().partition('"io.containerd.image.name":"')[2].partition('"')[0]
    return Carried(folder, other_side / "trust.yaml", tag, gnupg)


@pytest.fixture
def own(carried: Carried, tmp_path: Path) -> Path:
    """A copy of the bundle to change: its folder."""
    return Path(shutil.copytree(carried.folder, tmp_path / "own"))


@pytest.fixture
def empty_engine(carried: Carried, docker_engine: str) -> Iterator[None]:
    """The engine without the image of the bundle, before and after."""
    words = ["docker", "rmi", "--force", carried.tag]
    subprocess.run(words, check=False, capture_output=True)
    yield
    subprocess.run(words, check=False, capture_output=True)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_crosses_into_a_network_namespace_without_routes(carried: Carried, empty_engine: None) -> None:
    assert ran(*ALONE, "cat", "/proc/net/route").splitlines()[1:] == []
    without_gpg = {"PATH": "/nonexistent", "GNUPGHOME": "/nonexistent"}
    words = [sys.executable, "-m", "imagekit", "bundle", "verify", carried.folder / "release.tar"]
    unshare = shutil.which("unshare") or "unshare"
    verified = ran(unshare, "-n", *words, "--trust", carried.trust, env=without_gpg)
    assert verified.startswith(f"{carried.tag.rpartition(':')[0]}@sha256:")
    words[4] = "load"
    identity = ran(unshare, "-n", *words, "--trust", carried.trust, env=without_gpg).strip()
    assert ran("docker", "inspect", "--format", "{{.Id}}", carried.tag).strip() == identity
    lines = ran(*ALONE, "docker", "run", "--rm", "--network=none", identity).splitlines()
    assert lines[0].startswith("hello 0.0.0-20231114221320-")
    assert lines[1:] == [
        "certificates: found",
        "time zones: found Europe/Zurich",
        "user: nonroot (65532)",
        "temporary files: yes",
    ]


def test_the_bundle_is_the_image_that_was_built(carried: Carried, source: Path, tmp_path: Path) -> None:
    words = ["bundle", "load", str(carried.folder / "release.tar"), "--trust", str(carried.trust)]
    assert main([*words, "--into", f"oci:{tmp_path}/there"]) == 0
    here = {path.name for path in (source / "dist/oci/blobs/sha256").iterdir()}
    assert {path.name for path in (tmp_path / "there/blobs/sha256").iterdir()} == here
    assert all(sha256(path) == path.name for path in (tmp_path / "there/blobs/sha256").iterdir())


def test_twice_makes_the_same_tar(hello: Path, imagekit: Callable[..., Any], tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        done = imagekit("bundle", "create", "-o", tmp_path / name / "release.tar", "oci:dist/oci:hello", cwd=hello)
        assert done.returncode == 0, done.stderr
        assert "not signed" in done.stderr
    assert sha256(tmp_path / "one/release.tar") == sha256(tmp_path / "two/release.tar")


# --- without imagekit -------------------------------------------------------------------------------------------------


def test_docker_loads_the_tar_as_it_is(carried: Carried, empty_engine: None) -> None:
    assert ran("docker", "load", "--input", carried.folder / "release.tar") == f"Loaded image: {carried.tag}\n"
    assert "user: nonroot (65532)" in ran("docker", "run", "--rm", "--network=none", carried.tag)


def test_gpg_and_sha256sum_check_it_without_imagekit(carried: Carried, tmp_path: Path) -> None:
    ran("gpg", "--verify", *reversed(BESIDE), cwd=carried.folder, env=carried.gnupg)
    assert ran("sha256sum", "--check", "--strict", BESIDE[0], cwd=carried.folder) == "release.tar: OK\n"
    ran("tar", "xf", carried.folder / "release.tar", cwd=tmp_path)
    ran("gpg", "--verify", "SHA256SUMS.asc", "SHA256SUMS", cwd=tmp_path, env=carried.gnupg)
    ran("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS", cwd=tmp_path)
    listed = {line.partition("  ")[2] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there - listed == {"SHA256SUMS", "SHA256SUMS.asc"}


def test_skopeo_reads_every_platform_of_it(carried: Carried, tmp_path: Path) -> None:
    words = ["--insecure-policy", "copy", "-q", "--all", f"oci-archive:{carried.folder}/release.tar:hello"]
    ran("skopeo", *words, f"oci:{tmp_path}/copy:hello")


# --- what is refused --------------------------------------------------------------------------------------------------


def outcome(bundle: Path, trust: Path, place: Path) -> int:
    """The exit code of `bundle load`, in this process; a refusal leaves nothing."""
    code = main(["bundle", "load", str(bundle), "--trust", str(trust), "--into", f"oci:{place}"])
    assert code == 0 or not place.exists()
    return code


def test_a_hundred_flipped_bytes_are_all_refused(
    own: Path, carried: Carried, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    for number in range(100):
        path = own / ("release.tar" if number < 70 else "VOLUMES.sha256")
        position, bit = chance.randrange(path.stat().st_size), 1 << chance.randrange(8)
        with flipped(path, position, bit):
            assert outcome(own / "release.tar", carried.trust, tmp_path / "there") == 5, (path.name, position, bit)
            assert capsys.readouterr().err.splitlines()[-1].startswith("imagekit: exit 5: ")
    assert outcome(own / "release.tar", carried.trust, tmp_path / "there") == 0


def test_a_flipped_byte_of_a_signature_is_refused_or_changes_nothing(
    own: Path, carried: Carried, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    assert outcome(own / "release.tar", carried.trust, tmp_path / "whole") == 0
    believed = capsys.readouterr().err
    for number in range(25):
        path = own / "VOLUMES.sha256.asc"
        place = tmp_path / f"there{number}"
        with flipped(path, chance.randrange(path.stat().st_size), 1 << chance.randrange(8)):
            code = outcome(own / "release.tar", carried.trust, place)
            said = capsys.readouterr().err
        assert code == 5 or said == believed.replace(f"{tmp_path}/whole", str(place))
        if code == 0:
            assert (place / "index.json").read_bytes() == (tmp_path / "whole/index.json").read_bytes()


class flipped:  # noqa: N801 - read as a verb
    """One bit of a file turned while the block runs."""

    def __init__(self, path: Path, position: int, bit: int) -> None:
        self._path, self._position, self._bit = path, position, bit

    def __enter__(self) -> None:
        with self._path.open("r+b") as stream:
            stream.seek(self._position)
            [byte] = stream.read(1)
            stream.seek(self._position)
            stream.write(bytes([byte ^ self._bit]))

    def __exit__(self, *_: object) -> None:
        self.__enter__()


def test_a_flipped_byte_never_reaches_the_engine(own: Path, carried: Carried, empty_engine: None) -> None:
    with flipped(own / "release.tar", (own / "release.tar").stat().st_size // 2, 1):
        assert main(["bundle", "load", str(own / "release.tar"), "--trust", str(carried.trust)]) == 5
    assert ran("docker", "images", "--quiet", carried.tag) == ""


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_missing_is_not_believed(own: Path, carried: Carried, tmp_path: Path, name: str) -> None:
    (own / name).unlink()
    assert outcome(own / "release.tar", carried.trust, tmp_path / "there") == 5


def test_without_trust_there_is_nothing_to_believe(own: Path) -> None:
    assert main(["bundle", "load", str(own / "release.tar")]) == 2


def test_a_requirement_that_cannot_be_checked_is_refused(own: Path, carried: Carried, tmp_path: Path) -> None:
    trust = shutil.copytree(carried.trust.parent, tmp_path / "trust") / "trust.yaml"
    trust.write_text(trust.read_text().replace("linkage: scratch", "transparency: log"))
    assert outcome(own / "release.tar", trust, tmp_path / "there") == 2


def test_a_policy_that_the_programs_do_not_meet(own: Path, carried: Carried, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nlinkage: {linux: [static-pie]}\n")
    words = ["bundle", "load", str(own / "release.tar"), "--trust", str(carried.trust)]
    words += ["--policy", str(tmp_path / "policy.yaml"), "--into", f"oci:{tmp_path}/there"]
    assert main(words) == 10
    assert not (tmp_path / "there").exists()
