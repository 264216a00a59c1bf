from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.golang.arguments import Main
from imagekit.golang.compile import compile_target
from imagekit.golang.failures import (
    CompileFailure,
    Kind,
    Problem,
    declares,
    declaring_excluded_file,
    failure,
    read_problems,
)
from imagekit.golang.packages import list_packages
from imagekit.golang.settings import GoSettings
from imagekit.golang.toolchain import Toolchain
from imagekit.targets.target import Target

TEXTS = {
    "a chain of packages": (
        "package example.org/m\n\timports example.org/m/a\n\timports example.org/m/c: build constraints exclude all Go "
        "files in /src/c\n",
        Problem(Kind.CONSTRAINTS, "example.org/m/c", "", position="/src/c"),
    ),
    "the package itself": (
        "package example.org/m/c: build constraints exclude all Go files in /src/c",
        Problem(Kind.CONSTRAINTS, "example.org/m/c", "", position="/src/c"),
    ),
    "in a file": (
        "main.go:3:8: build constraints exclude all Go files in /src/c",
        Problem(Kind.CONSTRAINTS, "", "", position="main.go:3:8"),
    ),
    "a name": (
        "# example.org/m/collector\ncollector/x.go:46:2: undefined: bsdSysctl",
        Problem(Kind.UNDEFINED, "example.org/m/collector", "", "bsdSysctl", "collector/x.go:46:2"),
    ),
    "a name of another package": (
        "# example.org/m\n./main.go:3:60: undefined: a.G",
        Problem(Kind.UNDEFINED, "example.org/m", "", "a.G", "./main.go:3:60"),
    ),
    "a method": (
        "# example.org/m\n./main.go:3:51: t.Foo undefined (type *T has no field or method Foo)",
        Problem(Kind.UNDEFINED, "example.org/m", "", "T.Foo", "./main.go:3:51"),
    ),
    "something else": (
        "# example.org/m\n./main.go:3:51: missing return",
        Problem(Kind.OTHER, "example.org/m", "", "", "./main.go:3:51"),
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_problem(case: str) -> None:
    text, expected = TEXTS[case]
    (found,) = read_problems(text)
    assert (found.kind, found.package, found.identifier, found.position) == (
        expected.kind,
        expected.package,
        expected.identifier,
        expected.position,
    )


def test_other_lines_are_no_problems() -> None:
    text = "go: downloading x\n# command-line-arguments\n\t./a.go:1:1: continued\nnote: module requires Go 1.99\n"
    assert list(read_problems(text)) == []


def test_the_message_has_the_first_lines_and_obeys_nothing() -> None:
    stderr = b"# example.org/\x1b[31mm\n::error::x\n" + b"\n".join(
        b"a.go:%d:1: bad" % number for number in range(1, 99)
    )
    error = failure("app:linux/amd64", stderr)
    assert isinstance(error, CompileFailure)
    assert error.exit_code == 3
    assert "\x1b" not in error.message
    assert "\n::error" not in error.message
    assert len(error.message.splitlines()) < 20
    assert len(error.problems) == 98
    assert "without a word" in failure("app", b"").message


@pytest.mark.parametrize(
    ("text", "name", "type_name"),
    [
        ("func Open() {}", "Open", ""),
        ("func Open[T any]() {}", "Open", ""),
        ("type Open struct{}", "Open", ""),
        ("var Open = 1", "Open", ""),
        ("const (\n\tOther = 1\n\tOpen\n)", "Open", ""),
        ("var (\n\ta, Open int\n)", "Open", ""),
        ("type (\n\tOpen int\n)", "Open", ""),
        ("func (t *T) Open() {}", "Open", "T"),
        ("func (T[K]) Open() {}", "Open", "T"),
    ],
)
def test_a_declaration(tmp_path: Path, text: str, name: str, type_name: str) -> None:
    path = tmp_path / "a.go"
    path.write_text(f"package a\n\n{text}\n")
    assert declares(path, name, type_name)
    path.write_text(f"package a\n\n// {text.replace(name, name + 'X')}\nfunc x() {{ {name}() }}\n")
    assert not declares(path, name, type_name)
    assert not declares(tmp_path / "missing.go", name)


BSD = {
    "main.go": 'package main\n\nimport "example.org/m/lib"\n\nfunc main() { lib.Run() }\n',
    "lib/run.go": (
        'package lib\n\nimport "example.org/m/sys"\n\ntype T struct{}\n\n'
        "func Run() { bsdSysctl(); var t T; t.Close(); sys.Read() }\n"
    ),
    "lib/aix.go": "//go:build aix\n\npackage lib\n\nfunc bsdSysctl() {}\n",
    "lib/bsd_cgo.go": '//go:build cgo && linux\n\npackage lib\n\nimport "C"\n\nfunc bsdSysctl() {}\n',
    "lib/close_windows.go": "package lib\n\nfunc (t *T) Close() {}\n",
    "lib/test_helper_test.go": "//go:build never\n\npackage lib\n\nfunc bsdSysctl() {}\n",
    "sys/sys.go": "package sys\n",
    "sys/read.go": 'package sys\n\n// int x;\nimport "C"\n\nfunc Read() { println(C.x) }\n',
}


@pytest.mark.real
def test_the_file_that_would_have_declared_it(
    module: Callable[..., Path],
    ask: Callable[[Path], GoSettings],
    go: Toolchain,
    target: Callable[..., Target],
    tmp_path: Path,
) -> None:
    folder = module(**BSD)
    settings = ask(folder)
    with pytest.raises(CompileFailure, match="undefined: bsdSysctl") as caught:
        compile_target(settings, target(), Main("./lib"), cache_dir=tmp_path / "cache")
    packages = list_packages(settings, target(), cache_dir=tmp_path / "cache")
    named = {
        problem.identifier: declaring_excluded_file(packages, problem.package, problem.identifier)
        for problem in caught.value.problems
    }
    assert named == {
        "bsdSysctl": (folder / "lib" / "bsd_cgo.go", "//go:build cgo && linux"),
        "T.Close": (folder / "lib" / "close_windows.go", "file name: windows"),
        "sys.Read": (folder / "sys" / "read.go", 'import "C" with CGO_ENABLED=0'),
    }
    assert declaring_excluded_file(packages, "example.org/m/lib", "nobody") is None
    assert declaring_excluded_file(packages, "example.org/m/lib", "") is None
    assert declaring_excluded_file(packages, "example.org/none", "bsdSysctl") is None


@pytest.mark.real
def test_a_package_that_needs_cgo_is_a_problem_with_its_name(
    module: Callable[..., Path],
    ask: Callable[[Path], GoSettings],
    go: Toolchain,
    target: Callable[..., Target],
    tmp_path: Path,
) -> None:
    folder = module(
        **{
            "main.go": 'package main\n\nimport _ "example.org/m/c"\n\nfunc main() {}\n',
            "c/c.go": 'package c\n\n// int x;\nimport "C"\n',
        }
    )
    with pytest.raises(CompileFailure) as caught:
        compile_target(ask(folder), target(), cache_dir=tmp_path / "cache")
    (problem,) = caught.value.problems
    assert (problem.kind, problem.package) == (Kind.CONSTRAINTS, "example.org/m/c")
