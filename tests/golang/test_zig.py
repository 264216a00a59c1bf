import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import ConfigError, ToolError
from imagekit.golang import zig
from imagekit.golang.environments import compile_environment
from imagekit.golang.settings import GoSettings
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Target


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ziglang package whose program is never started here."""
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "zig").write_text("")
    monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
    monkeypatch.delitem(sys.modules, "ziglang", raising=False)
    return package


@pytest.mark.parametrize(
    ("text", "level", "name"),
    [
        ("linux/amd64", "", "x86_64-linux-musl"),
        ("linux/arm64", "", "aarch64-linux-musl"),
        ("linux/386", "", "x86-linux-musl"),
        ("linux/arm/v7", "", "arm-linux-musleabihf"),
        ("linux/arm/v6", "", "arm-linux-musleabihf"),
        ("linux/arm/v6", "6,softfloat", "arm-linux-musleabi"),
        ("linux/arm/v5", "", "arm-linux-musleabi"),
        ("linux/ppc64le", "", "powerpc64le-linux-musl"),
        ("linux/riscv64", "", "riscv64-linux-musl"),
        ("linux/s390x", "", "s390x-linux-musl"),
    ],
)
def test_zigs_name_of_a_platform(text: str, level: str, name: str) -> None:
    assert zig.triple(Platform.parse(text), level) == name


@pytest.mark.parametrize("text", ["windows/amd64", "darwin/arm64", "linux/sparc64"])
def test_a_platform_out_of_reach(text: str) -> None:
    with pytest.raises(ConfigError, match="does not reach"):
        zig.triple(Platform.parse(text))


def test_the_compiler_is_named_without_its_place(
    wheel: Path, ask: Callable[[Path], GoSettings], target: Callable[..., Target], tmp_path: Path
) -> None:
    made = target("linux/amd64/v3", cgo=Cgo.STATIC)
    environment = compile_environment(ask(tmp_path), made, cache_dir=tmp_path / "cache")
    assert environment["CC"] == "zig cc -target x86_64-linux-musl -mcpu=x86_64_v3"
    assert environment["PATH"].split(":")[0] == str(wheel)
    assert environment["ZIG_GLOBAL_CACHE_DIR"] == str(tmp_path / "cache" / "zig")
    assert (environment["CGO_ENABLED"], environment["SOURCE_DATE_EPOCH"]) == ("1", "0")


def test_without_the_wheel_the_way_out_is_the_extra(
    ask: Callable[[Path], GoSettings], target: Callable[..., Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ask(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "ziglang", raising=False)
    with pytest.raises(ToolError, match="ziglang wheel") as caught:
        compile_environment(settings, target(cgo=Cgo.STATIC), cache_dir=tmp_path)
    assert caught.value.hint == "pip install 'imagekit[cgo]'"
