"""Copies that are killed, ten seeded times for each kind: nothing half is shown, and the next run ends.

The moments are spread over the time that the same copy takes when nobody kills it.
"""

from __future__ import annotations

import io
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import digest_of
from imagekit.errors import ToolError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, put
from imagekit.oci.copy import missing
from imagekit.oci.engine import find_engine
from imagekit.oci.looking import examine
from imagekit.oci.opening import open_parcel
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected
from imagekit.oci.sending import send
from imagekit.oci.store import Layout
from imagekit.oci.trees import runnables, walk
from imagekit.oci.words import parse

pytestmark = pytest.mark.real
SEED = 20261130
POINTS = 10
FILES, SERVICES = (40, 350_000), (3, 1_500_000)
"""Layers, and bytes of each, of the image that goes into files; and of the one for an engine and registries, which are
slower."""

COPIER = """
import os, sys

import docker, urllib3
from imagekit.cli import image
from imagekit.cli.main import main
from imagekit.oci import choosing, docker_engine, opening, registry, saved, sending

nothing = os.open(os.devnull, os.O_WRONLY)
for words in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(nothing, 1)
        os._exit(main(["image", "copy", *words.split()]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""`imagekit image copy` again and again, each in a process of its own, of which none spends its time on imports."""


class Copier:
    """Runs copies to their end, or to a moment."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", COPIER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, source: str, to: str, seconds: float | None = None) -> tuple[int, float]:
        """The exit code, -9 of a copy that was killed before its end, and how many seconds it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{source} {to}\n")
        self._process.stdin.flush()
        child, began = int(self._process.stdout.readline()), time.monotonic()
        if seconds is not None:
            time.sleep(seconds)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self._process.stdout.readline()), time.monotonic() - began

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def copier() -> Iterator[Copier]:
    with closing(Copier()) as started:
        yield started


@pytest.fixture(scope="module")
def image_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], tuple[Layout, doc.Descriptor]]:
    """A layout with an image `app` of so many layers of such a size for two platforms; made once."""
    return cache(lambda count, size: make(tmp_path_factory.mktemp("image") / "layout", count, size))


def make(folder: Path, count: int, size: int) -> tuple[Layout, doc.Descriptor]:
    layout, noise = Layout.create(folder, durable=False), random.Random(SEED)
    manifests = []
    for name in ("amd64", "arm64"):
        layers = tuple(put(layout, tar_of(noise.randbytes(size)), doc.LAYER_TAR) for _ in range(count))
        rootfs = doc.RootFS(diff_ids=tuple(layer.digest for layer in layers))
        config = put(layout, doc.encode(doc.ImageConfig(architecture=name, os="linux", rootfs=rootfs)), doc.CONFIG)
        manifests.append(put(layout, doc.encode(doc.Manifest(config=config, layers=layers)), doc.MANIFEST))
    image = put(layout, doc.encode(doc.Index(manifests=tuple(manifests))), doc.INDEX)
    layout.set_index(doc.Index(manifests=(msgspec.structs.replace(image, annotations={doc.REF_NAME: "app"}),)))
    return layout, image


