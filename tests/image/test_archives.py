"""tar.gz and zip: what is in them, that the bytes are the same every time, and that foreign tools read them."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagekit.content import digest_of, hash_file
from imagekit.errors import ConfigError, IntegrityError
from imagekit.image.archives import Archive, ArchiveSpec, mistakes, program_entry, write_archive
from imagekit.image.kept import LayerCache
from imagekit.image.zipped import write_zip
from imagekit.oci.layers import Entry

CREATED = 1700000001
PROGRAM = b"\x7fELF" + bytes(range(256)) * 20000


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("README.md", "LICENSE", "docs/guide.md", "docs/img/a.svg", "go.mod"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    (root / "app").write_bytes(PROGRAM)
    (root / "app").chmod(0o700)
    (root / "install.sh").write_text("#!/bin/sh\n")
    (root / "install.sh").chmod(0o755)
    return root


@pytest.fixture
def archive(project: Path, tmp_path: Path, cache: LayerCache) -> Callable[..., Archive]:
    def make(
        spec: ArchiveSpec, *, system: str = "linux", name: str = "app_1.0", folder: str = "out", **fields: Any
    ) -> Archive:
        (tmp_path / folder).mkdir(exist_ok=True)
        options = {"root": project, "created": CREATED, "cache": cache, **fields}
        file = "app.exe" if system == "windows" else "app"
        entry = program_entry(file, project / "app", hash_file(project / "app")[0])
        return write_archive(tmp_path / folder, spec, name, entry, system=system, **options)

    return make


def spec(**fields: Any) -> ArchiveSpec:
    return msgspec.convert({"build": "app", **fields}, ArchiveSpec)


def test_tar_gz(archive: Callable[..., Archive]) -> None:
    made = archive(spec())
    assert made.path.name == "app_1.0.tar.gz"
    assert hash_file(made.path) == (made.digest, made.size)
    assert made.path.stat().st_mode & 0o7777 == 0o644
    with tarfile.open(made.path) as opened:
        members = {member.name: member for member in opened}
        program = opened.extractfile("app")
        assert program is not None
        assert program.read() == PROGRAM
    assert {name: oct(member.mode) for name, member in members.items()} == {
        "LICENSE": "0o644",
        "README.md": "0o644",
        "app": "0o755",
    }
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members.values()} == {(CREATED, 0, 0, "", "")}


def test_zip_for_windows(archive: Callable[..., Archive]) -> None:
    made = archive(spec(files=["README*", "docs", "install.sh"]), system="windows")
    assert made.path.name == "app_1.0.zip"
    with zipfile.ZipFile(made.path) as opened:
        assert opened.testzip() is None
        assert opened.read("app.exe") == PROGRAM
        members = {one.filename: one for one in opened.infolist()}
    assert {name: oct(one.external_attr >> 16) for name, one in members.items()} == {
        "README.md": "0o100644",
        "app.exe": "0o100755",
        "docs/": "0o40755",
        "docs/guide.md": "0o100644",
        "docs/img/": "0o40755",
        "docs/img/a.svg": "0o100644",
        "install.sh": "0o100755",
    }
    assert {one.date_time for one in members.values()} == {(2023, 11, 14, 22, 13, 20)}
    assert {one.create_system for one in members.values()} == {3}
    assert members["app.exe"].compress_size < len(PROGRAM)


@pytest.mark.parametrize(
    ("fields", "system", "suffix"),
    [
        ({}, "linux", ".tar.gz"),
        ({}, "windows", ".zip"),
        ({"format": "zip"}, "linux", ".zip"),
        ({"format": "tar.gz"}, "windows", ".tar.gz"),
    ],
)
def test_formats(archive: Callable[..., Archive], fields: dict[str, str], system: str, suffix: str) -> None:
    assert archive(spec(**fields), system=system).path.name == f"app_1.0{suffix}"


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_umask_modes_of_the_checkout_and_cache_do_not_matter(
    tmp_path: Path, project: Path, archive: Callable[..., Archive], form: str
) -> None:
    seen = set()
    for number, umask in enumerate((0o022, 0o077, 0o000)):
        before = os.umask(umask)
        try:
            (project / "README.md").chmod(0o666 & ~umask)
            os.utime(project / "README.md", (number, number))
            os.environ["TZ"] = ("UTC", "Asia/Tokyo", "America/New_York")[number]
            cache = LayerCache(tmp_path / f"cache{number % 2}")
            made = archive(spec(format=form), folder=f"out{number}", cache=cache)
            seen.add((made.digest, made.path.read_bytes(), made.path.stat().st_mode))
        finally:
            os.umask(before)
            os.environ.pop("TZ", None)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("form", "command"),
    [
        pytest.param("tar.gz", ["tar", "-xzf"], id="tar"),
        pytest.param("zip", ["python3", "-m", "zipfile", "-e"], id="zip"),
    ],
)
def test_stock_tools_unpack_it(tmp_path: Path, archive: Callable[..., Archive], form: str, command: list[str]) -> None:
    made = archive(spec(format=form, files=["docs/**", "LICENSE"]))
    (tmp_path / "unpacked").mkdir()
    target = ["."] if form == "zip" else []
    subprocess.run([*command, made.path, *target], cwd=tmp_path / "unpacked", check=True)
    found = {path.relative_to(tmp_path / "unpacked").as_posix() for path in (tmp_path / "unpacked").rglob("*")}
    assert found == {"app", "LICENSE", "docs", "docs/guide.md", "docs/img", "docs/img/a.svg"}
    assert (tmp_path / "unpacked/app").read_bytes() == PROGRAM


def test_files_keep_their_place_in_the_project(archive: Callable[..., Archive]) -> None:
    made = archive(spec(files=["docs/guide.md", "docs/img/*.svg", "README.md"]))
    with tarfile.open(made.path) as opened:
        assert opened.getnames() == ["README.md", "app", "docs", "docs/guide.md", "docs/img", "docs/img/a.svg"]


def test_a_glob_may_find_nothing_but_a_path_must_exist(archive: Callable[..., Archive]) -> None:
    archive(spec(files=["COPYING*"]))
    with pytest.raises(ConfigError, match="archives: 'COPYING' matches nothing"):
        archive(spec(files=["COPYING"]), name="other")


@pytest.mark.parametrize("name", ["", "../app", "a/b", "a\nb", ".app", "a" * 300, "c:app"])
def test_names_that_are_no_file_names(archive: Callable[..., Archive], name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a file name"):
        archive(spec(), name=name)


def test_two_archives_of_one_name(archive: Callable[..., Archive]) -> None:
    archive(spec())
    with pytest.raises(ConfigError, match="two archives are called app_1") as caught:
        archive(spec())
    assert "variant" in caught.value.hint


def test_a_file_in_the_programs_place(archive: Callable[..., Archive]) -> None:
    with pytest.raises(ConfigError, match="two entries at /app"):
        archive(spec(files=["app"]))


def test_a_link_out_of_the_project(project: Path, archive: Callable[..., Archive]) -> None:
    (project / "README.secret").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="outside of"):
        archive(spec())


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_a_program_that_changed(tmp_path: Path, project: Path, cache: LayerCache, form: str) -> None:
    entry = program_entry("app", project / "app", digest_of(b"what was built"))
    with pytest.raises(IntegrityError):
        write_archive(tmp_path, spec(format=form), "x", entry, system="linux", root=project, created=0, cache=cache)
    assert not (tmp_path / f"x.{form}").exists()


@pytest.mark.parametrize(
    ("mtime", "shown"),
    [
        (0, (1980, 1, 1, 0, 0, 0)),
        (CREATED, (2023, 11, 14, 22, 13, 20)),
        (2**40, (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_times_that_a_zip_can_spell(tmp_path: Path, mtime: int, shown: tuple[int, ...]) -> None:
    path = tmp_path / "a.zip"
    with path.open("x+b") as stream:
        write_zip(stream, [Entry("ü/é", content=b"")], mtime=mtime)
    with zipfile.ZipFile(path) as opened:
        assert [one.filename for one in opened.infolist()] == ["ü/", "ü/é"]
        assert opened.infolist()[0].date_time == shown


def test_a_zip_holds_no_links(tmp_path: Path) -> None:
    with (tmp_path / "a.zip").open("x+b") as stream, pytest.raises(ConfigError, match="files and folders only"):
        write_zip(stream, [Entry("a", "link", target="b")], mtime=0)


@pytest.mark.parametrize(
    ("fields", "key"),
    [({"format": "rar"}, ("format",)), ({"files": ["/etc/passwd"]}, ("files", 0)), ({"files": ["../x"]}, ("files", 0))],
)
def test_mistakes(fields: dict[str, Any], key: tuple[str | int, ...]) -> None:
    assert [one.key for one in mistakes(spec(**fields))] == [key]
