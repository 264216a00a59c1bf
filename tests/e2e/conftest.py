"""The whole tool on real Go source: run as a user would, in a process of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
Imagekit = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder builds with a real Go."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that outlives one test, so that a C library is compiled once a machine, not once a test."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imagekit-tests"
    kept.mkdir(parents=True, exist_ok=True)
    return kept


@pytest.fixture(scope="session")
def imagekit(shared_cache: Path) -> Imagekit:
    """Run `imagekit …` in a folder; the completed process, whatever its exit code."""

    def run(
        *words: str | Path, cwd: Path, cache: Path | None = None, timeout: float = 900, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if k not in ("GOFLAGS", "SOURCE_DATE_EPOCH")}
        return subprocess.run(
            [sys.executable, "-m", "imagekit", *map(str, words)],
            cwd=cwd,
            env={**inherited, "XDG_CACHE_HOME": str(cache or shared_cache), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a module of fixtures/, by default as a committed git repository."""

    def copy(name: str, into: str = "module", *, git: bool = True) -> Path:
        place = tmp_path / into
        shutil.copytree(FIXTURES / name, place, ignore=shutil.ignore_patterns("dist", ".dist.imagekit"))
        if git:
            _commit(place)
        return place

    return copy


@pytest.fixture
def project(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Write a module of one's own from its files, and commit it."""

    def write(files: dict[str, str]) -> Path:
        place = tmp_path / "project"
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(content)
        _commit(place)
        return place

    return write


@pytest.fixture(scope="session")
def built(imagekit: Imagekit, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a copy of fixtures/hello whose image goes to another repository: engines tell it from all others."""

    def build(repository: str) -> Path:
        place = tmp_path_factory.mktemp("hello") / "module"
        shutil.copytree(FIXTURES / "hello", place, ignore=shutil.ignore_patterns("dist", ".dist.imagekit"))
        config = place / "imagekit.yaml"
        config.write_text(config.read_text().replace("registry.example/team/hello", repository))
        _commit(place)
        done = imagekit("build", cwd=place)
        assert done.returncode == 0, done.stderr
        return place

    return build


@pytest.fixture(scope="session")
def own_name() -> str:
    """A word that no other worker of this session has: they share one engine."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.fixture(scope="session")
def hello(built: Callable[[str], Path], own_name: str) -> Path:
    """fixtures/hello, committed and built: `dist/` inside is complete. Read only."""
    return built(f"registry.example/{own_name}/hello")


@pytest.fixture(scope="session")
def loaded(hello: Path, imagekit: Imagekit, docker_engine: str) -> Iterator[str]:
    """The id that `imagekit build --load` of fixtures/hello printed."""
    done = imagekit("build", "--load", cwd=hello)
    assert done.returncode == 0, done.stderr
    yield done.stdout.removesuffix("\n")
    subprocess.run(["docker", "rmi", "--force", done.stdout.strip()], check=False, capture_output=True)


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """A function from a tree to every file's mode and SHA-256."""
    return _digests


def _commit(place: Path) -> None:
    """Make `place` a repository with one commit, whose time and author are always the same."""
    fixed = {"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", "-C", str(place), *words], check=True, env=os.environ | fixed)


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{path.stat().st_mode & 0o777:o} {_sha256(path)}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
