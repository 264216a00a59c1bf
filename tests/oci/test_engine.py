"""Against real engines, docker and podman: what is loaded runs, and what breaks on the way is not there."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagekit.cancellation import Cancellation
from imagekit.cli.main import main
from imagekit.errors import IntegrityError, StoppedError, ToolError, UsageError
from imagekit.oci.blobs import read_verified
from imagekit.oci.docker_engine import DockerEngine
from imagekit.oci.documents import Descriptor, Index, decode_manifest
from imagekit.oci.engine import CONTRACT, Engine, find_engine, plugin_origin
from imagekit.oci.hybrid import pieces, plan
from imagekit.oci.parcel import NamedImage
from imagekit.oci.store import Layout

pytestmark = pytest.mark.real
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
"""Podman asks for more than this machine may allow."""
RUN = {
    "docker": ["docker", "run", "--rm", "--network=none"],
    "podman": ["podman", "--remote", "run", "--rm", "--network=none", *LIMITS],
}


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    request.getfixturevalue(f"{request.param}_engine")
    with closing(find_engine(request.param)) as found:
        yield found


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Install a distribution whose module gives an engine plug-in `shelf`: this text."""

    def install(text: str) -> None:
        (tmp_path / "shelf.py").write_text(text)
        information = tmp_path / "shelf_engine-2.1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf-engine\nVersion: 2.1\n")
        (information / "entry_points.txt").write_text("[imagekit.engines]\nshelf = shelf:PLUGIN\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "shelf", raising=False)

    return install


def archive(layout: Layout, image: Descriptor, *names: str) -> Iterator[bytes]:
    return pieces(plan(layout, [NamedImage(image, "app", names)]), layout)


def test_what_is_loaded_runs_by_the_id_that_load_gives(engine, program_image):
    layout, image = program_image
    names = ("registry.example/engine:1", "registry.example/engine:2")
    (loaded,) = engine.load(archive(layout, image, *names))
    ran = subprocess.run([*RUN[engine.version().name], loaded.id], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("it runs\n", 0), ran.stderr
    if engine.version().name == "docker":
        assert sorted(loaded.names) == sorted(names)
    assert set(loaded.names) <= set(names)  # podman 4.3 takes the first name of an archive and leaves the others
    assert {engine.image_id(name) for name in loaded.names} == {loaded.id}


def test_loading_again_gives_the_same_id(engine, program_image):
    layout, image = program_image
    first, again = (engine.load(archive(layout, image, "registry.example/again:1")) for _ in range(2))
    assert first == again


def test_what_is_saved_can_be_loaded_again_after_it_was_removed(engine, program_image):
    layout, image = program_image
    name = "registry.example/saved:1"
    (loaded,) = engine.load(archive(layout, image, name))
    saved = list(engine.save(name))
    engine.remove(loaded.id)
    with pytest.raises(ToolError, match="has no image"):
        engine.image_id(name)
    assert engine.load(saved)[0].id == loaded.id


def test_an_image_that_is_not_there_cannot_be_saved_or_removed(engine):
    with pytest.raises(ToolError, match=r"did not give the image registry\.example/none:1"):
        list(engine.save("registry.example/none:1"))
    with pytest.raises(ToolError, match=r"did not remove the image registry\.example/none:1"):
        engine.remove("registry.example/none:1")


def test_docker_tells_what_it_is(docker_engine):
    with closing(find_engine()) as engine:
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


def test_a_layer_that_changed_on_the_disk_is_never_an_image(engine, program_image, tmp_path: Path, capsys):
    """`image copy` reads a layer only while the engine does, and checks it then."""
    kind, name = engine.version().name, "registry.example/changed:1"
    layout, image = program_image
    own = Layout(Path(shutil.copytree(layout.path, tmp_path / "own")))
    own.set_index(Index(manifests=(image,)))
    [layer] = decode_manifest(read_verified(own, image)).layers
    content = own.blob_path(layer.digest).read_bytes()
    own.blob_path(layer.digest).write_bytes(content[:-1] + b"x")
    assert main(["image", "copy", f"oci:{own.path}", f"{kind}:{name}"]) == 5
    assert layer.digest in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(ToolError, match="has no image"):
        engine.image_id(name)


def test_a_thrown_switch_stops_the_load(engine, program_image):
    layout, image = program_image
    cancellation = Cancellation()
    cancellation.stop(StoppedError("timed out", exit_code=124))
    with pytest.raises(StoppedError):
        engine.load(archive(layout, image, "registry.example/late:1"), cancellation=cancellation)


@pytest.fixture(scope="module")
def zstd_build(tmp_path_factory: pytest.TempPathFactory, go_program: Path) -> Path:
    """A folder whose imagekit.yaml packs a program with zstd."""
    place = tmp_path_factory.mktemp("zstd")
    (place / "app").write_bytes(go_program.read_bytes() + secrets.token_bytes(16))  # docker reads no layer that it has
    (place / "app").chmod(0o755)
    (place / "imagekit.yaml").write_text(
        "version: 1\nbuilds: [{id: app, prebuilt: app, platforms: [linux/amd64]}]\n"
        "images: [{id: app, build: app, repository: registry.example/zstd, tags: [app],"
        " compression: {algorithm: zstd}}]\narchives: []\nsbom: []\n"
    )
    return place


def test_an_engine_that_is_too_old_for_zstd_is_named_with_the_way_out(
    engine, zstd_build: Path, tmp_path: Path, monkeypatch, capsys
):
    """By every command that loads; newer ones, and podman, take it."""
    monkeypatch.chdir(zstd_build)
    kind = engine.version().name
    words = ["--engine", kind, "--cache-dir", str(tmp_path)]
    done = [main(["build", "--load", *words])]
    done.append(main(["image", "copy", "oci:dist/oci:app", f"{kind}:registry.example/zstd:copied"]))
    told = [one for one in capsys.readouterr().err.splitlines() if one.startswith("imagekit: exit")]
    version = engine.version().version
    if kind == "docker" and int(version.partition(".")[0]) < 23:
        assert done == [3, 3]
        for one in told:
            assert f"docker {version} cannot read layers compressed with zstd" in one
            assert "compression: {algorithm: gzip}" in one
    else:
        assert (done, told) == ([0, 0], [])
        assert engine.image_id("registry.example/zstd:copied") == engine.image_id("registry.example/zstd:app")


class OldClient:
    """What the docker package says of an engine that refuses whatever it is given."""

    def __init__(self, version: str) -> None:
        self._version, self.api = version, SimpleNamespace(load_image=self._refuses)

    def _refuses(self, pieces: Iterator[bytes]) -> Iterator[dict[str, str]]:
        yield {"error": f"unexpected EOF after {len(list(pieces))} pieces"}

    def version(self) -> dict[str, str]:
        if not self._version:
            raise OSError("gone")
        return {"Version": self._version, "Os": "linux", "Arch": "amd64"}


ZSTD = b"\x28\xb5\x2f\xfd"
OLD_ENGINES = {
    "zstd, old docker": ("docker", "20.10.24+dfsg1", [bytes(512), ZSTD], True),
    "zstd within a piece": ("docker", "22.06.0-beta", [bytes(700), bytes(324) + ZSTD], True),
    "bytes that only look so": ("docker", "20.10.24", [bytes(700), ZSTD, ZSTD + bytes(500)], False),
    "gzip": ("docker", "20.10.24", [bytes(512), b"\x1f\x8b"], False),
    "a docker that reads it": ("docker", "23.0.1", [ZSTD], False),
    "podman": ("podman", "4.3.1", [ZSTD], False),
    "no number": ("docker", "dev", [ZSTD], False),
    "no version at all": ("docker", "", [ZSTD], False),
}


@pytest.mark.parametrize(("name", "version", "given", "hinted"), OLD_ENGINES.values(), ids=OLD_ENGINES)
def test_zstd_is_blamed_where_it_can_be_the_reason(name, version, given, hinted):
    with pytest.raises(ToolError, match=f"unexpected EOF after {len(given)} pieces") as raised:
        DockerEngine(OldClient(version), name).load(given)
    assert ("zstd" in raised.value.hint) is hinted


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


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("unix:///nowhere", "No such file or directory"),
        ("ssh://127.0.0.1", "Install paramiko package to enable ssh:// support"),
    ],
)
def test_why_no_engine_answers_is_said_in_plain_words(monkeypatch, address, said):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(ToolError) as raised:
        find_engine("docker")
    assert raised.value.message == f"no docker engine answers: {said}"
    assert raised.value.hint == f"check DOCKER_HOST ({address})"


