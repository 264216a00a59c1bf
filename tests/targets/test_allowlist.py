"""Flags and variables: what is allowed, and each refused name by name."""

from __future__ import annotations

import pytest

from imagekit.errors import ConfigError
from imagekit.targets.allowlist import (
    check_env,
    check_gcflag,
    check_go_flag,
    check_ldflag,
    check_unsafe_env,
    check_unsafe_flag,
)

GO_FORMS = ("-{}", "--{}", "-{}=x", "--{}=x", "-{} x", "-{}\tx", "-{}\nx", "-{}=x -race", '-{}="x"')


@pytest.mark.parametrize(
    "flag",
    [
        *("-tags=a,b", "-tags=", "-race", "-race=true", "-cover", "-covermode=atomic", "-coverpkg=./..."),
        *("-pgo=auto", "-pgo=default.pgo", "-buildmode=pie", "-asan", "-msan", "-p=4"),
    ],
)
def test_these_flags_of_go_are_allowed(flag: str) -> None:
    assert check_go_flag(flag) == flag
    assert check_go_flag("-" + flag) == flag


@pytest.mark.parametrize(
    "flag",
    [
        *("-s", "-w", "-X=main.a=b", "-X=main.a=b c 'd'", "-H=windowsgui", "-buildid=", "-linkmode=internal"),
        *("-compressdwarf=false", "-checklinkname=0", "-randlayout=7", "-funcalign=32"),
    ],
)
def test_these_flags_of_the_linker_are_allowed(flag: str) -> None:
    assert check_ldflag(flag) == flag


@pytest.mark.parametrize(
    ("flag", "plain"),
    [
        ("-N", "-N"),
        ("all=-N  -l", "all=-N -l"),
        ("./...=-l=4", "./...=-l=4"),
        ("example.org/a/b=-B", "example.org/a/b=-B"),
        ("-d=checkptr=0,ssa/prove/debug=1", "-d=checkptr=0,ssa/prove/debug=1"),
    ],
)
def test_these_flags_of_the_compiler_are_allowed(flag: str, plain: str) -> None:
    assert check_gcflag(flag) == plain


@pytest.mark.parametrize("name", ["GOEXPERIMENT", "GOFIPS140", "GODEBUG"])
def test_these_variables_are_allowed(name: str) -> None:
    assert check_env(name, "x=1") == (name, "x=1")


