"""The constant pieces: what is in them, and that nothing else decides their bytes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import certifi
import msgspec
import pytest

from imagekit.audit.needs import Piece
from imagekit.errors import ConfigError, UnreadableError
from imagekit.image.kept import LayerCache
from imagekit.image.recipe import Recipe
from imagekit.image.rootfs import entries_of, sources_digest, write_rootfs_tar
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import Memory

CERTIFICATE = Path(certifi.where()).read_text(encoding="utf-8").partition("-----BEGIN")[2].partition("\n\n")[0]
PEM = f"-----BEGIN{CERTIFICATE}\n"


def recipe(**rootfs: Any) -> Recipe:
    return msgspec.convert({"id": "app", "build": "app", "rootfs": rootfs}, Recipe)


def content(entries: tuple[Entry, ...]) -> dict[str, bytes]:
    return {entry.path: entry.content for entry in entries if isinstance(entry.content, bytes)}


def test_certificates_are_certifis_bundle(tmp_path: Path) -> None:
    (entry,) = entries_of(recipe(), Piece.CA, tmp_path)
    assert (entry.path, entry.mode) == ("etc/ssl/certs/ca-certificates.crt", 0o444)
    assert entry.content == Path(certifi.where()).read_bytes()


def test_extra_certificates_follow_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "corp.pem").write_text(f"Subject: Corp\r\n{PEM.replace(chr(10), chr(13) + chr(10))}trailing words\n")
    (entry,) = entries_of(recipe(ca={"extra": ["corp.pem"]}), Piece.CA, tmp_path)
    assert entry.content == Path(certifi.where()).read_bytes() + PEM.encode()


def test_a_path_replaces_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "corp.pem").write_text(PEM)
    (entry,) = entries_of(recipe(ca="corp.pem"), Piece.CA, tmp_path)
    assert entry.content == PEM.encode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("nothing here", "holds no PEM certificate", id="no certificate"),
        pytest.param(PEM + "-----BEGIN RSA PRIVATE KEY-----\n", "private key", id="private key"),
        pytest.param(PEM + PEM[:900], "holds 2 certificates, and only 1 of them can be read", id="cut off"),
        pytest.param(PEM.replace("MII", "NII", 1), "only 0 of them", id="damaged"),
        pytest.param(PEM.replace("\nMII", "\nMI?", 1) + PEM, "only 1 of them", id="not base64"),
        pytest.param(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "only 0", id="no certificate in it"
        ),
        pytest.param(PEM + PEM.replace("CERT", "TRUSTED CERT"), "only 1 of them", id="OpenSSL's own form"),
        pytest.param(None, "cannot read", id="missing"),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "corp.pem").write_text(text)
    with pytest.raises(ConfigError, match=says):
        entries_of(recipe(ca="corp.pem"), Piece.CA, tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "corp.pem")
    with pytest.raises(UnreadableError, match="is not a regular file"):
        entries_of(recipe(ca="corp.pem"), Piece.CA, tmp_path)


def test_zones_are_the_packages_files_and_nothing_of_python(tmp_path: Path) -> None:
    found = content(entries_of(recipe(), Piece.TZDATA, tmp_path))
    assert len(found) > 500
    assert list(found) == sorted(found, key=lambda path: path.split("/"))
    assert found["usr/share/zoneinfo/Europe/Berlin"].startswith(b"TZif")
    assert not [path for path in found if ".py" in path or "__" in path]


def test_zones_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "zones/Mars").mkdir(parents=True)
    (tmp_path / "zones/Mars/Olympus").write_bytes(b"TZif2")
    found = content(entries_of(recipe(tzdata="zones"), Piece.TZDATA, tmp_path))
    assert found == {"usr/share/zoneinfo/Mars/Olympus": b"TZif2"}
    with pytest.raises(ConfigError, match="cannot list"):
        entries_of(recipe(tzdata="nowhere"), Piece.TZDATA, tmp_path)


def test_users_are_root_and_nonroot(tmp_path: Path) -> None:
    found = content(entries_of(recipe(), Piece.USERS, tmp_path))
    rows = [row.split(":") for row in found["etc/passwd"].decode().splitlines()]
    assert [(row[0], row[2], row[3], row[5]) for row in rows] == [
        ("root", "0", "0", "/"),
        ("nonroot", "65532", "65532", "/"),
    ]
    assert found["etc/group"] == b"root:x:0:\nnonroot:x:65532:\n"


def test_users_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "nsswitch.conf"):
        (tmp_path / "etc" / name).write_text(f"own {name}\n")
    assert set(content(entries_of(recipe(users="etc"), Piece.USERS, tmp_path)).values()) == {
        b"own passwd\n",
        b"own group\n",
    }
    assert content(entries_of(recipe(users="etc"), Piece.NSSWITCH, tmp_path)) == {
        "etc/nsswitch.conf": b"own nsswitch.conf\n"
    }


def test_tmp_is_for_everybody_and_sticky(tmp_path: Path) -> None:
    assert entries_of(recipe(), Piece.TMP, tmp_path) == (Entry("tmp", "dir", 0o1777),)


_PRINT_LAYERS = """
import sys
from pathlib import Path
from imagekit.audit.needs import Piece
from imagekit.image.recipe import Recipe
from imagekit.image.rootfs import MTIME, entries_of
from imagekit.oci.layers import write_layer
from imagekit.oci.store import Memory
for piece in Piece:
    layer = write_layer(Memory(), entries_of(Recipe(id="a", build="a"), piece, Path(".")), mtime=MTIME)
    print(piece, layer.descriptor.digest, layer.diff_id)
"""


@pytest.mark.real
def test_time_zone_umask_home_and_folder_do_not_matter(tmp_path: Path) -> None:
    seen = set()
    for umask, zone, home, seed in ((0o022, "UTC", "/root", "0"), (0o077, "Asia/Tokyo", "/nonexistent", "1")):
        folder = tmp_path / seed
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _PRINT_LAYERS],
            cwd=folder,
            env={
                "TZ": zone,
                "HOME": home,
                "PYTHONHASHSEED": seed,
                "LC_ALL": "C",
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            umask=umask,
            capture_output=True,
            check=True,
        )
        seen.add(done.stdout)
        time.sleep(1.1 if seed == "0" else 0)
    assert len(seen) == 1
    assert seen.pop().count(b"sha256:") == 2 * len(Piece)


def test_the_tar_for_dockerfiles_holds_the_tree(tmp_path: Path, cache: LayerCache) -> None:
    tree = tuple(entry for piece in Piece for entry in entries_of(recipe(), piece, tmp_path))
    digest, size = write_rootfs_tar(tmp_path / "one.tar", tree, cache)
    assert write_rootfs_tar(tmp_path / "two.tar", tree, cache) == (digest, size)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        members = {member.name: member for member in archive}
    assert members["tmp"].mode == 0o1777
    assert members["etc"].isdir()
    assert members["etc/passwd"].mode == 0o444
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members.values()} == {(0, 0, 0, "")}


def test_each_layer_has_its_parent_folders(tmp_path: Path) -> None:
    store = Memory()
    layer = write_layer(store, entries_of(recipe(), Piece.CA, tmp_path), mtime=0)
    with tarfile.open(fileobj=io.BytesIO(store.open(layer.descriptor.digest).read())) as archive:
        assert archive.getnames() == ["etc", "etc/ssl", "etc/ssl/certs", "etc/ssl/certs/ca-certificates.crt"]


def test_another_bundle_is_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sources_digest()
    assert sources_digest() == before
    (tmp_path / "cacert.pem").write_text("another")
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "cacert.pem"))
    assert sources_digest() != before