def test_an_engine_nobody_knows_is_a_usage_error():
    with pytest.raises(UsageError, match="'lxc'"):
        find_engine("lxc")


def test_the_context_of_the_docker_command_is_followed(
    docker_engine: str, monkeypatch, docker_context: Callable[[str, str], None]
):
    docker_context("elsewhere", docker_engine)
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    with DockerEngine.from_environment() as found:
        assert found.version().name == "docker"


def test_a_plug_in_is_found_by_its_name_and_its_origin_is_known(plug_in: None, docker_engine: str):
    with closing(find_engine("careless-docker")) as found:
        assert (type(found).__name__, found.version().name) == ("Careless", "docker")
    origin = plugin_origin("careless-docker")
    assert (origin.name, origin.distribution, origin.version) == ("careless-docker", "careless-engine", "2.1")
    assert plugin_origin("podman").distribution == "imagekit"


REFUSED = {
    "another contract": ("class PLUGIN: contract = 99", f"written for contract 99, and this imagekit has {CONTRACT}"),
    "no contract": ("PLUGIN = object()", "written for contract None"),
    "broken": ("raise RuntimeError('half installed')", "cannot be loaded: half installed"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_a_plug_in_that_does_not_fit_is_refused_with_a_sentence(plugin, text, words):
    plugin(text)
    with pytest.raises(ToolError, match=words) as raised:
        find_engine("shelf")
    assert "shelf-engine" in str(raised.value)


def test_a_plug_in_that_is_not_named_is_not_loaded(plugin):
    plugin("raise SystemExit('loaded')")
    with pytest.raises(UsageError, match="'lxc'") as raised:
        find_engine("lxc")
    assert "shelf" in raised.value.hint
