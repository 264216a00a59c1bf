"""env: a shell that evaluates it does what the build does, with the build's own cache entries."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from imagekit.golang.exporting import exported_environment, goflags, native
from imagekit.golang.settings import GoSettings, read_settings
from imagekit.golang.toolchain import find
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Ldflags, Target, Unsafe, XValue

WALLS = {"GOPROXY", "GOSUMDB", "GOAUTH", "GOROOT", "HOME", "TZ", "LC_ALL", "GOMAXPROCS", "TMPDIR"}


def target(platform: str = "linux/amd64", **fields: object) -> Target:
    return Target(build="app", platform=Platform.parse(platform), main=".", **fields)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> GoSettings:
    place = tmp_path_factory.mktemp("settings")
    (place / "go.mod").write_text("module example.org/x\n\ngo 1.21\n")
    return read_settings(find(), place)


def in_shell(exported: str, command: str, cwd: Path, clean: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-ec", f"{exported}\n{command}"], cwd=cwd, env=clean, capture_output=True, text=True, timeout=600
    )


@pytest.mark.real
def test_after_a_build_go_compiles_nothing_and_tests_what_was_built(choosy, imagekit, clean) -> None:
    built = imagekit("build", "--target", "linux/amd64", cwd=choosy)
    assert built.returncode == 0, built.stderr
    asked = imagekit("env", "--target", "linux/amd64", cwd=choosy)
    assert (asked.returncode, asked.stderr) == (0, "")
    hostile = {**clean, "GOFLAGS": "-tags=never", "CGO_ENABLED": "1", "GOAMD64": "v3"}
    again = in_shell(asked.stdout, "go build -x -o /dev/null ./cmd/app", choosy, hostile)
    assert again.returncode == 0, again.stderr
    assert "/compile " not in again.stderr
    tested = in_shell(asked.stdout, "go test ./lib", choosy, hostile)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    otherwise = in_shell(
        "", f"GOCACHE={shlex.quote(_cache(asked.stdout))} go build -x -o /dev/null ./cmd/app", choosy, clean
    )
    assert "/compile " in otherwise.stderr, "a build of another kind compiles, so the first one could have been seen to"


def _cache(exported: str) -> str:
    return (
        next(line for line in exported.splitlines() if line.startswith("export GOCACHE=")).partition("=")[2].strip("'")
    )


@pytest.mark.real
def test_lines_and_json_say_the_same(choosy, imagekit) -> None:
    lines = imagekit("env", "--target", "windows/amd64", cwd=choosy).stdout.splitlines()
    found = json.loads(imagekit("env", "--target", "windows/amd64", "--format", "json", cwd=choosy).stdout)
    assert [f"export {name}='{value}'" for name, value in found.items()] == lines
    assert found["GOFLAGS"] == "-trimpath -buildvcs=false -mod=readonly -tags=special"
    assert (found["GOOS"], found["GOENV"], found["GOTOOLCHAIN"]) == ("windows", "off", "local")
    assert not found.keys() & WALLS


@pytest.mark.real
def test_the_target_is_the_hosts_or_chosen(choosy, imagekit) -> None:
    host = "/".join(find_host())
    config = choosy / "imagekit.yaml"
    assert f"export GOARCH='{find_host()[1]}'" in imagekit("env", cwd=choosy).stdout
    config.write_text("version: 1\nbuilds: [{id: app, main: ./cmd/app, platforms: [windows/arm64]}]\n")
    done = imagekit("env", cwd=choosy)
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose with --target: app:windows/arm64" in done.stderr
    build = "{id: %s, main: ./cmd/app, platforms: [%s], tags: [%s]}"
    config.write_text(f"version: 1\nbuilds: [{build % ('a', host, 'special')}, {build % ('b', host, 'special')}]\n")
    assert imagekit("env", cwd=choosy).returncode == 0, "two builds of one environment need no choice"
    config.write_text(f"version: 1\nbuilds: [{build % ('a', host, 'special')}, {build % ('b', host, 'never')}]\n")
    assert "2 targets are meant, and their builds differ" in imagekit("env", cwd=choosy).stderr
    assert imagekit("env", "--target", f"b:{host}", cwd=choosy).returncode == 0


def find_host() -> tuple[str, str]:
    said = subprocess.run(["go", "env", "GOHOSTOS", "GOHOSTARCH"], capture_output=True, text=True, check=True).stdout
    return tuple(said.split())


def test_native_prefers_the_platform_without_a_level(settings: GoSettings) -> None:
    os, arch = settings.values["GOHOSTOS"], settings.values["GOHOSTARCH"]
    plain, high, other = target(f"{os}/{arch}"), target(f"{os}/{arch}/v9"), target("plan9/386")
    assert native([high, plain, other], settings) == (plain,)
    assert native([high, other], settings) == (high,)
    assert native([other], settings) == ()


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({}, ""),
        ({"tags": ("a", "b")}, " -tags=a,b"),
        ({"flags": ("-buildmode=exe", "-race")}, " -race -buildmode=exe"),
        ({"gcflags": ("all=-N", "-l")}, " '-gcflags=all=-N -l'"),
        ({"ldflags": Ldflags(strip=True, values=(XValue("main.version", "1"),))}, ""),
        ({"ldflags": Ldflags(flags=("-buildid=",))}, " -ldflags=-buildid="),
        ({"cgo": Cgo.STATIC}, " '-ldflags=-linkmode=external -extldflags -static'"),
        ({"unsafe": Unsafe(flags=("-o=x", "-asmflags=-S"))}, " -asmflags=-S"),
    ],
)
def test_goflags(settings: GoSettings, fields: dict[str, object], flags: str) -> None:
    found = goflags(settings, target(**fields))
    assert found == f"-trimpath -buildvcs=false -mod=readonly{flags}"
    environment = {**settings.ambient, "GOFLAGS": found}
    listed = subprocess.run(["go", "list", "unsafe"], env=environment, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr


def test_what_the_user_set_for_go_does_not_steer(settings: GoSettings, tmp_path: Path) -> None:
    ambient = {
        **settings.ambient,
        "GOCACHEPROG": "x",
        "CC": "clang",
        "GOEXPERIMENT": "y",
        "GOPRIVATE": "z",
        "HOME": "/h",
    }
    seen = {**settings.values, "GOPROXY": "https://u:secret@proxy.invalid", "GONOPROXY": "corp.invalid"}
    file = {"GOPROXY": "1", "GONOPROXY": "2", "GOPRIVATE": "3", "GOFLAGS": "4"}
    steered = GoSettings(
        toolchain=settings.toolchain, directory=settings.directory, values=seen, ambient=ambient, file=file
    )
    found = exported_environment(steered, target(), cache_dir=tmp_path)
    assert {name: found.environment[name] for name in ("GOCACHEPROG", "CC", "GOEXPERIMENT")} == {
        "GOCACHEPROG": "",
        "CC": "",
        "GOEXPERIMENT": "",
    }
    assert found.environment["GONOPROXY"] == "corp.invalid"
    assert found.withheld == ("GOPROXY",)
    assert not found.environment.keys() & {*WALLS, "PATH", "GOPRIVATE"}
    assert list(found.environment) == sorted(found.environment)


def test_path_only_where_go_or_zig_would_not_be_found(settings: GoSettings, tmp_path: Path) -> None:
    nowhere = GoSettings(
        toolchain=settings.toolchain,
        directory=settings.directory,
        values=settings.values,
        ambient={**settings.ambient, "PATH": "/nonexistent"},
        file={},
    )
    found = exported_environment(nowhere, target(), cache_dir=tmp_path).environment
    assert found["PATH"] == f"{settings.toolchain.goroot}/bin:/nonexistent"
    static = exported_environment(settings, target(cgo=Cgo.STATIC), cache_dir=tmp_path).environment
    assert static["PATH"].endswith(f":{settings.ambient['PATH']}")
    assert static["CC"].startswith("zig cc")
    assert static["SOURCE_DATE_EPOCH"] == "0"


@pytest.mark.real
def test_nothing_to_compile_here(choosy, imagekit) -> None:
    (choosy / "imagekit.yaml").write_text("version: 1\nbuilds: [{id: app, main: example.org/mod/cmd/app@v1.2.3}]\n")
    done = imagekit("env", "--target", "linux/amd64", cwd=choosy)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing there is compiled from source here" in done.stderr
