"""Sources: what is compiled, fetched and checked before the compiler starts. Touches disk and network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from imagekit.binary.facts import GoModule
from imagekit.cancellation import Cancellation
from imagekit.errors import UnreadableError
from imagekit.golang import modules, published
from imagekit.golang.arguments import mod_mode
from imagekit.golang.environments import fetch_environment
from imagekit.golang.settings import GoSettings
from imagekit.golang.vcs import is_stamped, repository_of
from imagekit.pipeline.ground import Ground, settings_in
from imagekit.pipeline.ready import Ready
from imagekit.source import gosum, sumdb, vendored
from imagekit.source.git import GitState
from imagekit.source.weakness import Weakness
from imagekit.source.weaknesses import weaknesses
from imagekit.targets.target import Target


class Sources(msgspec.Struct, frozen=True):
    """Every target, ready to be compiled, and what weakens the trust in where it comes from."""

    ready: tuple[Ready, ...]
    weaknesses: tuple[Weakness, ...]


def gather(ground: Ground, cancellation: Cancellation) -> Sources:
    """Fetch, verify and look up what the targets are compiled from; each module folder and each published module once.

    Raises `NetworkError`, `IntegrityError` (a hash that is not the published one) and `ToolError`.
    """
    ready: dict[str, Ready] = {}
    found: list[Weakness] = []
    for place, targets in _by_source(ground.targets):
        made, weak = _gather(ground, place, targets, cancellation)
        ready |= {one.target.id: one for one in made}
        found += weak
    return Sources(tuple(ready[target.id] for target in ground.targets), tuple(dict.fromkeys(found)))


class _Place(msgspec.Struct, frozen=True):
    """Where the source is: a folder, or a published version (`path@version`)."""

    directory: str
    published: str = ""
    prebuilt: bool = False


def _by_source(targets: Sequence[Target]) -> Iterator[tuple[_Place, list[Target]]]:
    places: dict[_Place, list[Target]] = {}
    for target in targets:
        published = target.main if "@" in target.main else ""
        places.setdefault(_Place(target.directory, published, bool(target.prebuilt)), []).append(target)
    return iter(places.items())


def _gather(
    ground: Ground, place: _Place, targets: Sequence[Target], cancellation: Cancellation
) -> tuple[list[Ready], list[Weakness]]:
    if place.prebuilt:
        return [_prebuilt(ground, target) for target in targets], []
    settings = settings_in(ground, place.directory, cancellation)
    if place.published:
        return _published(ground, settings, place.published, targets, cancellation)
    return _local(ground, settings, targets, cancellation)


def _prebuilt(ground: Ground, target: Target) -> Ready:
    path = ground.root / target.prebuilt
    if not path.is_file():
        raise UnreadableError(
            f"{path} is not a file; {target.id} is prebuilt ({target.origin('prebuilt')})",
            hint="let the other builder make it first, or correct `prebuilt`",
        )
    return Ready(target=target, prebuilt=path)


def _local(
    ground: Ground, settings: GoSettings, targets: Sequence[Target], cancellation: Cancellation
) -> tuple[list[Ready], list[Weakness]]:
    """A module in a folder, or a workspace."""
    files = modules.read_files(settings.values)
    mode = mod_mode(settings)
    found = _check_modules(ground, settings, files, mode, cancellation)
    around = repository_of(settings.directory) is not None
    found += [weak for weak in _of_settings(ground, settings, files, mode) if around or weak.rule != "dirty-tree"]
    module = next((mod for mod in files.mods if mod.path == settings.go_mod), files.mods[0])
    ready = [
        Ready(
            target=target,
            settings=settings,
            toolchain=settings.toolchain.version,
            package=target.main,
            import_path=_import_path(module.module, module.path.parent, settings.directory, target.main),
            mode=mode,
            buildvcs=is_stamped(settings.directory),
            module=GoModule(module.module, ""),
        )
        for target in targets
    ]
    return ready, found


def _published(
    ground: Ground, settings: GoSettings, spec: str, targets: Sequence[Target], cancellation: Cancellation
) -> tuple[list[Ready], list[Weakness]]:
    """A version of a module, from the checksum-database-verified zip that the proxy has of it."""
    source = published.published(
        settings.toolchain.go,
        spec,
        settings=settings.values,
        env=fetch_environment(settings),
        cache_dir=ground.request.cache,
        force=ground.request.verify_modules,
        cancellation=cancellation,
    )
    inside = settings.published(source.root)
    files = modules.read_files(inside.values)
    own = msgspec.structs.replace(files, go_sum=gosum.join(files.go_sum, source.go_sum))
    found = _check_modules(ground, inside, own, "readonly", cancellation)
    found += [weak for weak in _of_settings(ground, inside, files, "readonly") if weak.rule != "dirty-tree"]
    ready = [
        Ready(
            target=target,
            settings=inside,
            toolchain=inside.toolchain.version,
            package=source.main,
            import_path=source.package,
            mode="readonly",
            module=GoModule(source.module, source.version, source.h1),
            published=True,
            time=source.time,
        )
        for target in targets
    ]
    return ready, found


def _of_settings(ground: Ground, settings: GoSettings, files: modules.ModuleFiles, mode: str) -> tuple[Weakness, ...]:
    required = {(require.path, require.version) for mod in files.mods for require in mod.requires}
    copied = vendored.read_list(files.vendor_dir) if mode == "vendor" else ()
    return weaknesses(
        settings.values,
        ambient=settings.ambient,
        file=settings.file,
        modules=sorted(path for path, _ in required),
        replaces=[(_shown(ground, path), replace) for path, replace in files.replaces],
        needed=[(one.source, one.version) for one in copied if one.version],
        go_sum=files.go_sum,
        git=_shown_git(ground),
    )


def _shown(ground: Ground, path: Path) -> Path:
    """A path as people know it, and as every machine sees it: relative to the configuration."""
    root = ground.root.resolve()
    return path.relative_to(root) if path.is_relative_to(root) else Path(path.name)


def _shown_git(ground: Ground) -> GitState | None:
    return msgspec.structs.replace(ground.git, root=Path()) if ground.git else None


def _import_path(module: str, top: Path, directory: Path, package: str) -> str:
    """The import path of `./cmd/app` below the module's folder; an import path stays."""
    if not package.startswith("."):
        return package
    place = (directory / package).resolve()
    if not place.is_relative_to(top.resolve()):
        return ""
    inside = PurePosixPath(place.relative_to(top.resolve()))
    return module if str(inside) == "." else f"{module}/{inside}"


def _check_modules(
    ground: Ground, settings: GoSettings, files: modules.ModuleFiles, mode: str, cancellation: Cancellation
) -> list[Weakness]:
    """Fetch and verify; ask the checksum database for every line of go.sum."""
    cache, env = ground.request.cache, fetch_environment(settings)
    go = settings.toolchain.go
    found: list[Weakness] = []
    if mode == "vendor":
        found += modules.check_vendor(
            go, files, env=env, cache_dir=cache, force=ground.request.verify_modules, cancellation=cancellation
        )
    else:
        fetched = modules.fetch(go, files, env=env, cache_dir=cache, cancellation=cancellation)
        modules.verify(
            go,
            files,
            fetched,
            env=env,
            cache_dir=cache,
            force=ground.request.verify_modules,
            cancellation=cancellation,
        )
    report = sumdb.check(
        files.go_sum,
        settings=settings.values,
        goroot=settings.toolchain.goroot,
        env=env,
        cache_dir=cache,
        cancellation=cancellation,
    )
    return [*found, *report.weaknesses]
