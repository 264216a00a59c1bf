"""Which modules a build would have to fetch. Touches disk; starts `go env` for each module's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from imagekit.cancellation import Cancellation
from imagekit.errors import ImagekitError
from imagekit.golang import modules
from imagekit.golang.arguments import mod_mode
from imagekit.golang.environments import fetch_environment
from imagekit.golang.published import published
from imagekit.golang.settings import GoSettings, read_settings
from imagekit.pipeline.diagnosis import Found, Patient, State, first_line


def look_for_modules(patient: Patient, cancellation: Cancellation) -> Iterator[Found]:
    """Whether the modules are in the module cache: needed there if there is no network, else they are fetched."""
    if patient.settings is None:
        return
    for folder in patient.folders:
        try:
            settings = read_settings(patient.settings.toolchain, patient.root / folder, cancellation)
            missing, known = _missing(settings)
        except (ImagekitError, OSError) as error:
            message = error.message if isinstance(error, ImagekitError) else str(error)
            yield Found("modules", State.MISSING, message, error.hint if isinstance(error, ImagekitError) else "")
            continue
        yield _told(missing, known, settings, offline=patient.offline)
    for main in sorted({target.main for target in patient.compiled if "@" in target.main}):
        yield _published(patient, main, cancellation)


def _told(missing: Sequence[str], known: int, settings: GoSettings, *, offline: bool) -> Found:
    cache = settings.values.get("GOMODCACHE", "")
    if not missing:
        return Found("modules", State.OK, f"all {known} that go.mod requires are here")
    detail = f"{len(missing)} of {known} are not in {cache}: {', '.join(missing)}"
    if offline:
        return Found(
            "modules", State.MISSING, detail, "run `go mod download` where there is a network, and carry that over"
        )
    return Found("modules", State.ABSENT, f"{len(missing)} of {known} will be fetched")


def _missing(settings: GoSettings) -> tuple[list[str], int]:
    """`module@version` of what is required, replacements applied, and is in neither vendor/ nor the module cache."""
    files = modules.read_files(settings.values)
    if mod_mode(settings) == "vendor":
        return [], len(files.go_sum.modules())
    own = {mod.module for mod in files.mods}
    required = sorted({(one.path, one.version) for mod in files.mods for one in mod.requires if one.path not in own})
    replaces = [replace for _, replace in files.replaces]
    wanted = []
    for path, version in required:
        found = next((one for one in replaces if one.path == path and one.version in ("", version)), None)
        if found is None:
            wanted.append((path, version))
        elif not found.local:
            wanted.append((found.new_path, found.new_version))
    return [f"{path}@{version}" for path, version in wanted if not _has(files.cache, path, version)], len(required)


def _has(cache: Path, path: str, version: str) -> bool:
    return modules.zip_path(cache, path, version).is_file()


def _published(patient: Patient, main: str, cancellation: Cancellation) -> Found:
    """A published program, looked for without a network."""
    if patient.settings is None or not patient.offline:
        return Found("modules", State.OK, f"{main}: fetched unless it is here")
    env = {**fetch_environment(patient.settings), "GOPROXY": "off"}
    try:
        found = published(
            patient.settings.toolchain.go,
            main,
            settings=patient.settings.values,
            env=env,
            cache_dir=patient.cache,
            cancellation=cancellation,
        )
    except ImagekitError as error:
        hint = "build it once where there is a network, and carry the module cache over"
        return Found("modules", State.MISSING, f"{main} is not in the module cache: {first_line(error.message)}", hint)
    inside = patient.settings.published(found.root)
    missing, known = _missing(inside)
    return _told(missing, known, inside, offline=True)
