"""The table of platforms against the go command, and how a platform is read."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from imagekit.errors import ConfigError
from imagekit.targets.ports import LEVELS, NO_LONGER, PORTS, read_port, require_level


def test_the_table_has_every_port_of_this_go_and_says_which_it_dropped() -> None:
    answer = subprocess.run(["go", "tool", "dist", "list", "-json"], capture_output=True, check=True)
    listed = {f"{port['GOOS']}/{port['GOARCH']}" for port in json.loads(answer.stdout)}
    table = {f"{os}/{architecture}" for os, architectures in PORTS.items() for architecture in architectures}
    assert listed <= table
    assert table - listed == set(NO_LONGER)


@pytest.mark.parametrize(
    ("architecture", "variable"),
    [("amd64", "GOAMD64"), ("arm64", "GOARM64"), ("386", "GO386"), ("mips", "GOMIPS"), ("riscv64", "GORISCV64")],
)
def test_the_default_level_is_go_s_own(architecture: str, variable: str) -> None:
    env = {**os.environ, "GOARCH": architecture, "GOOS": "linux", "GOENV": "off", variable: ""}
    answer = subprocess.run(["go", "env", variable], capture_output=True, check=True, env=env, text=True)
    assert answer.stdout.strip() == LEVELS[architecture][0]


@pytest.mark.parametrize(
    ("text", "platform", "level"),
    [
        ("linux/amd64", "linux/amd64", "v1"),
        ("linux/amd64/v3", "linux/amd64/v3", "v3"),
        ("linux/arm64", "linux/arm64", "v8.1"),
        ("linux/arm64/v8", "linux/arm64/v8", "v8.0"),
        ("linux/arm64/v9.2", "linux/arm64/v9.2", "v9.2"),
        ("linux/arm", "linux/arm/v7", "7"),
        ("linux/arm/v6", "linux/arm/v6", "6"),
        ("linux/386/softfloat", "linux/386/softfloat", "softfloat"),
        ("linux/riscv64", "linux/riscv64", "rva20u64"),
        ("linux/s390x", "linux/s390x", ""),
        ("wasip1/wasm", "wasip1/wasm", ""),
    ],
)
def test_a_platform_has_its_own_level_or_the_one_of_levels_or_the_lowest(text: str, platform: str, level: str) -> None:
    found, found_level = read_port(text, {"arm64": "v8.1"})
    assert (str(found), found_level) == (platform, level)


@pytest.mark.parametrize(
    ("text", "told", "cure"),
    [
        ("linux/amd46", "Go does not build for 'linux/amd46'", "did you mean linux/amd64"),
        ("Linux/amd64", "Go does not build for 'Linux/amd64'", "linux/amd64"),
        ("amiga/68k", "Go does not build for", "go tool dist list"),
        ("linux/amd64/v9", "names a CPU level that Go does not have: 'v9'", "amd64 has v1, v2, v3, v4"),
        ("linux/arm/7", "names a CPU level that Go does not have: '7'", "arm has v7, v6, v5"),
        ("linux/arm/v8", "names a CPU level", "arm has v7, v6, v5"),
        ("linux/s390x/z13", "names a CPU level", "s390x has no levels"),
        ("linux", "is not a platform", "os/architecture"),
        ("linux/amd64/v1/x", "is not a platform", "os/architecture"),
    ],
)
def test_a_platform_that_cannot_be_is_refused_with_the_nearest(text: str, told: str, cure: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_port(text, {})
    assert told in caught.value.message
    assert cure in caught.value.hint


@pytest.mark.parametrize(
    ("architecture", "level"), [("amd64", "v3"), ("arm64", "v8.0,lse"), ("arm64", "v9.0,lse,crypto"), ("386", "sse2")]
)
def test_levels_of_go_stand_in_levels(architecture: str, level: str) -> None:
    require_level(architecture, level)


@pytest.mark.parametrize(
    ("architecture", "level"),
    [("amd64", "3"), ("arm64", "v8"), ("arm64", "v8.0,fast"), ("arm", "v7"), ("s390x", "z13"), ("amd46", "v1")],
)
def test_other_levels_do_not(architecture: str, level: str) -> None:
    with pytest.raises(ConfigError):
        require_level(architecture, level)
