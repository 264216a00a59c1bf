"""Dockerfiles and the bake file: golden texts, and the compile script run by a real shell with a real Go."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagekit.audit.needs import Need, Piece
from imagekit.content import hash_file
from imagekit.errors import ConfigError
from imagekit.image.assemble import Assembled
from imagekit.image.compiling import SourceStep, script_lines, source_step
from imagekit.image.dockerfile import bake_file, bake_target, scratch_dockerfile, source_dockerfile
from imagekit.image.kept import LayerCache
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import Program
from imagekit.oci.store import Memory
from imagekit.platform import Platform
from imagekit.targets.target import Cgo, Ldflags, Target, XValue
from imagekit.text import dockerfile_word

MakeProgram = Callable[..., Program]
MakeImage = Callable[..., Assembled]
Golden = Callable[[str, str], None]
HOSTILE = "x y$z ${HOME} $(id) `id` \"q' \\ \\n # <<EOF %{x} é"
GOLDEN = Path(__file__).parent / "golden"
NOTHING = tuple(Need(piece, False, "not linked") for piece in Piece)


def recipe(**fields: Any) -> Recipe:
    return msgspec.convert({"id": "app", "build": "app", **fields}, Recipe)


FULL = recipe(
    repository="registry.example/team/app",
    tags=["1.4.0", "latest"],
    env={"MODE": "production"},
    labels={"team": "x"},
    healthcheck=["/app", "health"],
)
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


def target(platform: str, **fields: Any) -> Target:
    parsed = Platform.parse(platform)
    return Target(build="app", platform=parsed, main="./cmd/app", **fields)


def step(platform: str, *, buildvcs: bool = True, **fields: Any) -> SourceStep:
    return source_step(target(platform, **fields), mode="readonly", buildvcs=buildvcs)


def test_scratch(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    made = image(Memory(), FULL, list(map(program, PLATFORMS)))
    golden("Dockerfile.app", scratch_dockerfile(FULL, made))


def test_scratch_without_a_root_file_system(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    """An empty tar would be copied as a file instead of unpacked."""
    made = image(Memory(), recipe(), [program("linux/arm/v7", found=NOTHING), program("linux/arm/v6", found=NOTHING)])
    golden("Dockerfile.bare", scratch_dockerfile(recipe(), made))


def test_scratch_with_hostile_values(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    """Nothing in a value is expanded, ends its quotes or begins a line of its own."""
    hostile = recipe(
        env={"A": HOSTILE, "B": "ends with\\"},
        labels={'key $x "q': HOSTILE},
        entrypoint=["/app", HOSTILE],
        healthcheck=["/app", "$HOME"],
        workdir="/a b/$c",
    )
    made = image(Memory(), hostile, [program(name="a'$b", platform="linux/amd64")])
    golden("Dockerfile.hostile", scratch_dockerfile(hostile, made))


def test_source(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    made = image(Memory(), FULL, list(map(program, PLATFORMS)))
    steps = (
        step("linux/amd64", level="v2", tags=("netgo", "systemd"), ldflags=Ldflags(strip=True)),
        step("linux/arm64", flags=("-buildmode=exe",), env=(("GODEBUG", "http2client=0"),)),
        step("linux/arm/v7", ldflags=Ldflags(values=(XValue("main.version", "it's $1 <<EOF"),)), directory="sub dir"),
    )
    golden("Dockerfile.app.source", source_dockerfile(FULL, made, steps, go_version="go1.26.8"))


def test_source_of_a_published_module(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    made = image(Memory(), recipe(), [program()])
    published = source_step(
        target("linux/amd64"), mode="readonly", buildvcs=False, module="example.org/mod@v1.2.3", package="./cmd/app"
    )
    text = source_dockerfile(recipe(), made, (published,), go_version="go1.27rc1", output="out")
    golden("Dockerfile.published.source", text)


def test_source_with_c(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    made = image(Memory(), recipe(), [program()])
    text = source_dockerfile(recipe(), made, (step("linux/amd64", cgo=Cgo.STATIC),), go_version="devel +abc")
    golden("Dockerfile.cgo.source", text)


def test_source_with_a_value_of_two_lines(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    made = image(Memory(), recipe(), [program()])
    values = (XValue("main.text", "one\ntwo"),)
    text = source_dockerfile(
        recipe(), made, (step("linux/amd64", ldflags=Ldflags(values=values)),), go_version="go1.26.8"
    )
    golden("Dockerfile.lines.source", text)


def test_bake(program: MakeProgram, image: MakeImage, golden: Golden) -> None:
    app = image(Memory(), FULL, list(map(program, PLATFORMS)))
    dotted, underscored = recipe(id="a.b", tags=["${x} %{y}"]), recipe(id="a_b")
    images = [
        bake_target(FULL, app),
        bake_target(dotted, msgspec.structs.replace(app, name="a.b")),
        bake_target(underscored, msgspec.structs.replace(app, name="a_b")),
    ]
    golden("docker-bake.hcl", bake_file(images))


def test_kept_texts_are_the_same(program: MakeProgram, image: MakeImage, cache: LayerCache) -> None:
    made = image(Memory(), FULL, [program()])
    fresh = scratch_dockerfile(FULL, made)
    assert scratch_dockerfile(FULL, made, cache) == scratch_dockerfile(FULL, made, cache) == fresh


def test_values_that_no_dockerfile_line_can_hold(image: MakeImage) -> None:
    with pytest.raises(ConfigError, match="control character"):
        image(Memory(), recipe(labels={"a": "b\nFROM evil"}))


MAIN = """package main

