"""Container engines as plug-ins: one small contract, a name that routes, a version that is checked.

A plug-in is an `EnginePlugin` under an entry point of the group `imagekit.engines`; it is loaded only when its name is
asked for. imagekit's own, docker and podman, are entry points like any other. Looks at installed packages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError, UsageError
from imagekit.text import line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

CONTRACT = 1
"""The version of `Engine`: a plug-in says which one it was written for, and another is refused."""
GROUP = "imagekit.engines"


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

        If `pieces` raises, its error is raised again; what was taken over before that may stay (`load_whole` removes
        it). The second time the same ids come back. Raises `ToolError` if the engine refuses, or cannot find afterwards
        what it says it loaded.
        """

    def image_id(self, name: str) -> str:
        """The engine's own id of the image that it knows by a reference or an id; raises `ToolError`."""

    def save(self, name: str, *, cancellation: Cancellation | None = None) -> Iterator[bytes]:
        """The image as a docker archive, piece by piece; raises `ToolError` if there is none of that name or id."""

    def remove(self, name: str) -> None:
        """Forget an image by its reference or id; raises `ToolError`."""

    def close(self) -> None:
        """Let go of the connection."""


def load_whole(
    engine: Engine, pieces: Iterable[bytes], names: Iterable[str], *, cancellation: Cancellation | None = None
) -> tuple[EngineImage, ...]:
    """`Engine.load`, after whose failure nothing stays: an engine may take over image by image while the stream runs.

    `names` are those in the archive. What an engine had under one of them before is left alone if it is the same image;
    if it was another, and the engine gave its name away, the name is gone. Raises as `load` does.
    """
    before = {name: _known(engine, name) for name in names}
    try:
        return engine.load(pieces, cancellation=cancellation)
    except Exception:
        for name, identity in before.items():
            if _known(engine, name) != identity:
                with suppress(ToolError):  # what failed first is what is told
                    engine.remove(name)
        raise


def _known(engine: Engine, name: str) -> str:
    """The id of the image that the engine has under a name, '' if it has none."""
    try:
        return engine.image_id(name)
    except ToolError:
        return ""


class EnginePlugin(msgspec.Struct, frozen=True):
    """What an entry point names: the contract it was written for, and how to get an engine that has answered."""

    contract: int
    connect: Callable[[], Engine]


class PluginOrigin(msgspec.Struct, frozen=True):
    """Which installed distribution brought a plug-in: for reports and provenance."""

    name: str
    distribution: str
    version: str


def find_engine(name: str = "docker") -> Engine:
    """The engine of that name, once it has answered.

    Raises `UsageError` for a name that no plug-in has, `ToolError` for a plug-in of another contract, and if no engine
    answers.
    """
    return _plugin(name).connect()


def plugin_origin(name: str) -> PluginOrigin:
    """Who brought the plug-in of that name; raises `UsageError` for a name that none has."""
    entry = _entry(name)
    found = entry.dist
    return PluginOrigin(name, found.name if found else "", found.version if found else "")


def _plugin(name: str) -> EnginePlugin:
    entry = _entry(name)
    who = f"the engine {line(name)} of {line(plugin_origin(name).distribution or entry.value)}"
    try:
        plugin = entry.load()
    except Exception as error:  # a plug-in is foreign code: whatever it raises while it is imported
        raise ToolError(f"{who} cannot be loaded: {line(str(error))}", hint="install it again, or remove it") from error
    contract = getattr(plugin, "contract", None)
    if contract != CONTRACT:
        raise ToolError(
            f"{who} was written for contract {line(str(contract))}, and this imagekit has {CONTRACT}",
            hint="install the versions of both that belong together",
        )
    return plugin  # type: ignore[no-any-return]  # its contract says what it is


def _entry(name: str) -> EntryPoint:
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none; install imagekit again"
        raise UsageError(f"{line(name)!r} is not an engine that imagekit knows", hint=f"known: {known}")
    return next(iter(found.select(name=name)))
