from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import ConfigError
from imagekit.golang.arguments import build_argv, gcflags, join_quoted, keeps_symbols, ldflags, mod_mode
from imagekit.golang.settings import GoSettings
from imagekit.targets.target import Cgo, Ldflags, Target, Unsafe, XValue

Make = Callable[..., Target]


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["-s", "-w"], "-s -w"),
        (["-X", "main.v=a b"], "-X 'main.v=a b'"),
        (["-X", "main.v=it's"], '''-X "main.v=it's"'''),
        (["-X", 'main.v="q"'], """-X 'main.v="q"'"""),
        (["main.v="], "main.v="),
        ([""], "''"),
        (["a\nb\tc"], "'a\nb\tc'"),
        (["ü$`\\"], "ü$`\\"),
    ],
)
def test_words_in_gos_list_syntax(words: list[str], joined: str) -> None:
    assert join_quoted(words) == joined


@pytest.mark.parametrize("word", ['it\'s "both"', "a\0b"])
def test_a_word_that_the_syntax_cannot_say_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="NUL or both kinds of quotes"):
        join_quoted([word])


def test_linker_flags_in_their_order(target: Make) -> None:
    made = target(ldflags=Ldflags(True, (XValue("main.v", "1 2"),), ("-H windowsgui",)), cgo=Cgo.STATIC)
    static = "-linkmode=external -w -extldflags '-static -Wl,--strip-debug'"
    assert ldflags(made) == f"-s -w -X 'main.v=1 2' '-H windowsgui' {static}"
    assert ldflags(made, strip=False) == "-X 'main.v=1 2' '-H windowsgui' -linkmode=external -extldflags -static"


@pytest.mark.parametrize(
    ("strip", "cgo", "kept"), [(False, Cgo.OFF, True), (True, Cgo.OFF, False), (False, Cgo.STATIC, False)]
)
def test_which_programs_keep_their_symbols(target: Make, strip: bool, cgo: Cgo, kept: bool) -> None:
    assert keeps_symbols(target(ldflags=Ldflags(strip), cgo=cgo)) is kept


@pytest.mark.parametrize("name", ["version", "main.", ".v", "main.v x", "main.v=1", "a'.b"])
def test_a_name_that_is_no_variable_is_refused(target: Make, name: str) -> None:
    with pytest.raises(ConfigError, match=r"importpath\.variable"):
        ldflags(target(ldflags=Ldflags(values=(XValue(name, "1"),))))


@pytest.mark.parametrize(
    ("items", "flags"),
    [
        ((), []),
        (("-N", "-l"), ["-gcflags=-N -l"]),
        (("all=-N -l",), ["-gcflags=all=-N -l"]),
        (("all=-N", "-l", "example.org/...=-B"), ["-gcflags=all=-N -l", "-gcflags=example.org/...=-B"]),
    ],
)
def test_compiler_flags_are_grouped_by_pattern(target: Make, items: tuple[str, ...], flags: list[str]) -> None:
    assert list(gcflags(target(gcflags=items))) == flags


def test_the_whole_command(target: Make) -> None:
    made = target(tags=("a", "b"), flags=("-buildmode=pie", "-race"), unsafe=Unsafe(flags=("-toolexec=x",)))
    argv = build_argv(Path("/go"), made, package="./cmd", output=Path("/out"), mode="vendor", buildvcs=True, jobs=2)
    assert argv == [
        *("/go", "build", "-trimpath", "-buildvcs=true", "-mod=vendor", "-tags=a,b", "-race", "-p=2"),
        *("-buildmode=pie", "-toolexec=x", "-o", "/out", "--", "./cmd"),
    ]


def settings_with(settings: GoSettings, root: Path, work: bool) -> GoSettings:
    values = {"GOMOD": str(root / "go.mod"), "GOWORK": str(root / "go.work") if work else ""}
    return GoSettings(toolchain=settings.toolchain, directory=root, values=values, ambient={}, file={})


@pytest.mark.parametrize(
    ("go_line", "modules_txt", "work", "mode"),
    [
        ("go 1.24", "# example.org/x v1.0.0\n", False, "vendor"),
        ("go 1.14", "", False, "vendor"),
        ("go 1.13", "", False, "readonly"),
        ("", "", False, "readonly"),
        ("go 1.24", None, False, "readonly"),
        ("go 1.24", "## workspace\n", False, "readonly"),
        ("go 1.24", "## workspace\n", True, "vendor"),
        ("go 1.24", "# example.org/x v1.0.0\n", True, "readonly"),
    ],
    ids=str,
)
def test_vendor_where_go_itself_would_choose_it(
    tmp_path: Path, ask: Callable[[Path], GoSettings], go_line: str, modules_txt: str | None, work: bool, mode: str
) -> None:
    (tmp_path / "go.mod").write_text(f"module m\n{go_line}\n")
    (tmp_path / "go.work").write_text(f"{go_line}\nuse .\n")
    if modules_txt is not None:
        (tmp_path / "vendor").mkdir()
        (tmp_path / "vendor" / "modules.txt").write_text(modules_txt)
    assert mod_mode(settings_with(ask(Path.cwd()), tmp_path, work)) == mode


def test_a_vendor_folder_without_a_list_counts_as_gos_own_rule_says(
    tmp_path: Path, ask: Callable[[Path], GoSettings]
) -> None:
    (tmp_path / "go.mod").write_text("module m\n\ngo 1.24\n")
    (tmp_path / "vendor").mkdir()
    assert mod_mode(settings_with(ask(Path.cwd()), tmp_path, False)) == "vendor"


def test_outside_a_module_nothing_is_vendored(tmp_path: Path, ask: Callable[[Path], GoSettings]) -> None:
    settings = settings_with(ask(Path.cwd()), tmp_path, False)
    settings.values["GOMOD"] = "/dev/null"
    assert mod_mode(settings) == "readonly"
