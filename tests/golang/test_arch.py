import subprocess

import pytest

from imagekit.errors import ConfigError
from imagekit.golang import arch
from imagekit.golang.toolchain import Toolchain
from imagekit.platform import Platform

SPELLED = [
    ("linux/amd64", "", {"GOAMD64": "v1"}),
    ("linux/amd64/v3", "", {"GOAMD64": "v3"}),
    ("linux/amd64", "v2", {"GOAMD64": "v2"}),
    ("linux/arm64", "", {"GOARM64": "v8.0"}),
    ("linux/arm64/v8", "", {"GOARM64": "v8.0"}),
    ("linux/arm64", "v9.0,lse", {"GOARM64": "v9.0,lse"}),
    ("linux/arm", "", {"GOARM": "7"}),
    ("linux/arm/v6", "", {"GOARM": "6"}),
    ("linux/arm/v5", "5,softfloat", {"GOARM": "5,softfloat"}),
    ("linux/386", "softfloat", {"GO386": "softfloat"}),
    ("linux/mipsle", "", {"GOMIPS": "hardfloat"}),
    ("linux/mips64le", "softfloat", {"GOMIPS64": "softfloat"}),
    ("linux/ppc64le", "power9", {"GOPPC64": "power9"}),
    ("linux/riscv64", "", {"GORISCV64": "rva20u64"}),
    ("linux/s390x", "", {}),
    ("wasip1/wasm", "", {"GOWASM": ""}),
]


@pytest.mark.parametrize(("text", "level", "variable"), SPELLED)
def test_a_platform_in_gos_words(text: str, level: str, variable: dict[str, str]) -> None:
    platform = Platform.parse(text)
    assert arch.environment_of(platform, level) == {"GOOS": platform.os, "GOARCH": platform.architecture, **variable}


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("linux/amd64", "v5"),
        ("linux/amd64/v8", ""),
        ("linux/arm/v8", ""),
        ("linux/arm64", "v3"),
        ("linux/386", "v1"),
        ("linux/s390x", "z15"),
        ("linux/amd64", "v1 -toolexec"),
        ("linux/amd64", "v1\n"),
    ],
)
def test_a_level_that_the_architecture_lacks(text: str, level: str) -> None:
    with pytest.raises(ConfigError):
        arch.environment_of(Platform.parse(text), level)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("linux", "amd64", "v1"), "linux/amd64"),
        (("linux", "amd64", "v3"), "linux/amd64/v3"),
        (("linux", "arm64", "v8.0"), "linux/arm64"),
        (("linux", "arm64", "v8.2,lse"), "linux/arm64/v8.2"),
        (("linux", "arm", "6"), "linux/arm/v6"),
        (("linux", "arm", "7,softfloat"), "linux/arm/v7"),
        (("linux", "arm", ""), "linux/arm/v7"),
        (("linux", "386", "sse2"), "linux/386"),
        (("darwin", "arm64", ""), "darwin/arm64"),
    ],
)
def test_and_back(words: tuple[str, str, str], text: str) -> None:
    assert str(arch.platform_of(*words)) == text


@pytest.mark.real
def test_the_ports_are_those_that_go_lists(go: Toolchain) -> None:
    said = subprocess.run([go.go, "tool", "dist", "list"], capture_output=True, text=True, check=True)
    assert {"/".join(port) for port in arch.ports(go.goroot)} == set(said.stdout.split())


def test_a_platform_that_go_does_not_know_gets_the_nearest(go: Toolchain) -> None:
    with pytest.raises(ConfigError, match="does not build for linux/armd64") as caught:
        arch.check(Platform.parse("linux/armd64"), go.goroot)
    assert "linux/arm64" in caught.value.hint
    arch.check(Platform.parse("linux/arm64"), go.goroot)


def test_every_default_level_is_one_that_its_variable_takes() -> None:
    for architecture in arch.LEVEL_VARIABLES:
        arch.environment_of(Platform("linux", architecture))
