"""Module zips: their hash as Go has it, and how they become a read-only folder, or do not."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import IntegrityError, UnreadableError
from imagekit.source import dirhash, published

MODULE, VERSION = "example.test/app", "v1.2.3"
TOP = f"{MODULE}@{VERSION}/"
GOOD = [
    (f"{TOP}go.mod", b"module example.test/app\n"),
    (f"{TOP}cmd/app/main.go", b"package main\n"),
    (f"{TOP}ü b.txt", b""),
]
MakeZip = Callable[..., Path]


def extract(path: Path, into: Path, h1: str = "") -> Path:
    return published.extract(path, MODULE, VERSION, into, h1=h1)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_read_only_folder_whatever_the_umask(umask: int, make_zip: MakeZip, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        root = extract(make_zip(*GOOD), tmp_path / "into" / "app", dirhash.h1_zip(make_zip(*GOOD, name="same.zip")))
    finally:
        os.umask(before)
    modes = {path.relative_to(root).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert modes == {"go.mod": 0o444, "cmd": 0o555, "cmd/app": 0o555, "cmd/app/main.go": 0o444, "ü b.txt": 0o444}
    assert stat.S_IMODE(root.stat().st_mode) == 0o555
    assert dirhash.h1_folder(root, TOP.rstrip("/")) == dirhash.h1_zip(make_zip(*GOOD))
    published.remove(root)
    assert not root.exists()


def test_what_is_there_is_not_written_again(make_zip: MakeZip, tmp_path: Path) -> None:
    root = extract(make_zip(*GOOD), tmp_path / "into")
    assert extract(tmp_path / "nowhere.zip", tmp_path / "into") == root


def test_another_hash_is_an_integrity_error_and_leaves_nothing(make_zip: MakeZip, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="must have h1:x"):
        extract(make_zip(*GOOD), tmp_path / "cache" / "into", "h1:x")
    assert list((tmp_path / "cache").iterdir()) == []


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(f"{TOP}{name}")
    found.external_attr = mode << 16
    return found


HOSTILE: dict[str, list[tuple[str | zipfile.ZipInfo, bytes]]] = {
    "a path upward": [(f"{TOP}../x", b"")],
    "a path upward inside": [(f"{TOP}a/../../x", b"")],
    "an absolute path": [("/etc/passwd", b"")],
    "another module": [("example.test/other@v1.0.0/x", b"")],
    "another version": [(f"{MODULE}@v1.2.4/x", b"")],
    "a dot": [(f"{TOP}./x", b"")],
    "two slashes": [(f"{TOP}a//x", b"")],
    "a backslash": [(f"{TOP}a\\..\\x", b"")],
    "a colon": [(f"{TOP}c:x", b"")],
    "a newline": [(f"{TOP}a\nb", b"")],
    "a device of Windows": [(f"{TOP}NUL.go", b"")],
    "a link": [(entry("x", stat.S_IFLNK | 0o777), b"/etc/passwd")],
    "a device": [(entry("x", stat.S_IFCHR | 0o666), b"")],
    "a folder that is a file": [(entry("x/", stat.S_IFREG | 0o644), b"")],
    "a name twice": [(f"{TOP}x", b"1"), (f"{TOP}x", b"2")],
    "a name in two cases": [(f"{TOP}Readme", b"1"), (f"{TOP}README", b"2")],
    "a folder in two cases": [(f"{TOP}A/x", b"1"), (f"{TOP}a/y", b"2")],
    "letters that fold": [(f"{TOP}\u212a", b"kelvin"), (f"{TOP}k", b"2")],
    "a file that is a folder": [(f"{TOP}a", b"1"), (f"{TOP}a/b", b"2")],
    "a folder that was a file": [(f"{TOP}a/b", b"1"), (f"{TOP}a", b"2")],
    "a second go.mod": [(f"{TOP}sub/go.mod", b"")],
    "GO.MOD": [(f"{TOP}GO.MOD", b"")],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_zip_is_refused_and_leaves_nothing(case: str, make_zip: MakeZip, tmp_path: Path) -> None:
    path = make_zip(*GOOD, *HOSTILE[case])
    with pytest.raises(UnreadableError):
        extract(path, tmp_path / "cache" / "into")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_zip_that_lies_about_a_size(make_zip: MakeZip, tmp_path: Path) -> None:
    data = bytearray(make_zip((f"{TOP}go.mod", b"x" * 5000)).read_bytes())
    at = data.index(b"PK\x01\x02")
    for size in (4999, 5001, 0):
        data[at + 24 : at + 28] = struct.pack("<I", size)
        path = tmp_path / "lie.zip"
        path.write_bytes(data)
        with pytest.raises(UnreadableError):
            extract(path, tmp_path / "cache" / "into")
        with pytest.raises(UnreadableError):
            dirhash.h1_zip(path)


def test_a_bomb_is_refused_by_what_it_promises(
    make_zip: MakeZip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_zip(*GOOD, (f"{TOP}zeros", bytes(1 << 20)))
    assert path.stat().st_size < 4096
    monkeypatch.setattr(dirhash, "MAX_SIZE", 1 << 19)
    with pytest.raises(UnreadableError, match="unpacks to more"):
        extract(path, tmp_path / "cache" / "into")
    monkeypatch.setattr(dirhash, "MAX_SIZE", 100)
    with pytest.raises(UnreadableError, match="larger than 100"):
        dirhash.h1_zip(path)
    monkeypatch.undo()
    monkeypatch.setattr(dirhash, "MAX_FILES", 3)
    with pytest.raises(UnreadableError, match="or 3 files"):
        dirhash.h1_zip(path)


def test_a_large_go_mod_or_licence(make_zip: MakeZip, tmp_path: Path) -> None:
    for name in ("go.mod", "LICENSE"):
        with pytest.raises(UnreadableError, match=f"{name} is larger"):
            extract(make_zip((f"{TOP}{name}", bytes((16 << 20) + 1))), tmp_path / "cache" / "into")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "bit", "encrypted", "method"])
def test_damaged_zips(damage: str, make_zip: MakeZip, tmp_path: Path) -> None:
    good = make_zip(*GOOD, (f"{TOP}text", b"some text that is compressed " * 100)).read_bytes()
    at = good.index(b"PK\x01\x02")
    damaged = {
        "empty": b"",
        "text": b"<html>no zip</html>",
        "cut": good[: len(good) // 2],
        "bit": good[: at - 30] + bytes([good[at - 30] ^ 255]) + good[at - 29 :],
        "encrypted": good[: at + 8] + bytes([good[at + 8] | 1]) + good[at + 9 :],
        "method": good[: at + 10] + b"\x63" + good[at + 11 :],
    }[damage]
    path = tmp_path / "damaged.zip"
    path.write_bytes(damaged)
    for read in (lambda: extract(path, tmp_path / "cache" / "into"), lambda: dirhash.h1_zip(path)):
        with pytest.raises(UnreadableError):
            read()


def test_a_name_with_a_zero_byte(make_zip: MakeZip, tmp_path: Path) -> None:
    data = make_zip(*GOOD, (f"{TOP}evilXgo", b"")).read_bytes().replace(b"evilXgo", b"evil\0go")
    path = tmp_path / "zero.zip"
    path.write_bytes(data)
    with pytest.raises(UnreadableError):
        extract(path, tmp_path / "cache" / "into")


@pytest.mark.parametrize(("module", "version"), [("../x", VERSION), ("example.test/app", "v1"), ("x", VERSION)])
def test_no_module_no_version(module: str, version: str, make_zip: MakeZip, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        published.extract(make_zip(*GOOD), module, version, tmp_path / "into")


def test_a_folder_with_a_link_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UnreadableError, match="neither a file nor a folder"):
        dirhash.h1_folder(tmp_path, "x@v1.0.0")


@pytest.mark.real
@pytest.mark.parametrize("spec", ["golang.org/x/sync@v0.22.0", "github.com/google/go-containerregistry@v0.22.1"])
def test_the_hash_is_the_one_that_go_computes(spec: str, tmp_path: Path) -> None:
    argv = ["go", "mod", "download", "-json", spec]
    told = json.loads(subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True).stdout)
    assert dirhash.h1_zip(Path(told["Zip"])) == told["Sum"]
    assert dirhash.h1_folder(Path(told["Dir"]), spec) == told["Sum"]
    module, _, version = spec.partition("@")
    root = published.extract(Path(told["Zip"]), module, version, tmp_path / "root", h1=told["Sum"])
    assert sorted(dirhash.walk(root)) == sorted(dirhash.walk(Path(told["Dir"])))
    published.remove(root)
