"""Diagnose: what a build needs, whether it is here, and the way out. Touches disk and network; starts programs.

Nothing is changed and nothing is downloaded. What could hang (an engine, a proxy) has a few seconds to answer.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

import imagekit
from imagekit.cancellation import Cancellation
from imagekit.config import read, targets_of
from imagekit.errors import ImagekitError, UsageError
from imagekit.golang import zig
from imagekit.golang.checks import Check
from imagekit.golang.settings import GoSettings, read_settings
from imagekit.golang.toolchain import find
from imagekit.image.recorded import PACKAGES, altered
from imagekit.pipeline.diagnosis import Found, Patient, State, first_line
from imagekit.pipeline.lacking import look_for_modules
from imagekit.pipeline.pruning import size_of
from imagekit.pipeline.reaching import credentials, engine, network
from imagekit.processes import run
from imagekit.source import git as repository
from imagekit.targets.target import Cgo
from imagekit.targets.templating import context_of


def diagnose(given: Path | None, cache: Path, *, offline: bool, cancellation: Cancellation) -> Iterator[Found]:
    """Everything that was looked for, in the order in which a build would need it."""
    yield Found("imagekit", State.OK, f"{imagekit.__version__} on Python {platform.python_version()}")
    patient, found = _configured(given, cache, offline)
    yield found
    settings, found = _go(patient, cancellation)
    yield found
    patient = msgspec.structs.replace(patient, settings=settings)
    yield _git(patient, cancellation)
    yield _cache(patient)
    yield _constant_layers()
    yield from _compilers(patient, cancellation)
    yield from _staticcheck(patient)
    modules = tuple(look_for_modules(patient, cancellation))
    yield from modules
    yield from network(patient, needed=any(one.state is State.ABSENT for one in modules))
    yield engine()
    yield from credentials()
    yield _gpg(cancellation)


def _configured(given: Path | None, cache: Path, offline: bool) -> tuple[Patient, Found]:
    root = given.parent if given is not None else Path()
    nothing = Patient(None, (), root, cache, offline)
    try:
        config = read(given, Path())
        targets = targets_of(config, context_of(None, config.template_env, os.environ))
    except UsageError as error:
        if given is None and not (root / "imagekit.yaml").is_file():
            return nothing, Found("configuration", State.SKIPPED, f"nothing to build here: {error.message}", error.hint)
        return nothing, Found(
            "configuration", State.MISSING, first_line(error.message), error.hint or "run: imagekit check"
        )
    except ImagekitError as error:
        return nothing, Found("configuration", State.MISSING, first_line(error.message), error.hint)
    name = config.marks.name if config.marks else "no imagekit.yaml, so the defaults"
    return Patient(config, targets, root, cache, offline), Found(
        "configuration", State.OK, f"{name}: {len(targets)} targets"
    )


def _go(patient: Patient, cancellation: Cancellation) -> tuple[GoSettings | None, Found]:
    needed = State.WARNING if patient.targets and not patient.compiled else State.MISSING
    try:
        settings = read_settings(find(cancellation), patient.root, cancellation)
    except ImagekitError as error:
        return None, Found("go", needed, error.message, error.hint)
    return settings, Found("go", State.OK, f"{settings.toolchain.version} in {settings.toolchain.goroot}")


def _git(patient: Patient, cancellation: Cancellation) -> Found:
    """Whether git is there and may read this repository (safe.directory)."""
    program = shutil.which("git")
    inside = repository.find_root(patient.root)
    if inside is None:
        detail = "no repository here" + ("" if program else ", and no git")
        return Found("git", State.OK if program else State.WARNING, detail, "" if program else "apt install git")
    if program is None:
        hint = "install git: the version of a build is read with it"
        return Found("git", State.MISSING, f"{inside} is a repository, and there is no git", hint)
    try:
        state = repository.read_state(patient.root, env=os.environ, cancellation=cancellation)
    except ImagekitError as error:
        return Found("git", State.MISSING, error.message, error.hint)
    said = f"{_version([program, '--version'], cancellation)}; {inside}"
    if state is None or not state.commit:
        return Found("git", State.WARNING, f"{said} has no commit yet", "git commit")
    return Found("git", State.OK, f"{said} at {state.tag or state.short}{', with changes' if state.dirty else ''}")


def _cache(patient: Patient) -> Found:
    try:
        with tempfile.NamedTemporaryFile(dir=patient.cache):
            pass
        free = shutil.disk_usage(patient.cache).free
    except OSError as error:
        return Found(
            "cache", State.MISSING, f"{patient.cache}: {error.strerror}", "name a writable folder: --cache-dir"
        )
    size = size_of(patient.cache)
    return Found("cache", State.OK, f"{patient.cache}: {size / 1e6:.0f} MB, {free / 1e9:.1f} GB free on its disk")


def _constant_layers() -> Found:
    """Whether certificates and time zones are those of their packages: the same layers for everybody."""
    sentences = [sentence for package in PACKAGES if (sentence := altered(package))]
    if sentences:
        return Found("constant layers", State.WARNING, "; ".join(sentences), "or set rootfs.ca in imagekit.yaml")
    return Found("constant layers", State.OK, "certifi and tzdata are as they were installed")


def _compilers(patient: Patient, cancellation: Cancellation) -> Iterator[Found]:
    """The C compilers: zig for `cgo: static`, the system's for `cgo: allow`; needed only by who asks for them."""
    asked = {target.cgo for target in patient.compiled}
    absent = {kind: State.MISSING if kind in asked else State.WARNING for kind in Cgo}
    try:
        said = _version([str(zig.find()), "version"], cancellation)
        yield Found("cgo: static", State.OK, f"zig {said}")
    except ImagekitError as error:
        yield Found("cgo: static", absent[Cgo.STATIC], error.message, error.hint)
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    if compiler:
        yield Found("cgo: allow", State.OK, compiler)
    elif Cgo.ALLOW in asked:
        yield Found(
            "cgo: allow", State.MISSING, "there is no C compiler on PATH", "apt install gcc, or use cgo: static"
        )


def _staticcheck(patient: Patient) -> Iterator[Found]:
    if patient.config is not None and Check.STATICCHECK in patient.config.checks:
        place = shutil.which("staticcheck")
        yield Found(
            "staticcheck",
            State.OK if place else State.MISSING,
            place or "`checks` names it, and there is none on PATH",
            "" if place else "go install honnef.co/go/tools/cmd/staticcheck@latest",
        )


def _gpg(cancellation: Cancellation) -> Found:
    """Only `bundle create --openpgp` needs it."""
    program = shutil.which("gpg")
    if program is None:
        return Found("gpg", State.WARNING, "not on PATH; `bundle create --openpgp` signs with it", "apt install gnupg")
    return Found("gpg", State.OK, _version([program, "--version"], cancellation))


def _version(argv: list[str], cancellation: Cancellation) -> str:
    """The first line of what a program says of itself."""
    said = run(argv, env=os.environ, cancellation=cancellation).stdout.decode(errors="replace")
    return first_line(said) or argv[0]