@pytest.mark.parametrize("form", GO_FORMS)
@pytest.mark.parametrize(
    "name",
    [
        *(
            "toolexec",
            "overlay",
            "o",
            "exec",
            "modfile",
            "C",
            "pkgdir",
            "vettool",
            "extld",
            "extldflags",
            "I",
            "tmpdir",
        ),
        *(
            "ldflags",
            "gcflags",
            "asmflags",
            "gccgoflags",
            "compiler",
            "mod",
            "trimpath",
            "buildvcs",
            "n",
            "x",
            "v",
            "a",
        ),
        *("work", "json", "installsuffix", "linkshared", "modcacherw", "debug-actiongraph", "no-such-flag", "Tags"),
    ],
)
def test_each_other_flag_of_go_is_refused_by_name(name: str, form: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_go_flag(form.format(name))
    assert caught.value.message == f"flags: the flag '-{name}' is not allowed"
    assert caught.value.hint


@pytest.mark.parametrize("form", GO_FORMS)
@pytest.mark.parametrize(
    "name",
    [
        *("extld", "extldflags", "I", "tmpdir", "o", "L", "r", "extar", "importcfg", "installsuffix", "cpuprofile"),
        *("memprofile", "plugin", "linkshared", "buildmode", "toolexec", "overlay", "exec", "B", "E", "T", "R", "x"),
    ],
)
def test_each_other_flag_of_the_linker_is_refused_by_name(name: str, form: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_ldflag(form.format(name))
    assert caught.value.message == f"ldflags: the flag '-{name}' is not allowed"


@pytest.mark.parametrize("form", ["-{}", "--{}", "-{}=x", "all=-{}=x", "all=-N -{}=x", "-N   -{}=x", "all= -{}"])
@pytest.mark.parametrize(
    "name",
    ["toolexec", "o", "I", "importcfg", "embedcfg", "asmhdr", "cpuprofile", "linkobj", "pgoprofile", "D", "trimpath"],
)
def test_each_other_flag_of_the_compiler_is_refused_by_name(name: str, form: str) -> None:
    with pytest.raises(ConfigError, match=f"gcflags: .*'-{name}'"):
        check_gcflag(form.format(name))


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("CGO_ENABLED", "cgo:"),
        ("GOAMD64", "levels:"),
        ("GOARM64", "levels:"),
        ("GO386", "levels:"),
        ("GOMIPS", "levels:"),
        ("GOMIPS64", "levels:"),
        ("GOPPC64", "levels:"),
        ("GORISCV64", "levels:"),
        ("GOARM", "variant"),
        ("GOOS", "platforms:"),
        ("GOARCH", "platforms:"),
        ("GOFLAGS", "flags:"),
        ("GOROOT", "PATH"),
        ("PATH", "PATH"),
        ("CC", "cgo: static"),
        ("CXX", "cgo: static"),
        ("LD_PRELOAD", "unsafe"),
        ("LD_LIBRARY_PATH", "unsafe"),
        ("GIT_DIR", "unsafe"),
        ("GIT_SSH_COMMAND", "unsafe"),
        ("GOCACHEPROG", "unsafe"),
        ("GOAUTH", "unsafe"),
        ("CGO_CFLAGS", "unsafe"),
        ("CGO_LDFLAGS", "unsafe"),
        ("CGO_LDFLAGS_ALLOW", "unsafe"),
        ("GOPROXY", "unsafe"),
        ("GOTOOLCHAIN", "unsafe"),
        ("HOME", "unsafe"),
        ("godebug", "unsafe"),
        ("GODEBUG ", "unsafe"),
    ],
)
def test_each_other_variable_is_refused_with_the_key_that_stands_for_it(name: str, cure: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_env(name, "x")
    assert caught.value.message == f"env: the variable {name!r} is not allowed"
    assert cure in caught.value.hint


@pytest.mark.parametrize(
    ("flag", "cure"),
    [
        ("-ldflags=-s", "ldflags:"),
        ("-gcflags=all=-toolexec", "gcflags:"),
        ("-s", "ldflags:"),
        ("-C=x", "dir:"),
        ("-o=x", "output:"),
        ("-trimpath", "always on"),
        ("-buildvcs=false", "stamped"),
        ("-mod=mod", "readonly"),
        ("-extldflags=-static", "cgo: static"),
        ("-toolexec=x", 'unsafe: {flags: ["-toolexec=x"]}'),
    ],
)
def test_the_refusal_of_a_flag_says_what_to_write_instead(flag: str, cure: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_go_flag(flag)
    assert cure in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        *("-buildmode", "-buildmode=", "-buildmode pie", "-buildmode=pie -o=x", "-tags=a b", "-tags='a'", "-p"),
        *("-pgo=x\n-o=y", "-pgo=\x00", "-race x", "", "-", "--", "---race", "race", "./cmd/app", "a.go", "-=x", "-1"),
        *("@file", " -race", "-race ", "-p=1\r-o=x"),
    ],
)
def test_what_is_not_exactly_one_flag_of_go_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        check_go_flag(text)


@pytest.mark.parametrize(
    "text",
    [
        *("-s -extld=sh", "-s\t-extld=sh", "-s\n-extld=sh", "-w=true -I=x", "-H=x' -extld=sh '", '-buildid="a" -o=b'),
        *("-H windowsgui", "-X main.a=b", "-X", "-X=", "-linkmode", "'-s'", '"-s"', "-s '", "-H=\x0b", "main.a=b"),
    ],
)
def test_no_second_flag_can_be_smuggled_into_the_linker(text: str) -> None:
    with pytest.raises(ConfigError):
        check_ldflag(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "all=", "=-N", "all=all=-N", "-N 'x'", '-N "-o=x"', "-N\\ -o", "-d", "-d=", "-d=ssa/all/dump=F", "-l=x"),
        *(
            "-d=dumpinlfuncprops=/tmp/x",
            "-d=pctab=pctofile:/x",
            "-d=a=../b",
            "-N=/x",
            "a b=-N",
            "-@file",
            "-N\n-o=x",
            "-N\t-o=x",
        ),
    ],
)
def test_no_file_can_be_named_to_the_compiler(text: str) -> None:
    with pytest.raises(ConfigError):
        check_gcflag(text)


def test_a_value_that_an_environment_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot stand in an environment"):
        check_env("GODEBUG", "a\nb")


@pytest.mark.parametrize("flag", ["-toolexec=./wrap me", "--x", "-ldflags=-extldflags '-static'"])
def test_unsafe_admits_every_flag(flag: str) -> None:
    assert check_unsafe_flag(flag) == flag


@pytest.mark.parametrize("text", ["", "x", "-", "--", "./pkg", "a.go", "-x\x00y", "=", "-=y"])
def test_unsafe_admits_nothing_but_flags(text: str) -> None:
    with pytest.raises(ConfigError):
        check_unsafe_flag(text)


def test_unsafe_admits_every_variable_that_can_be() -> None:
    assert check_unsafe_env("LD_PRELOAD", "/x.so") == ("LD_PRELOAD", "/x.so")
    for name in ("A B", "A=B", "", "1A", "Ä"):
        with pytest.raises(ConfigError):
            check_unsafe_env(name, "x")
