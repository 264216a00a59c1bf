"""The vendor folder against module zips: every way in which it can differ."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import UnreadableError
from imagekit.source import dirhash, gosum, vendored
from imagekit.source.weakness import Weakness

LIB = {
    "LICENSE": "licence",
    "go.mod": "module example.test/lib\n",
    "lib.go": "package lib\n",
    "lib_test.go": "package lib\n",
    "lib_linux.s": "// asm\n",
    "gen.go": "// Copyright\n\n//go:build ignore\n\npackage main\n",
    "notes.txt": "not embedded",
    "deep/embed.go": 'package deep\n\nimport _ "embed"\n\n//go:embed files/*.txt "all:more"\nvar F []byte\n',
    "deep/files/a.txt": "a",
    "deep/files/b.txt": "b",
    "deep/files/c.md": "c",
    "deep/more/.hidden": "h",
    "deep/more/sub/x": "x",
    "unused/unused.go": "package unused\n",
}
INNER = {"inner.go": "package inner\n", "LICENSE": "other licence"}
MODULES_TXT = """# example.test/lib v1.0.0
## explicit; go 1.20
example.test/lib
example.test/lib/deep
# example.test/lib/inner v1.1.0 => example.test/fork/inner v1.1.1
## explicit
example.test/lib/inner
# example.test/none v1.0.0
## explicit
# example.test/replaced => ../replaced
"""
COPIED = ("LICENSE", "lib.go", "lib_linux.s", "notes.txt", "deep/embed.go", "deep/files/a.txt", "deep/files/b.txt")
COPIED += ("deep/more/.hidden", "deep/more/sub/x")


class Case:
    """A clean vendor folder with the zips that it came from."""

    def __init__(self, tmp_path: Path, make_zip: Callable[..., Path]) -> None:
        self.vendor = tmp_path / "vendor"
        self.zips: dict[tuple[str, str], Path] = {}
        for module, version, files in (
            ("example.test/lib", "v1.0.0", LIB),
            ("example.test/fork/inner", "v1.1.1", INNER),
        ):
            entries = [(f"{module}@{version}/{name}", text.encode()) for name, text in files.items()]
            self.zips[module, version] = make_zip(*entries, name=f"{module.replace('/', '_')}.zip")
        self.sums = {key: dirhash.h1_zip(path) for key, path in self.zips.items()}
        for name in COPIED:
            self.write(f"example.test/lib/{name}", LIB[name])
        self.write("example.test/lib/inner/inner.go", INNER["inner.go"])
        self.write("modules.txt", MODULES_TXT)

    def write(self, name: str, text: str) -> None:
        (self.vendor / name).parent.mkdir(parents=True, exist_ok=True)
        (self.vendor / name).write_text(text)

    def compare(self) -> tuple[Weakness, ...]:
        modules = vendored.read_list(self.vendor)
        return vendored.compare(self.vendor, modules, lambda *key: self.zips.get(key), gosum.of(self.sums))


@pytest.fixture
def case(tmp_path: Path, make_zip: Callable[..., Path]) -> Case:
    return Case(tmp_path, make_zip)


def test_a_clean_folder_has_no_finding(case: Case) -> None:
    assert case.compare() == ()


def test_the_list_is_read_as_go_reads_it(case: Case) -> None:
    assert vendored.read_list(case.vendor) == (
        vendored.VendoredModule(
            "example.test/lib", "example.test/lib", "v1.0.0", ("example.test/lib", "example.test/lib/deep")
        ),
        vendored.VendoredModule(
            "example.test/lib/inner", "example.test/fork/inner", "v1.1.1", ("example.test/lib/inner",)
        ),
    )


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"modules\.txt"):
        vendored.read_list(tmp_path)


def tamper(case: Case, name: str) -> str:
    """Do it; what the finding must say."""
    lib = case.vendor / "example.test" / "lib"
    match name:
        case "changed":
            (lib / "lib.go").write_text("package lib // backdoor\n")
            return "example.test/lib/lib.go differs"
        case "changed embedded file":
            (lib / "deep/files/a.txt").write_text("A")
            return "example.test/lib/deep/files/a.txt differs"
        case "changed in a replacement":
            (lib / "inner/inner.go").write_text("package inner // x\n")
            return "example.test/lib/inner/inner.go differs"
        case "extra in a package":
            (lib / "zzz.go").write_text("package lib\n")
            return "example.test/lib/zzz.go is not in example.test/lib@v1.0.0"
        case "extra embedded file":
            (lib / "deep/files/z.txt").write_text("z")
            return "example.test/lib/deep/files/z.txt is not in"
        case "extra module":
            case.write("evil.test/x/x.go", "package x\n")
            return "evil.test/x/x.go belongs to no module"
        case "extra file at the top":
            case.write("x.go", "package x\n")
            return "x.go belongs to no module"
        case "missing source":
            (lib / "lib.go").unlink()
            return "example.test/lib/lib.go is missing"
        case "missing assembly":
            (lib / "lib_linux.s").unlink()
            return "example.test/lib/lib_linux.s is missing"
        case "missing embedded file":
            (lib / "deep/files/b.txt").unlink()
            return "example.test/lib/deep/files/b.txt is missing"
        case "missing hidden embedded file":
            (lib / "deep/more/.hidden").unlink()
            return "example.test/lib/deep/more/.hidden is missing"
        case "missing package":
            shutil.rmtree(lib / "deep")
            return "example.test/lib/deep/embed.go is missing"
        case "a link":
            (lib / "lib.go").unlink()
            (lib / "lib.go").symlink_to("/etc/hostname")
            return "example.test/lib/lib.go is not a plain file"
        case "a linked folder":
            (lib / "deep").rename(case.vendor.parent / "deep")
            (lib / "deep").symlink_to(case.vendor.parent / "deep")
            return "example.test/lib/deep is not a plain file"
        case "the outer module's file in the inner package":
            (lib / "inner/lib.go").write_text(LIB["lib.go"])
            return "example.test/lib/inner/lib.go is not in example.test/fork/inner@v1.1.1"
        case _:
            raise AssertionError(name)


TAMPERED = [
    *("changed", "changed embedded file", "changed in a replacement", "extra in a package", "extra embedded file"),
    *("extra module", "extra file at the top", "missing source", "missing assembly", "missing embedded file"),
    *("missing hidden embedded file", "missing package", "a link", "a linked folder"),
    "the outer module's file in the inner package",
]


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found_and_changes_the_signature(name: str, case: Case) -> None:
    sums = gosum.of(case.sums)
    before = vendored.signature(case.vendor, sums)
    message = tamper(case, name)
    mismatch = [one for one in case.compare() if one.rule == "vendor-mismatch"]
    assert len(mismatch) == 1
    assert message in mismatch[0].message
    assert vendored.signature(case.vendor, sums) != before


def test_a_change_with_the_old_size_and_time_changes_the_signature(case: Case) -> None:
    path = case.vendor / "example.test/lib/lib.go"
    seen = path.stat()
    before = vendored.signature(case.vendor, gosum.of(case.sums))
    path.write_text("package lob\n")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert vendored.signature(case.vendor, gosum.of(case.sums)) != before


@pytest.mark.parametrize("name", ["notes.txt", "LICENSE"])
def test_a_file_that_reaches_no_binary_may_be_missing(name: str, case: Case) -> None:
    (case.vendor / "example.test/lib" / name).unlink()
    assert case.compare() == ()


def test_files_of_the_module_that_go_would_not_copy_may_be_there(case: Case) -> None:
    for name in ("gen.go", "lib_test.go", "deep/files/c.md", "unused/unused.go"):
        case.write(f"example.test/lib/{name}", LIB[name])
    assert case.compare() == ()


def test_only_the_first_differences_are_named(case: Case) -> None:
    for number in range(9):
        case.write(f"example.test/lib/x{number}.go", "package lib\n")
    (found,) = case.compare()
    assert found.message.endswith("; and 4 more")
    assert found.where == "vendor/example.test/lib/x0.go"


UNVERIFIED = {
    "no zip": "its zip cannot be had",
    "no sum": "go.sum has no hash of it",
    "another zip": "has the hash",
    "a folder": "it comes from the folder ../lib",
}


@pytest.mark.parametrize("name", UNVERIFIED)
def test_what_cannot_be_compared_is_said_and_the_rest_is_compared(name: str, case: Case) -> None:
    key = ("example.test/lib", "v1.0.0")
    if name == "no zip":
        del case.zips[key]
    elif name == "no sum":
        del case.sums[key]
    elif name == "another zip":
        case.sums[key] = "h1:" + "A" * 43 + "="
    else:
        case.write("modules.txt", MODULES_TXT.replace("lib v1.0.0", "lib v1.0.0 => ../lib"))
    case.write("example.test/lib/lib.go", "package lib // changed, but nobody can know\n")
    (found,) = case.compare()
    assert found.rule == "vendor-unverified"
    assert f"example.test/lib: {UNVERIFIED[name]}" in found.message or UNVERIFIED[name] in found.message
    case.write("example.test/lib/inner/inner.go", "package inner // changed\n")
    assert {one.rule for one in case.compare()} == {"vendor-mismatch", "vendor-unverified"}
