from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import ToolError
from imagekit.golang.packages import Excluded, Packages, list_packages, read_packages
from imagekit.golang.selection import (
    Difference,
    Stub,
    Unselected,
    choices,
    compare,
    only_on_one,
    stubs,
    unselected,
)
from imagekit.golang.settings import GoSettings
from imagekit.golang.toolchain import Toolchain
from imagekit.targets.target import Cgo, Target

pytestmark = pytest.mark.real
Listing = Callable[..., Packages]
FILES = {
    "main.go": 'package main\n\nimport "example.org/m/db"\nimport _ "example.org/m/hook"\n\nfunc main() { db.Open() }',
    "db/db.go": "package db\n",
    "db/sqlite.go": 'package db\n\n// int one(void) { return 1; }\nimport "C"\n\nfunc Open() { C.one() }\n',
    "db/sqlite_stub.go": "//go:build !cgo\n\npackage db\n\nfunc Open() { panic(0) }\n",
    "db/pure.go": "//go:build purego\n\npackage db\n",
    "db/never.go": "//go:build linux && windows\n\npackage db\n",
    "db/fast_amd64.s": "\n",
    "db/db_test.go": "//go:build plan9\n\npackage db\n",
    "db/hook_windows.go": 'package db\n\nimport _ "example.org/m/reg"\n',
    "reg/reg.go": "package reg\n",
    "hook/hook.go": "package hook\n",
    "hook/sys_linux.go": 'package hook\n\n//go:cgo_import_dynamic x x "libx.so"\n',
}


@pytest.fixture
def listing(
    module: Callable[..., Path],
    ask: Callable[[Path], GoSettings],
    go: Toolchain,
    target: Callable[..., Target],
    tmp_path: Path,
) -> Listing:
    folder = module(**FILES)
    settings = ask(folder)

    def list_for(platform: str = "linux/amd64", **fields: object) -> Packages:
        return list_packages(settings, target(platform, **fields), cache_dir=tmp_path / "cache")

    return list_for


def test_the_graph_and_the_root(listing: Listing) -> None:
    packages = listing()
    assert [package.path for package in packages.roots] == ["example.org/m"]
    assert packages.graph()["example.org/m"] == ("example.org/m/db", "example.org/m/hook")
    root = packages.roots[0]
    assert root.module is not None
    assert (root.module.path, root.module.main, root.standard) == ("example.org/m", True, False)
    assert "C" in listing(cgo=Cgo.ALLOW).graph()["example.org/m/db"]


def test_the_copies_that_the_library_vendors_are_named_as_such(
    listing: Listing,
    module: Callable[..., Path],
    ask: Callable[[Path], GoSettings],
    go: Toolchain,
    target: Callable[..., Target],
) -> None:
    folder = module("net", **{"main.go": 'package main\n\nimport _ "net/http"\n\nfunc main() {}\n'})
    packages = list_packages(ask(folder), target(), cache_dir=folder)
    graph = packages.graph()
    assert {path for paths in graph.values() for path in paths} - graph.keys() <= {"C", "unsafe"}


def test_each_kept_out_file_has_the_constraint_that_did_it(listing: Listing) -> None:
    packages = listing(tags=("purego",))
    assert set(packages.excluded(packages.by_path["example.org/m/db"])) == {
        Excluded("never.go", "//go:build linux && windows"),
        Excluded("sqlite.go", 'import "C" with CGO_ENABLED=0'),
        Excluded("hook_windows.go", "file name: windows"),
        Excluded("db_test.go", "//go:build plan9"),
    }


def test_the_files_of_a_target(listing: Listing) -> None:
    found = {choice.package: choice for choice in choices(listing())}
    assert list(found)[-1] == "example.org/m"
    assert found["example.org/m/db"].compiled == ("db.go", "fast_amd64.s", "sqlite_stub.go")
    assert [excluded.name for excluded in found["example.org/m/db"].excluded] == [
        "db_test.go",
        "hook_windows.go",
        "never.go",
        "pure.go",
        "sqlite.go",
    ]


def test_two_targets_compared(listing: Listing) -> None:
    assert compare(listing(), listing("windows/arm64")) == Difference(
        first="app:linux/amd64",
        second="app:windows/arm64",
        packages_first=(),
        packages_second=("example.org/m/reg",),
        files_first=(("example.org/m/db", "fast_amd64.s"), ("example.org/m/hook", "sys_linux.go")),
        files_second=(("example.org/m/db", "hook_windows.go"),),
    )


def test_what_no_target_compiles(listing: Listing) -> None:
    every = [listing(), listing("windows/arm64"), listing(cgo=Cgo.ALLOW)]
    assert unselected(every) == (
        Unselected("example.org/m/db", "never.go", "//go:build linux && windows"),
        Unselected("example.org/m/db", "pure.go", "//go:build purego"),
    )
    assert only_on_one(every) == (("app:windows/arm64", "example.org/m/reg"),)
    assert only_on_one(every[:1]) == ()


def test_a_stub_names_what_cgo_would_bring(listing: Listing) -> None:
    assert stubs(listing()) == (
        Stub("app:linux/amd64", "example.org/m/db", "sqlite_stub.go", "//go:build !cgo", ("sqlite.go",)),
    )
    assert stubs(listing(cgo=Cgo.ALLOW)) == ()


def test_packages_that_import_shared_libraries_without_cgo(listing: Listing) -> None:
    assert listing().dynamic_importers() == {"example.org/m/hook": "sys_linux.go"}
    assert listing("windows/amd64").dynamic_importers() == {}


def test_a_package_that_does_not_load_is_listed_with_its_error(
    listing: Listing,
    module: Callable[..., Path],
    ask: Callable[[Path], GoSettings],
    go: Toolchain,
    target: Callable[..., Target],
) -> None:
    folder = module("broken", **{"main.go": 'package main\n\nimport _ "nowhere.example/x"\n\nfunc main() {}\n'})
    packages = list_packages(ask(folder), target(), cache_dir=folder)
    missing = packages.by_path["nowhere.example/x"].error
    assert missing is not None
    assert "nowhere.example/x" in missing.err


@pytest.mark.parametrize("text", [b'{\n\t"ImportPath": "a"', b"{\n\t1\n}\n", b"[]\n}\n"])
def test_output_that_is_no_listing_is_a_tool_error(text: bytes) -> None:
    with pytest.raises(ToolError):
        list(read_packages(text))
