"""The key under which a CI keeps the Go cache: everything but the source that decides what is in it. Touches disk.

Of the source nothing is in the key: Go itself finds what a change invalidates, and a cache that is thrown away with
every commit is none. The values of `-X`, which change with the commit, decide no compiled package either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from imagekit.content import canonical_json, digest_of, hex_of
from imagekit.golang.settings import GoSettings
from imagekit.source import gomod
from imagekit.targets.target import Ldflags, Target

FORMAT = 1
"""Raised when imagekit's own cache folder changes so that an old one is of no use."""
_DIGITS = 16


class CacheKey(msgspec.Struct, frozen=True):
    """The exact key; prefixes to restore from when there is none of that name, the best first; what to keep."""

    key: str
    restore_keys: tuple[str, ...]
    paths: tuple[str, ...]


def cache_key(
    root: Path, sources: Sequence[tuple[GoSettings, Sequence[Target]]], *, cache_dir: Path, host: GoSettings
) -> CacheKey:
    """The key for these targets, each with the settings of its module's folder; `host` are those in `root`.

    The same on every machine of one platform with the same Go: paths are relative to `root`.
    """
    targets = {_identity(target) for _, some in sources for target in some}
    files = {name: digest for settings, _ in sources for name, digest in _module_files(settings, root)}
    published = sorted({target.main for _, some in sources for target in some if "@" in target.main})
    platform = f"{host.values.get('GOHOSTOS', '')}-{host.values.get('GOHOSTARCH', '')}"
    first = f"imagekit{FORMAT}-{platform}-{re.sub(r'[^A-Za-z0-9._-]', '_', host.toolchain.version)}-"
    second = f"{first}{_short(sorted(targets))}-"
    kept = [host.values.get("GOCACHE", ""), host.values.get("GOMODCACHE", ""), str(cache_dir)]
    return CacheKey(
        f"{second}{_short([sorted(files.items()), published])}", (second, first), tuple(path for path in kept if path)
    )


def _identity(target: Target) -> bytes:
    """What of a target decides how packages are compiled: platform, level, tags, flags, environment, cgo."""
    plain = Target(
        build="",
        platform=target.platform,
        level=target.level,
        tags=target.tags,
        flags=target.flags,
        gcflags=target.gcflags,
        ldflags=Ldflags(flags=target.ldflags.flags),
        env=target.env,
        cgo=target.cgo,
        unsafe=target.unsafe,
    )
    return canonical_json(plain)


def _module_files(settings: GoSettings, root: Path) -> Iterator[tuple[str, str]]:
    """Each go.mod, go.sum, go.work and go.work.sum that is there, with its digest."""
    for path in _paths(settings):
        if path.is_file():
            yield Path(os.path.relpath(path, root.resolve())).as_posix(), digest_of(path.read_bytes())


def _paths(settings: GoSettings) -> Iterator[Path]:
    if settings.workspace is not None:
        yield settings.workspace
        yield settings.workspace.with_name("go.work.sum")
        folders = gomod.read_work(settings.workspace).folders
    else:
        folders = (settings.go_mod.parent,) if settings.go_mod else ()
    for folder in folders:
        yield folder / "go.mod"
        yield folder / "go.sum"


def _short(value: object) -> str:
    return hex_of(digest_of(canonical_json(value)))[:_DIGITS]
