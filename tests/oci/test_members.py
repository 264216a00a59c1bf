"""Tars of other tools, and tars that nobody should have made."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagekit.content import Digest
from imagekit.errors import FormatError
from imagekit.oci.blobs import MissingBlobError
from imagekit.oci.members import TarStore, canonical, foreign
from imagekit.oci.sealed import Opened

FILES = {"index.json": b"{}", "blobs/sha256/" + "a" * 64: b"x" * 1000, "long/" * 40 + "name": b"long", "ünï/cödé": b"u"}


def python_tar(path: Path, form: int) -> None:
    with tarfile.open(path, "w", format=form) as out:
        folder = tarfile.TarInfo("blobs")
        folder.type = tarfile.DIRTYPE
        out.addfile(folder)
        for name, content in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1.5
            out.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_archives_of_pythons_tarfile(tmp_path: Path, form: int) -> None:
    python_tar(tmp_path / "made.tar", form)
    with Opened(tmp_path / "made.tar") as source:
        members = foreign(source)
        found = {name: source.read_at(member.offset, member.size) for name, member in members.items()}
    assert found == FILES


@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_archives_of_gnu_tar(tmp_path: Path, form: str) -> None:
    (tmp_path / "in/blobs").mkdir(parents=True)
    (tmp_path / "in/index.json").write_bytes(b"{}")
    (tmp_path / f"in/blobs/{'n' * 90}").write_bytes(b"content")
    subprocess.run(["tar", f"--format={form}", "-cf", "made.tar", "-C", "in", "."], cwd=tmp_path, check=True)
    with Opened(tmp_path / "made.tar") as source:
        assert set(foreign(source)) == {"index.json", f"blobs/{'n' * 90}"}


def entry(name: str = "a", size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    made = tarfile.TarInfo(name)
    made.size, made.type = size, kind
    return made.tobuf(tarfile.USTAR_FORMAT)


def extended(body: bytes) -> bytes:
    """A pax header with this body, and the entry that it is about."""
    block = body.ljust(-(-len(body) // 512) * 512, b"\0")
    return entry(kind=tarfile.XHDTYPE, size=len(body)) + block + entry() + bytes(1024)


def with_size_field(field: bytes) -> bytes:
    block = bytearray(entry())
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        b"x" * 1024,
        entry(size=1 << 30),
        entry(size=100) + b"x" * 99,
        entry("../a") + bytes(1024),
        entry("/a") + bytes(1024),
        entry("a/./b") + bytes(1024),
        entry() + entry() + bytes(1024),
        entry(kind=tarfile.SYMTYPE) + bytes(1024),
        entry(kind=tarfile.GNUTYPE_SPARSE) + bytes(1024),
        extended(b"21 GNU.sparse.size=9\n"),
        extended(b"11 size=-1\n"),
        extended(b"39 size=" + b"9" * 30 + b"\n"),
        extended(b"12 size=1e3\n"),
        extended(b"1048576 path=" + b"x" * 1048562 + b"\n"),
        extended(b"10 path=x\n" + b"\0" * 9),
        extended(b"8 path=x\n"),
        extended(b"10 path=x\n")[:1024] + bytes(1024),
        with_size_field(b"99999999999\0") + bytes(1024),
        with_size_field(b"\x80" + b"\xff" * 11) + bytes(1024),
        with_size_field(b"            ") + bytes(1024),
        entry()[:-1] + b"x" + bytes(1024),
    ],
)
def test_what_no_honest_tool_writes(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "made.tar").write_bytes(raw)
    for read in (foreign, canonical):
        with Opened(tmp_path / "made.tar") as source, pytest.raises(FormatError):
            read(source)


def test_random_damage_never_ends_in_anything_but_a_format_error(tmp_path: Path) -> None:
    python_tar(tmp_path / "made.tar", tarfile.PAX_FORMAT)
    content = (tmp_path / "made.tar").read_bytes()
    chance = random.Random("members")
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / "made.tar").write_bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])])
        with Opened(tmp_path / "made.tar") as source:
            try:
                members = foreign(source)
            except FormatError:
                continue
            for member in members.values():
                assert member.offset + member.size <= source.size


def test_what_is_not_in_it(tmp_path: Path) -> None:
    python_tar(tmp_path / "made.tar", tarfile.PAX_FORMAT)
    with Opened(tmp_path / "made.tar") as source:
        store = TarStore(source, foreign(source))
        present, absent = (Digest("sha256:" + letter * 64) for letter in "ab")
        assert (store.has(present), store.has(absent)) == (True, False)
        assert len(store.open(present).read()) == 1000
        with pytest.raises(MissingBlobError):
            store.open(absent)
        with pytest.raises(FormatError, match="more than 10"):
            store.read_file("blobs/sha256/" + "a" * 64, 10)
