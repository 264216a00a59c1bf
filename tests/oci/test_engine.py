"""Against a real docker engine: what is loaded runs, and what breaks on the way is not there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagekit.errors import IntegrityError, StoppedError, ToolError, UsageError
from imagekit.oci.documents import Descriptor
from imagekit.oci.engine import DockerEngine, find_engine
from imagekit.oci.hybrid import NamedImage, pieces, plan
from imagekit.oci.store import Layout
from imagekit.workers import Cancellation

pytestmark = pytest.mark.real


@pytest.fixture
def engine(docker_engine: str) -> Iterator[DockerEngine]:
    with DockerEngine.from_environment() as found:
        yield found


def archive(layout: Layout, image: Descriptor, *names: str) -> Iterator[bytes]:
    return pieces(plan(layout, [NamedImage(image, "app", names)]), layout)


def test_what_is_loaded_runs_by_the_id_that_load_gives(engine, program_image):
    layout, image = program_image
    names = ("registry.example/engine:1", "registry.example/engine:2")
    (loaded,) = engine.load(archive(layout, image, *names))
    ran = subprocess.run(["docker", "run", "--rm", loaded.id], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("it runs\n", 0), ran.stderr
    assert sorted(loaded.names) == sorted(names)
    assert engine.image_id(names[1]) == loaded.id


def test_loading_again_gives_the_same_id(engine, program_image):
    layout, image = program_image
    first, again = (engine.load(archive(layout, image, "registry.example/again:1")) for _ in range(2))
    assert first == again


def test_the_engine_tells_what_it_is(engine):
    told = engine.version()
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}} {{.Server.APIVersion}} {{.Server.Os}}/{{.Server.Arch}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{told.version} {told.api} {told.platform}" == asked.stdout.strip()


BREAKS = {
    "bytes that fail their check": (IntegrityError("not what was verified"), IntegrityError),
    "a stop": (StoppedError("interrupted", exit_code=130), StoppedError),
}


@pytest.mark.parametrize(("error", "kind"), BREAKS.values(), ids=BREAKS)
def test_an_archive_that_breaks_off_is_not_loaded(engine, program_image, error, kind):
    layout, image = program_image

    def broken() -> Iterator[bytes]:
        whole = list(archive(layout, image, "registry.example/broken:1"))
        yield from whole[:-2]
        raise error

    with pytest.raises(kind) as raised:
        engine.load(broken())
    assert raised.value is error
    with pytest.raises(ToolError, match="has no image"):
        engine.image_id("registry.example/broken:1")


def test_a_thrown_switch_stops_the_load(engine, program_image):
    layout, image = program_image
    cancellation = Cancellation()
    cancellation.stop(StoppedError("timed out", exit_code=124))
    with pytest.raises(StoppedError):
        engine.load(archive(layout, image, "registry.example/late:1"), cancellation=cancellation)


@pytest.mark.parametrize("content", [[], [b"not a tar" * 1000]], ids=["nothing", "garbage"])
def test_what_is_no_archive_is_refused_with_the_engines_words(engine, content):
    with pytest.raises(ToolError, match="did not load"):
        engine.load(content)


def test_no_engine_is_an_error_with_the_way_out(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(ToolError, match="no docker engine answers") as raised:
        find_engine()
    assert "DOCKER_HOST" in raised.value.hint


def test_an_engine_nobody_knows_is_a_usage_error():
    with pytest.raises(UsageError, match="'lxc'"):
        find_engine("lxc")


def test_the_context_of_the_docker_command_is_followed(
    docker_engine: str, monkeypatch, tmp_path: Path, docker_context: Callable[[str, str], None]
):
    docker_context("elsewhere", docker_engine)
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    with DockerEngine.from_environment() as found:
        assert found.version().name == "docker"