def tar_of(content: bytes) -> bytes:
    """A layer with one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(f"file-{digest_of(content)[7:15]}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


class Place:
    """Where copies of one kind go, anew for each: `word` names it, `check` says whether the image is there, whole."""

    def __init__(self, image: doc.Descriptor) -> None:
        self.image, self.number = image, 0

    def fresh(self) -> str:
        """The word of a place that holds what it held before any copy."""
        raise NotImplementedError

    def check(self) -> bool:
        """Whether the image is there; fails for anything between."""
        raise NotImplementedError

    def touched(self) -> bool:
        """Whether a copy that was killed has left anything there, under any name."""
        raise NotImplementedError

    def unfinished(self) -> list[Path]:
        """What the next run, which ended, should have gone on with or removed."""
        return []


class InLayout(Place):
    """A layout that has another image already."""

    def __init__(self, image: doc.Descriptor, folder: Path, other: Layout) -> None:
        super().__init__(image)
        self._other, self._path = other, folder / "to"

    def fresh(self) -> str:
        shutil.rmtree(self._path, ignore_errors=True)
        shutil.copytree(self._other.path, self._path)
        return f"oci:{self._path}:app"

    def check(self) -> bool:
        layout = Layout(self._path)
        names = [entry.annotations[doc.REF_NAME] for entry in layout.index().manifests]
        assert names in (["other"], ["other", "app"])
        for path in self._path.glob("blobs/*/*"):
            assert digest_of(path.read_bytes()) == f"sha256:{path.name}"
        for name in names:
            assert valid(f"oci:{self._path}:{name}")
        return names == ["other", "app"] and layout.resolve("app").digest == self.image.digest

    def touched(self) -> bool:
        return len(list(self._path.glob("blobs/*/*"))) > len(list(self._other.path.glob("blobs/*/*")))

    def unfinished(self) -> list[Path]:
        return list(self._path.glob(".*"))


class InArchive(Place):
    """A file that is another archive already."""

    def __init__(self, image: doc.Descriptor, folder: Path, old: bytes, new: bytes) -> None:
        super().__init__(image)
        self._path, self._old, self._new = folder / "to.tar", old, digest_of(new)

    def fresh(self) -> str:
        for left in self._path.parent.glob(".to.tar*"):
            left.unlink()
        self._path.write_bytes(self._old)
        return f"oci-archive:{self._path}"

    def check(self) -> bool:
        found = digest_of(self._path.read_bytes())
        assert found in (digest_of(self._old), self._new)
        return found == self._new

    def touched(self) -> bool:
        return any(left.stat().st_size for left in self.unfinished())

    def unfinished(self) -> list[Path]:
        return list(self._path.parent.glob(".to.tar*"))


class InEngine(Place):
    """A docker engine that has none of it."""

    def __init__(self, image: doc.Descriptor, source: Layout) -> None:
        super().__init__(image)
        self._engine = find_engine("docker")
        self._id = next(runnables(source, image)).manifest.config.digest

    def fresh(self) -> str:
        with suppress(ToolError):
            self._engine.remove(self._id)
        self.number += 1
        return f"docker:{self._name}"

    def check(self) -> bool:
        try:
            assert self._engine.image_id(self._name) == self._id
        except ToolError:
            return False
        assert valid(f"docker:{self._name}")
        return True

    def touched(self) -> bool:
        return True  # what it has taken it does not show

    @property
    def _name(self) -> str:
        return f"registry.example/killed:{self.number}"


class InRegistry(Place):
    """A repository that is not there yet."""

    def __init__(self, image: doc.Descriptor, source: Layout, host: str = "") -> None:
        super().__init__(image)
        self._blobs, self._host, self._run = list(walk(source, [image]).blobs), host, secrets.token_hex(4)

    def fresh(self) -> str:
        self.number += 1
        return self._name

    def check(self) -> bool:
        with connected(Reference.parse(self._name), cancellation=Cancellation()) as repository:
            try:
                found = repository.resolve()
            except MissingBlobError:
                return False
            assert not list(missing(repository, found))
            return found == self.image.bare()

    def touched(self) -> bool:
        with connected(Reference.parse(self._name), cancellation=Cancellation()) as repository:
            return any(repository.has(digest) for digest in self._blobs)

    @property
    def _name(self) -> str:
        return f"{self._host}/killed/{self._run}-{self.number}:1"


class InNewRegistry(InRegistry):
    """A registry that has nothing yet: one whose repositories share blobs, and which takes manifests without them."""

    def __init__(self, image: doc.Descriptor, source: Layout, start: Any, running: ExitStack) -> None:
        super().__init__(image, source)
        self._start, self._running = start, running

    def fresh(self) -> str:
        self._running.close()
        self._host = self._running.enter_context(self._start())
        return super().fresh()


def valid(word: str) -> bool:
    with ExitStack() as opened:
        parcel = open_parcel(parse(word), opened, Cancellation())
        return not any(check.broken for check in examine(parcel, Cancellation()))


def copied(source: str, to: str) -> None:
    with ExitStack() as opened:
        send(open_parcel(parse(source), opened, Cancellation()), parse(to), Cancellation())


COPIES = {
    "layout to layout": ("layout", "layout"),
    "archive to layout": ("archive", "layout"),
    "registry to layout": ("registry", "layout"),
    "layout to archive": ("layout", "archive"),
    "layout to engine": ("layout", "engine"),
    "layout to registry": ("layout", "registry"),
    "layout to distribution": ("layout", "distribution"),
    "registry to registry": ("registry", "distribution"),
}


@pytest.fixture
def place_of(
    tmp_path: Path, build_image: Any, new_registry: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Place]]:
    """Where an image of a layout goes, by kind."""
    running = ExitStack()

    def place(kind: str, layout: Layout, image: doc.Descriptor) -> Place:
        if kind == "engine":
            request.getfixturevalue("docker_engine")
            return InEngine(image, layout)
        if kind == "distribution":
            return InRegistry(image, layout, request.getfixturevalue("registry_of")(kind))
        if kind == "registry":
            return InNewRegistry(image, layout, new_registry, running)
        other = Layout.create(tmp_path / "other", durable=False)
        small = build_image(other, "linux/amd64")
        other.set_index(doc.Index(manifests=(msgspec.structs.replace(small, annotations={doc.REF_NAME: "other"}),)))
        if kind == "layout":
            return InLayout(image, tmp_path, other)
        made = [tmp_path / "old", tmp_path / "new"]
        for source, path in zip((other, layout), made, strict=True):
            copied(f"oci:{source.path}", f"oci-archive:{path}")
        return InArchive(image, tmp_path, *(path.read_bytes() for path in made))

    with running:
        yield place


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_that_is_killed_shows_nothing_half_and_is_finished_by_the_next(
    kind: str, copier: Copier, image_of: Any, place_of: Any, tmp_path: Path, registry_of: Callable[[str], str]
) -> None:
    begins, ends = COPIES[kind]
    layout, image = image_of(*(FILES if ends in ("layout", "archive") else SERVICES))
    source, place = f"oci:{layout.path}:app", place_of(ends, layout, image)
    if begins != "layout":
        source = f"oci-archive:{tmp_path}/from.tar" if begins == "archive" else f"{registry_of(begins)}/killed/from:1"
        copied(f"oci:{layout.path}:app", source)
    moments, shortest = random.Random(f"{SEED} {kind}"), 60.0
    for _ in range(3):
        code, seconds = copier.run(source, place.fresh())
        assert (code, place.check()) == (0, True)
        shortest = min(shortest, seconds)
    running = writing = 0
    for point in range(POINTS):
        moment = moments.uniform(0.9 * point / POINTS, 0.9 * (point + 1) / POINTS) * shortest
        to = place.fresh()
        code, _ = copier.run(source, to, moment)
        assert code in (0, -signal.SIGKILL)
        running += code != 0
        writing += code != 0 and place.touched()
        assert place.check() or code != 0
        assert copier.run(source, to)[0] == 0
        assert place.check()
        assert place.unfinished() == []
    assert running > POINTS // 2, "most of them were killed while they ran"
    assert writing, "some of them while they wrote"
