from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import ToolError
from imagekit.golang.environments import compile_environment, fetch_environment, read_settings, said
from imagekit.golang.settings import GoSettings
from imagekit.golang.toolchain import Toolchain
from imagekit.targets.target import Cgo, Target, Unsafe

HOSTILE = {
    "GOFLAGS": "-buildvcs=false",
    "GOOS": "plan9",
    "GOAMD64": "v4",
    "CGO_ENABLED": "1",
    "CGO_CFLAGS": "-DSECRET",
    "CC": "evilcc",
    "GOEXPERIMENT": "jsonv2",
    "GOCACHEPROG": "/bin/thief --token=hunter2",
    "GOPROXY": "http://127.0.0.1:1",
    "GOPRIVATE": "corp.example",
    "GOINSECURE": "corp.example",
    "LD_PRELOAD": "",
    "LD_LIBRARY_PATH": "/evil",
    "GIT_DIR": "/evil/.git",
    "GIT_SSH_COMMAND": "ssh -i key",
    "GITHUB_TOKEN": "hunter2",
    "HTTPS_PROXY": "http://127.0.0.1:3128",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "NETRC": "/home/u/.netrc",
    "RANDOM_VARIABLE": "x",
}


@pytest.fixture
def settings(
    ask: Callable[[Path], GoSettings], module: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> GoSettings:
    folder = module()
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    return ask(folder)


def test_the_compile_environment_holds_these_names_and_no_other(
    settings: GoSettings, target: Callable[..., Target], tmp_path: Path
) -> None:
    environment = compile_environment(settings, target("linux/arm/v6"), cache_dir=tmp_path)
    optional = {"TMPDIR", "XDG_CONFIG_HOME"}
    assert list(environment) == sorted(environment)
    assert {name: value for name, value in environment.items() if name not in optional} == {
        "CGO_ENABLED": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GO111MODULE": "on",
        "GOARCH": "arm",
        "GOARM": "6",
        "GOAUTH": "off",
        "GOCACHE": settings.values["GOCACHE"],
        "GOENV": "off",
        "GOFLAGS": "",
        "GOMODCACHE": settings.values["GOMODCACHE"],
        "GOOS": "linux",
        "GOPATH": settings.values["GOPATH"],
        "GOPROXY": "off",
        "GOROOT": str(settings.toolchain.goroot),
        "GOSUMDB": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "HOME": settings.ambient["HOME"],
        "LC_ALL": "C",
        "PATH": f"{settings.toolchain.goroot}/bin:/usr/local/bin:/usr/bin:/bin",
        "TZ": "UTC",
    }


def test_without_a_home_the_cache_is_home(settings: GoSettings, target: Callable[..., Target], tmp_path: Path) -> None:
    del settings.ambient["HOME"]
    assert compile_environment(settings, target(), cache_dir=tmp_path)["HOME"] == str(tmp_path)


def test_git_is_on_path_where_there_is_a_repository(
    settings: GoSettings, target: Callable[..., Target], tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text("#!/bin/sh\n")
    (tools / "git").chmod(0o755)
    settings.ambient["PATH"] = f"{tools}:/usr/bin"
    assert str(tools) not in compile_environment(settings, target(), cache_dir=tmp_path)["PATH"]
    (settings.directory / ".git").mkdir()
    assert str(tools) in compile_environment(settings, target(), cache_dir=tmp_path)["PATH"].split(":")


def test_the_targets_own_and_its_unsafe_variables_are_passed(
    settings: GoSettings, target: Callable[..., Target], tmp_path: Path
) -> None:
    made = target(env=(("GOFIPS140", "latest"),), unsafe=Unsafe(env=(("CC", "musl-gcc"),)), cgo=Cgo.ALLOW)
    environment = compile_environment(settings, made, cache_dir=tmp_path)
    assert (environment["GOFIPS140"], environment["CC"], environment["CGO_ENABLED"]) == ("latest", "musl-gcc", "1")
    assert environment["SOURCE_DATE_EPOCH"] == "0"


def test_the_fetch_environment_has_credentials_and_nothing_that_steers_a_compile(settings: GoSettings) -> None:
    environment = fetch_environment(settings)
    expected = {
        name: HOSTILE[name] for name in ("GOPROXY", "GOPRIVATE", "GOINSECURE", "GITHUB_TOKEN", "HTTPS_PROXY", "NETRC")
    }
    assert {name: environment[name] for name in expected} == expected
    assert environment["GONOSUMDB"] == "corp.example"
    assert environment["GIT_SSH_COMMAND"] == "ssh -i key"
    assert environment["GOFLAGS"] == ""
    steering = {
        "CC",
        "CGO_CFLAGS",
        "GOCACHEPROG",
        "GOEXPERIMENT",
        "GOOS",
        "LD_LIBRARY_PATH",
        "GIT_DIR",
        "RANDOM_VARIABLE",
    }
    assert not steering & environment.keys()


def test_what_was_dropped_is_said_once_each_and_no_secret_with_it(settings: GoSettings) -> None:
    sentences = "\n".join(said(settings))
    for name in (
        "GOFLAGS=-buildvcs=false",
        "GOOS=plan9",
        "CC=evilcc",
        "GOAMD64=v4",
        "CGO_ENABLED=1",
        "GOCACHEPROG",
        "GIT_DIR",
    ):
        assert sentences.count(f"{name} of the environment") == 1, name
    assert "LD_LIBRARY_PATH" in sentences
    assert "GOPROXY" not in sentences
    assert "hunter2" not in sentences


def test_the_go_env_file_is_named(
    ask: Callable[[Path], GoSettings], module: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "goenv"
    file.write_text("# a comment\nGOFLAGS=-buildvcs=false\nGOAMD64=v1\n")
    monkeypatch.setenv("GOENV", str(file))
    monkeypatch.delenv("GOFLAGS", raising=False)
    settings = ask(module())
    assert settings.changed["GOFLAGS"] == "-buildvcs=false"
    assert [line for line in said(settings) if "go env -w" in line] == [
        f"GOFLAGS=-buildvcs=false of the `go env -w` file {file} is not used: "
        "write `tags`, `flags`, `ldflags` in imagekit.yaml"
    ]


def test_a_workspace_is_seen_and_an_extracted_module_has_none(
    ask: Callable[[Path], GoSettings], module: Callable[..., Path], tmp_path: Path, target: Callable[..., Target]
) -> None:
    folder = module()
    (tmp_path / "go.work").write_text("go 1.24\n\nuse ./module\n")
    settings = ask(folder)
    assert settings.workspace == tmp_path / "go.work"
    assert compile_environment(settings, target(), cache_dir=tmp_path)["GOWORK"] == str(tmp_path / "go.work")
    published = settings.published(tmp_path / "extracted")
    assert published.go_mod == tmp_path / "extracted" / "go.mod"
    assert compile_environment(published, target(), cache_dir=tmp_path)["GOWORK"] == "off"


def test_a_folder_that_is_none_and_a_go_that_fails_are_tool_errors(go: Toolchain, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="not a folder"):
        read_settings(go, tmp_path / "nothing")
    (tmp_path / "go.work").write_text("this is no workspace\n")
    failing = tmp_path / "go"
    failing.write_text("#!/bin/sh\necho go: bad luck >&2\nexit 1\n")
    failing.chmod(0o755)
    with pytest.raises(ToolError, match="bad luck"):
        read_settings(Toolchain(failing, "go1.26", tmp_path), tmp_path)


def test_a_terminal_escape_in_a_setting_is_not_obeyed(
    ask: Callable[[Path], GoSettings], module: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = module()
    monkeypatch.setenv("GOFLAGS", "-tags=\x1b[31m")
    assert "\x1b" not in "\n".join(said(ask(folder)))


def test_asking_go_starts_no_compiler(
    ask: Callable[[Path], GoSettings],
    module: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    compiler.chmod(0o755)
    for name in ("CC", "CXX", "PKG_CONFIG"):
        monkeypatch.setenv(name, str(compiler))
    monkeypatch.setenv("CGO_CFLAGS", "-DX")
    settings = ask(module())
    assert not (tmp_path / "started").exists()
    assert settings.changed["CGO_CFLAGS"] == "-DX"
