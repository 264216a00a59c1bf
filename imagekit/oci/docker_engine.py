"""Engines that speak docker's API, through the docker package: docker's own, and podman's service.

Touches the engine's socket. The docker package is imported only when an engine is asked for (it costs 170 ms).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.oci import tar
from imagekit.oci.engine import CONTRACT, EngineImage, EnginePlugin, EngineVersion
from imagekit.oci.inflate import ZSTD
from imagekit.text import line

_LOADED = re.compile(r"Loaded image(?:\(s\)| ID)?: (\S+)\s*")
_PATIENCE = 600
"""Seconds between two signs of life: the engine unpacks a whole image before it answers."""
_SHOWN = 500
_READS_ZSTD = 23
"""The first version of docker whose `load` takes such layers (moby/moby#41759)."""


class DockerEngine:
    """An engine with docker's API; `name` is what it is called in sentences."""

    def __init__(self, client: Any, name: str = "docker") -> None:
        self._client = client
        self._name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"the {self._name} engine"

    @classmethod
    def from_environment(cls) -> Self:
        """Docker's: `DOCKER_CONTEXT`, else `DOCKER_HOST`, else the current context; `ToolError` if none answers."""
        with _translated("no docker engine answers", hint=_how_to_start()):
            client = _client()
            client.ping()
        return cls(client)

    @classmethod
    def of_podman(cls) -> Self:
        """Podman's service: `CONTAINER_HOST`, else the user's socket, else root's; `ToolError` if none answers."""
        address = os.environ.get("CONTAINER_HOST") or f"unix://{_podman_socket()}"
        hint = f"start it: podman system service --time=0 {address}, or set CONTAINER_HOST"
        with _translated(f"no podman engine answers at {line(address)}", hint=hint):
            import docker

            client = docker.DockerClient(base_url=address, timeout=_PATIENCE)
            client.ping()
        return cls(client, "podman")

    def version(self) -> EngineVersion:
        with _translated(f"{self} does not tell its version", hint=_how_to_start()):
            told = self._client.version()
        platform = f"{told.get('Os', '')}/{told.get('Arch', '')}"
        return EngineVersion(self._name, told.get("Version", ""), told.get("ApiVersion", ""), platform)

    def load(self, pieces: Iterable[bytes], *, cancellation: Cancellation | None = None) -> tuple[EngineImage, ...]:
        passing = _Passing(_watched(pieces, cancellation))
        try:
            return self._loaded(iter(passing))
        except ToolError as error:
            error.hint = error.hint or (self._why_not_zstd() if passing.has_zstd else "")
            raise

    def _loaded(self, pieces: Iterator[bytes]) -> tuple[EngineImage, ...]:
        names = list[str]()
        with _translated(f"{self} did not load the image"):
            for told in self._client.api.load_image(pieces):
                if "error" in told or "errorDetail" in told:
                    raise _refused(f"{self} did not load the image", str(told.get("error", told)))
                names += _names(str(told.get("stream", "")))
        if not names:
            raise ToolError(f"{self} loaded nothing", hint="it takes archives that have a manifest.json")
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self.image_id(name), []).extend([] if name.startswith("sha256:") else [name])
        return tuple(EngineImage(identity, tuple(called)) for identity, called in found.items())

    def _why_not_zstd(self) -> str:
        """The way out if this engine is too old for zstd, which it calls an unexpected end; else ''."""
        with suppress(ToolError):
            told = self.version().version
            number = told.partition(".")[0]
            if self._name == "docker" and number.isdecimal() and int(number) < _READS_ZSTD:
                return (
                    f"docker {line(told)} cannot read layers compressed with zstd, docker {_READS_ZSTD} can: build the "
                    "image with `compression: {algorithm: gzip}`, or load it into a newer engine"
                )
        return ""

    def image_id(self, name: str) -> str:
        with _translated(f"{self} has no image {line(name)}"):
            return str(self._client.api.inspect_image(name)["Id"])

    def save(self, name: str, *, cancellation: Cancellation | None = None) -> Iterator[bytes]:
        with _translated(f"{self} did not give the image {line(name)}"):
            yield from _watched(self._client.api.get_image(name), cancellation)

    def remove(self, name: str) -> None:
        with _translated(f"{self} did not remove the image {line(name)}"):
            self._client.api.remove_image(name, force=True)

    def close(self) -> None:
        self._client.close()


DOCKER = EnginePlugin(CONTRACT, DockerEngine.from_environment)
PODMAN = EnginePlugin(CONTRACT, DockerEngine.of_podman)


def _names(told: str) -> Iterator[str]:
    """What was loaded, as an engine says it: docker in a line for each name, podman all in one line."""
    for found in _LOADED.findall(told):
        yield from found.split(",")


def _podman_socket() -> Path:
    own = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "podman/podman.sock"
    return own if own.exists() else Path("/run/podman/podman.sock")


def _client() -> Any:
    """A client that speaks the API version that both sides know; asks the engine for it."""
    import docker

    if os.environ.get("DOCKER_HOST") and not os.environ.get("DOCKER_CONTEXT"):
        return docker.DockerClient.from_env(timeout=_PATIENCE)
    return docker.DockerClient(**docker.ContextAPI.kwargs_from_context(), timeout=_PATIENCE)


class _Passing:
    """An archive on its way into an engine; `has_zstd` once a file in it began as zstd does."""

    has_zstd = False

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        offset = 0
        for piece in self._pieces:
            self.has_zstd = self.has_zstd or _has_zstd(piece, offset)
            offset += len(piece)
            yield piece


def _has_zstd(piece: bytes, offset: int) -> bool:
    """Whether zstd begins in a piece where a file in a tar can, `offset` being where the piece does."""
    found = piece.find(ZSTD)
    while found >= 0 and (offset + found) % tar.BLOCK:
        found = piece.find(ZSTD, found + 1)
    return found >= 0


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
        raise _refused(what, _system_said(error) or str(error), hint) from error


def _system_said(error: BaseException) -> str:
    """What the system said of a connection, which docker-py, requests and urllib3 wrap in each other; '' if nothing."""
    waiting, seen = [error], list[BaseException]()
    while waiting:
        one = waiting.pop()
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
        seen.append(one)
        inner = (*one.args, one.__cause__, one.__context__, getattr(one, "reason", None))
        waiting += [each for each in inner if isinstance(each, BaseException) and each not in seen]
    return ""


def _refused(what: str, words: str, hint: str = "") -> ToolError:
    if "Permission denied" in words:
        hint = "its socket is not open to this user: join the group docker, or run as root"
    return ToolError(f"{what}: {line(words.strip())[:_SHOWN]}", hint=hint)


def _how_to_start() -> str:
    named = os.environ.get("DOCKER_CONTEXT") or os.environ.get("DOCKER_HOST")
    if named:
        return f"check {'DOCKER_CONTEXT' if os.environ.get('DOCKER_CONTEXT') else 'DOCKER_HOST'} ({named})"
    return "start it (systemctl start docker, or dockerd as root), or name another with DOCKER_HOST"
