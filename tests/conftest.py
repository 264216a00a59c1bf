"""What every room's tests share: foreign tools, engines that are started at most once, and registries in containers."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import docker
import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

_OWN = "IMAGEKIT_TEST_ENGINE"
"""The folder, known to every worker of a session, where an engine of our own lives."""
_SYSTEM = "unix:///var/run/docker.sock"
_START, _STOP = 60.0, 30.0
Peer = Callable[[str], Path]

REGISTRIES = """version: 1
builds:
  - {id: registry, prebuilt: registry, platforms: [linux/amd64]}
  - {id: referrers, prebuilt: referrers, platforms: [linux/amd64]}
  - {id: distribution, prebuilt: distribution, platforms: [linux/amd64]}
images:
  - {id: registry, build: registry}
  - {id: referrers, build: referrers}
  - {id: distribution, build: distribution, rootfs: {tmp: true, files: [{from: config.yml, to: /etc/}]}}
archives: []
sbom: []
"""
DISTRIBUTION = """version: 0.1
storage: {filesystem: {rootdirectory: /tmp/registry}}
http: {addr: "127.0.0.1:0"}
"""
"""All else it is told by its environment."""
COMMANDS: dict[str, list[str]] = {
    "registry": ["-port", "0"],
    "referrers": [],
    "distribution": ["serve", "/etc/config.yml"],
}
"""In the order of the images above."""
LISTENS = re.compile(r"(?:serving on port |listening on 127\.0\.0\.1:)(\d+)")
POLL = 0.05


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="rewrite golden files from what is made now")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[_OWN] = tempfile.mkdtemp(prefix="imagekit-engine-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _stop_own(Path(os.environ.pop(_OWN)))


@pytest.fixture(scope="session")
def peer() -> Peer:
    """The path of a foreign tool by its name; a missing one is an error that says how to get it, never a skip."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagekit-peers"
    root = Path(os.environ.get("IMAGEKIT_PEERS") or cache)
    places = os.pathsep.join([str(root / "bin"), str(root), os.environ["PATH"], "/usr/sbin", "/sbin"])

    def find(name: str) -> Path:
        found = shutil.which(name, path=places)
        if found is None:
            raise FileNotFoundError(f"{name} is not here: run `make oracles engine`, or set IMAGEKIT_PEERS")
        return Path(found)

    return find


