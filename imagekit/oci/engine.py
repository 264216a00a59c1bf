"""The container engine on this machine: who answers, and giving it images. Touches the engine's socket.

The docker package is imported only here and only when an engine is asked for (it costs 170 ms).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import msgspec

from imagekit.errors import ToolError, UsageError
from imagekit.text import line
from imagekit.workers import Cancellation

_LOADED = re.compile(r"Loaded image(?: ID)?: (\S+)\s*")
_PATIENCE = 600
"""Seconds between two signs of life: the engine unpacks a whole image before it answers."""
_SHOWN = 500


class EngineVersion(msgspec.Struct, frozen=True):
    """What answers: `name` (`docker`), its version and API version, `os/architecture` of its containers."""

    name: str
    version: str
    api: str
    platform: str


class EngineImage(msgspec.Struct, frozen=True):
    """An image that an engine has: the engine's own id, and the names under which it was just loaded."""

    id: str
    names: tuple[str, ...] = ()


class Engine(Protocol):
    """A container engine; whoever got it closes it."""

    def version(self) -> EngineVersion:
        """What answers; raises `ToolError` if nothing does."""

    def load(self, pieces: Iterable[bytes], *, cancellation: Cancellation | None = None) -> tuple[EngineImage, ...]:
        """Give the engine a docker archive; return its images in the order of the archive, each once.

        Nothing is loaded if `pieces` raises, whose error is raised again. The second time the same ids come back.
        Raises `ToolError` if the engine refuses, or cannot find afterwards what it says it loaded.
        """

    def image_id(self, name: str) -> str:
        """The engine's own id of the image that it knows by a reference or an id; raises `ToolError`."""

    def close(self) -> None:
        """Let go of the connection."""


def find_engine(name: str = "docker") -> Engine:
    """The engine of that name, once it has answered; raises `UsageError` for a name, `ToolError` if none answers."""
    if name != "docker":
        raise UsageError(f"{name!r} is not an engine that imagekit knows", hint="known: docker")
    return DockerEngine.from_environment()


class DockerEngine:
    """Docker's engine through the docker package: `DOCKER_CONTEXT`, else `DOCKER_HOST`, else the current context."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return "the docker engine"

    @classmethod
    def from_environment(cls) -> Self:
        """The engine that the environment names, once it has answered; raises `ToolError` if none does."""
        with _translated("no docker engine answers", hint=_how_to_start()):
            client = _client()
            client.ping()
        return cls(client)

    def version(self) -> EngineVersion:
        with _translated("the docker engine does not tell its version", hint=_how_to_start()):
            told = self._client.version()
        platform = f"{told.get('Os', '')}/{told.get('Arch', '')}"
        return EngineVersion("docker", told.get("Version", ""), told.get("ApiVersion", ""), platform)

    def load(self, pieces: Iterable[bytes], *, cancellation: Cancellation | None = None) -> tuple[EngineImage, ...]:
        names = list[str]()
        with _translated("the docker engine did not load the image"):
            for told in self._client.api.load_image(_watched(pieces, cancellation)):
                if "error" in told or "errorDetail" in told:
                    raise _refused("the docker engine did not load the image", str(told.get("error", told)))
                names += _LOADED.findall(str(told.get("stream", "")))
        if not names:
            raise ToolError("the docker engine loaded nothing", hint="it takes archives that have a manifest.json")
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self.image_id(name), []).extend([] if name.startswith("sha256:") else [name])
        return tuple(EngineImage(identity, tuple(called)) for identity, called in found.items())

    def image_id(self, name: str) -> str:
        with _translated(f"the docker engine has no image {name}"):
            return str(self._client.api.inspect_image(name)["Id"])

    def close(self) -> None:
        self._client.close()


def _client() -> Any:
    """A client that speaks the API version that both sides know; asks the engine for it."""
    import docker

    if os.environ.get("DOCKER_HOST") and not os.environ.get("DOCKER_CONTEXT"):
        return docker.DockerClient.from_env(timeout=_PATIENCE)
    return docker.DockerClient(**docker.ContextAPI.kwargs_from_context(), timeout=_PATIENCE)


def _watched(pieces: Iterable[bytes], cancellation: Cancellation | None) -> Iterator[bytes]:
    """The same pieces; none empty, since an empty one would end a chunked body."""
    for piece in pieces:
        if cancellation is not None:
            cancellation.check()
        if piece:
            yield piece


@contextmanager
def _translated(what: str, *, hint: str = "") -> Iterator[None]:
    """Errors of docker-py and of requests, which it does not wrap, become `ToolError`."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        raise _refused(what, str(error.explanation or error), hint) from error
    except (DockerException, RequestException, OSError, ValueError, KeyError) as error:
        raise _refused(what, str(error), hint) from error


def _refused(what: str, words: str, hint: str = "") -> ToolError:
    if "Permission denied" in words:
        hint = "its socket is not open to this user: join the group docker, or run as root"
    return ToolError(f"{what}: {line(words.strip())[:_SHOWN]}", hint=hint)


def _how_to_start() -> str:
    named = os.environ.get("DOCKER_CONTEXT") or os.environ.get("DOCKER_HOST")
    if named:
        return f"check {'DOCKER_CONTEXT' if os.environ.get('DOCKER_CONTEXT') else 'DOCKER_HOST'} ({named})"
    return "start it (systemctl start docker, or dockerd as root), or name another with DOCKER_HOST"
