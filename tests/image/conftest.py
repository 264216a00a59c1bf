"""Programs, recipes and stores for the image room; `--renew-golden` rewrites the golden files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from imagekit.audit.needs import Need, needs
from imagekit.cancellation import Cancellation
from imagekit.content import hash_file
from imagekit.golang.arch import default_level
from imagekit.image.assemble import Assembled, assemble
from imagekit.image.kept import LayerCache
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import Program
from imagekit.image.words import Origin
from imagekit.oci.blobs import BlobStore
from imagekit.platform import Platform
from imagekit.workers import Workers

GOLDEN = Path(__file__).parent / "golden"
CREATED = 1700000000
ORIGIN = Origin(version="1.4.0", revision="c0ffee", source="https://git.example/team/app")

MakeProgram = Callable[..., Program]
MakeImage = Callable[..., Assembled]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of that name, or rewrite the file with --renew-golden."""

    def compare(name: str, text: str) -> None:
        if request.config.getoption("--renew-golden"):
            (GOLDEN / name).write_text(text, encoding="utf-8")
        assert text == (GOLDEN / name).read_text(encoding="utf-8")

    return compare


@pytest.fixture
def cache(tmp_path: Path) -> LayerCache:
    return LayerCache(tmp_path / "cache")


@pytest.fixture
def program(tmp_path: Path) -> MakeProgram:
    """A file in dist/bin that stands for a built program; its content names its platform."""

    def make(
        platform: str = "linux/amd64",
        *,
        level: str | None = None,
        name: str = "app",
        found: tuple[Need, ...] | None = None,
    ) -> Program:
        requested = Platform.parse(platform)
        path = tmp_path / "dist" / "bin" / requested.slug / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"program for {platform}\n".encode() * 1000)
        digest, size = hash_file(path)
        chosen = default_level(requested.architecture) if level is None else level
        if requested.architecture == "arm":
            chosen = requested.variant.removeprefix("v")
        return Program(
            platform=Platform(requested.os, requested.architecture),
            level=chosen,
            path=path,
            digest=digest,
            size=size,
            name=name,
            requested=requested,
            needs=needs(None) if found is None else found,
        )

    return make


@pytest.fixture
def image(tmp_path: Path, cache: LayerCache, program: MakeProgram) -> MakeImage:
    """Assemble a recipe with the defaults of these tests."""

    def make(
        store: BlobStore,
        recipe: Recipe,
        programs: Sequence[Program] = (),
        *,
        root: Path = tmp_path,
        kept: LayerCache = cache,
        variant: str = "",
        created: int = CREATED,
        jobs: int = 2,
    ) -> Assembled:
        chosen = programs or (program("linux/amd64"), program("linux/arm64"))
        return assemble(
            store,
            recipe,
            chosen,
            created=created,
            origin=ORIGIN,
            root=root,
            cache=kept,
            workers=Workers(jobs, Cancellation()),
            variant=variant,
        )

    return make


_PROGRAMS = {
    "hello": 'package main\nimport ("fmt"; "time")\nfunc main() { fmt.Println("hi", time.Now()) }\n',
    "https": 'package main\nimport "net/http"\nfunc main() { http.Get("https://localhost") }\n',
    "dial": 'package main\nimport "net"\nfunc main() { net.Dial("tcp", "localhost:80") }\n',
    "zones": 'package main\nimport "time"\nfunc main() { time.LoadLocation("Europe/Berlin") }\n',
    "own_zones": 'package main\nimport ("time"; _ "time/tzdata")\nfunc main() { time.LoadLocation("UTC") }\n',
    "user": 'package main\nimport "os/user"\nfunc main() { user.Current() }\n',
    "tempdir": 'package main\nimport "os"\nfunc main() { println(os.TempDir()) }\n',
    "tempfile": 'package main\nimport "os"\nfunc main() { os.CreateTemp("", "x") }\n',
}


@pytest.fixture(scope="session")
def go_programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small real programs, stripped, each with one need of a root file system."""
    module = tmp_path_factory.mktemp("needs")
    (module / "go.mod").write_text("module example.org/needs\n\ngo 1.24\n")
    for name, source in _PROGRAMS.items():
        (module / name).mkdir()
        (module / name / "main.go").write_text(source)
    go = shutil.which("go")
    assert go, "the go command is needed"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOOS": "linux", "GOFLAGS": "", "GOWORK": "off"}
    subprocess.run(
        [go, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "bin/", "./..."],
        cwd=module,
        env=environment,
        check=True,
    )
    return {name: module / "bin" / name for name in _PROGRAMS}