@pytest.fixture(scope="session")
def docker_engine(peer: Peer) -> Iterator[str]:
    """The address of a docker engine, also in `DOCKER_HOST`: the one that runs here, else one of the session's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DOCKER_CONTEXT", raising=False)
        address = os.environ.get("DOCKER_HOST") or _SYSTEM
        if not _answers(address):
            address = _own_engine(peer)
        patch.setenv("DOCKER_HOST", address)
        yield address


@pytest.fixture(scope="session")
def podman_engine(peer: Peer) -> Iterator[str]:
    """The address of a podman service of this worker's own, also in `CONTAINER_HOST`."""
    home = Path(tempfile.mkdtemp(prefix="imagekit-podman-"))
    address = f"unix://{home}/socket"
    command = [peer("podman"), "--root", home / "root", "--runroot", home / "run", "--storage-driver", "vfs"]
    # crun wants control groups of one version alone, and podman's default wants systemd
    command += ["--runtime", peer("runc"), "--cgroup-manager", "cgroupfs"]
    with (home / "log").open("wb") as log:
        service = subprocess.Popen([*command, "system", "service", "--time=0", address], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START
        while not _answers(address):
            assert service.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, "podman does not answer"
            time.sleep(0.05)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONTAINER_HOST", address)
            yield address
    finally:
        service.terminate()
        service.wait(_STOP)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def plug_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the distribution of tests/plug_in, which brings the engines careless-docker and careless-podman."""
    place = tmp_path_factory.mktemp("plug-in")
    words = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(place)]
    subprocess.run([sys.executable, *words, Path(__file__).with_name("plug_in")], check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        yield


class Served:
    """A registry in a container of the docker engine: `host` is `127.0.0.1:port`, `log()` all that it said so far."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self.port = LISTENS.findall(self.log())[0]
        self.host = f"127.0.0.1:{self.port}"

    def log(self) -> str:
        return b"".join(self._container.get_logs()).decode()


@pytest.fixture(scope="session")
def registry_images(docker_engine: str, peer: Peer) -> dict[str, str]:
    """Kind -> id of the image that imagekit made of a registry's program and loaded; once a session."""
    home = Path(os.environ[_OWN])
    ids = home / "registries"
    with _locked(home / "registries.lock"):
        if not ids.exists():
            place = Path(tempfile.mkdtemp(dir=home))
            (place / "imagekit.yaml").write_text(REGISTRIES)
            (place / "config.yml").write_text(DISTRIBUTION)
            for kind in COMMANDS:
                (place / kind).symlink_to(peer(kind))
            ids.write_text(_built_and_loaded(place))
    return dict(zip(COMMANDS, ids.read_text().split(), strict=True))


def _built_and_loaded(place: Path) -> str:
    words = [sys.executable, "-m", "imagekit", "build", "--load", "--cache-dir", place / "cache"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def contained(registry_images: dict[str, str]) -> Callable[..., AbstractContextManager[Served]]:
    """Run a registry in a container, by testcontainers, on loopback only: `registry` (go-containerregistry's),
    `referrers` (the same, with the referrers API) or `distribution`.

    `folder` is read only there, under its own name; `image` is another image of the same kind; the rest is environment.
    """

    @contextmanager
    def run(kind: str, folder: Path | None = None, image: str = "", **environment: str) -> Iterator[Served]:
        # the first listens on loopback and nowhere else: both share this machine's network
        made = DockerContainer(image or registry_images[kind], network_mode="host")
        made.with_command(COMMANDS[kind]).with_envs(**environment)
        if folder:
            made.with_volume_mapping(str(folder), str(folder), "ro").with_kwargs(network_mode="host", user="0:0")
        testcontainers_config.ryuk_disabled = True  # the reaper is an image that cannot be pulled
        with made.waiting_for(LogMessageWaitStrategy(LISTENS).with_poll_interval(POLL)):
            yield Served(made)

    return run


def _own_engine(peer: Peer) -> str:
    """Start dockerd unless another worker of this session did; its address once it answers."""
    home = Path(os.environ[_OWN])
    address = f"unix://{home}/docker.sock"
    with _locked(home / "lock"):
        if not _answers(address):
            _start(peer("dockerd"), home, address)
    return address


def _start(dockerd: Path, home: Path, address: str) -> None:
    if os.geteuid() != 0:
        raise PermissionError("no docker engine answers, and only root can start one: start it, or set DOCKER_HOST")
    words = [dockerd, "--data-root", home / "root", "--exec-root", home / "exec", "-p", home / "pid", "-H", address]
    # where iptables and runc stand on Debian
    environment = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    with (home / "log").open("wb") as log:
        started = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, env=environment)
    deadline = time.monotonic() + _START
    while not _answers(address):
        if started.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"dockerd did not start:\n{(home / 'log').read_text()[-4000:]}")
        time.sleep(0.2)


def _answers(address: str) -> bool:
    try:
        client = docker.DockerClient(base_url=address, timeout=10)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (docker.errors.DockerException, OSError):
        return False


def _stop_own(home: Path) -> None:
    """End the engine that this session started, by its pid, and remove all that it kept."""
    pid_file = home / "pid"
    if pid_file.exists():
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        _unmount(home)
    shutil.rmtree(home, ignore_errors=True)


def _runs(pid: int) -> bool:
    """Whether it is a process still; a zombie, whose parent was a worker, is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _unmount(home: Path) -> None:
    mounts = [entry.split()[1] for entry in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{home}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