import "fmt"

var version, text string

func main() { fmt.Printf("%s|%s|%v", version, text, tagged) }
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module whose program prints two -X values and whether a tag was set."""
    folder = tmp_path / "sub dir"
    (folder / "cmd/app").mkdir(parents=True)
    (folder / "go.mod").write_text("module example.org/app\n\ngo 1.24\n")
    (folder / "cmd/app/main.go").write_text(MAIN)
    (folder / "cmd/app/on.go").write_text("//go:build special\n\npackage main\n\nconst tagged = true\n")
    (folder / "cmd/app/off.go").write_text("//go:build !special\n\npackage main\n\nconst tagged = false\n")
    return folder


def run_script(
    steps: tuple[SourceStep, ...], module: Path, platform: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the RUN line of Dockerfile.app.source as docker's shell would, with /out in the module's folder."""
    system, architecture, variant = [*platform.split("/"), ""][:3]
    script = "\n".join(script_lines(steps)).replace("/out/", f"{module.parent}/out/")
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=module.parent,
        env={
            **{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "GOCACHE", "GOMODCACHE")},
            "TARGETOS": system,
            "TARGETARCH": architecture,
            "TARGETVARIANT": variant,
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.real
def test_the_script_compiles_what_go_build_would(module: Path) -> None:
    values = (XValue("main.version", "it's $HOME `id`"), XValue("main.text", "one\ntwo"))
    settings: dict[str, Any] = {
        "tags": ("special",),
        "ldflags": Ldflags(strip=True, values=values),
        "directory": "sub dir",
    }
    steps = tuple(step(platform, buildvcs=False, **settings) for platform in ("linux/arm/v7", "linux/amd64"))
    done = run_script(steps, module, "linux/amd64")
    assert done.returncode == 0, done.stderr
    built = module.parent / "out/app"
    shown = subprocess.run([built], capture_output=True, text=True, check=True).stdout
    assert shown == "it's $HOME `id`|one\ntwo|true"
    go = shutil.which("go")
    assert go
    again = [str(module.parent / "again") if word == "/out/app" else word for word in steps[1].argv]
    environment = {**os.environ, **dict(steps[1].environment)}
    subprocess.run([go, *again[1:]], cwd=module, env=environment, check=True)
    assert hash_file(module.parent / "again") == hash_file(built)


@pytest.mark.real
def test_the_script_compiles_for_the_platform_it_is_asked_for(module: Path) -> None:
    steps = tuple(step(p, buildvcs=False, directory="sub dir") for p in ("linux/amd64", "linux/arm/v7"))
    assert run_script(steps, module, "linux/arm/v7").returncode == 0
    shown = subprocess.run(["go", "version", "-m", module.parent / "out/app"], capture_output=True, check=True).stdout
    assert re.findall(rb"GO(?:ARCH|ARM)=(\w+)", shown) == [b"arm", b"7"]
    refused = run_script(steps, module, "linux/s390x")
    assert refused.returncode == 1
    assert "no target for this platform" in refused.stderr


@pytest.mark.real
def test_the_script_compiles_a_published_module(tmp_path: Path) -> None:
    """From a module proxy made of files: no network, the same commands."""
    versions = tmp_path / "proxy/example.org/!up/@v"
    versions.mkdir(parents=True)
    go_mod = "module example.org/Up\n\ngo 1.24\n"
    (versions / "v1.2.3.mod").write_text(go_mod)
    (versions / "v1.2.3.info").write_text('{"Version": "v1.2.3"}')
    with zipfile.ZipFile(versions / "v1.2.3.zip", "w") as archive:
        archive.writestr("example.org/Up@v1.2.3/go.mod", go_mod)
        archive.writestr(
            "example.org/Up@v1.2.3/cmd/app/main.go", 'package main\n\nfunc main() { print("published") }\n'
        )
    published = source_step(
        target("linux/amd64"), mode="readonly", buildvcs=False, module="example.org/Up@v1.2.3", package="./cmd/app"
    )
    (tmp_path / "work").mkdir()
    done = run_script(
        (published,),
        tmp_path / "work",
        "linux/amd64",
        GOPROXY=f"file://{tmp_path}/proxy",
        GOSUMDB="off",
        GOMODCACHE=str(tmp_path / "cache"),
        GOFLAGS="-modcacherw",
    )
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "out/app"], capture_output=True, check=True).stderr == b"published"


THEIR_OWN = {"Dockerfile.hostile": ["DL3048 style: Invalid label key."]}
"""What is found in values that a user would have to write."""


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("Dockerfile*")))
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", GOLDEN / name], check=False, capture_output=True, text=True)
    found = [line.partition(" ")[2] for line in (done.stdout + done.stderr).splitlines()]
    assert found == THEIR_OWN.get(name, [])


WORDS = {
    "ends with\\": '"ends with"\\\\""',
    "two\\\\": '"two"\\\\\\\\""',
    'in\\"side': '"in"\\\\"\\"side"',
    "in\\side": '"in\\\\side"',
    'quoted "$x"': '"quoted \\"\\$x\\""',
    "\\": '""\\\\""',
}


@pytest.mark.parametrize("text", WORDS)
def test_a_backslash_before_a_quote_stands_outside_of_the_quotes(text: str) -> None:
    assert dockerfile_word(text) == WORDS[text]
