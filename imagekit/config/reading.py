"""imagekit.yaml -> Config: found, read, completed with what nobody wrote, checked as a whole. Touches disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET

from imagekit.config.checking import Wrong, archive_mistakes, document_mistakes, image_mistakes
from imagekit.config.document import ConfigDocument, SbomFormat, SignEntry
from imagekit.errors import UnreadableError, UsageError
from imagekit.golang.checks import Check
from imagekit.image.archives import ArchiveSpec
from imagekit.image.recipe import Recipe
from imagekit.loading import Marks, load_document, nearest
from imagekit.targets.build import Build, program_name
from imagekit.targets.mains import find_main_packages

FILE = "imagekit.yaml"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run was told: every build has its id, every image its build.

    `root` is the folder that the paths in it are relative to; `marks` tell where things were written, None without a
    file.
    """

    root: Path
    marks: Marks | None = None
    builds: tuple[Build, ...]
    images: tuple[Recipe, ...]
    archives: tuple[ArchiveSpec, ...] = ()
    checks: tuple[Check, ...] = ()
    policy: str = "scratch"
    sbom: tuple[SbomFormat, ...] = (SbomFormat.CYCLONEDX, SbomFormat.SPDX)
    sign: tuple[SignEntry, ...] = ()
    template_env: tuple[str, ...] = ()
    output: str = "dist"

    def origin(self, *way: str | int) -> str:
        """`imagekit.yaml:9`, or `default`."""
        return self.marks.origin(*way) if self.marks else "default"


def read(given: Path | None, directory: Path, packages: Sequence[str] = ()) -> Config:
    """The configuration at `given`, else at `directory`/imagekit.yaml, else the default one.

    `packages` are the main packages that the command line names: they choose among the configured builds, or are the
    builds where none are configured. Raises `ConfigError` with every mistake, `UsageError` without anything to build.
    """
    if given is not None:
        return load(given, packages)
    path = directory / FILE
    if path.is_file():
        return load(path, packages, name=FILE)
    return default_config(packages or _found_packages(directory), directory)


def load(path: Path, packages: Sequence[str] = (), *, name: str = "") -> Config:
    """The configuration in a file, complete and checked; `name` is what mistakes call it (default: the path)."""
    document, marks = _loaded(path, name)
    root = path.parent
    builds = tuple(_named(build, root) for build in document.builds)
    if not builds:
        builds = default_builds(packages or _found_packages(root), root)
    images = default_images(builds) if document.images is UNSET else document.images
    wrong = _wrong(document, builds, images)
    if wrong:
        raise marks.refusal([marks.mistake(*one) for one in wrong])
    config = Config(
        root=root,
        marks=marks,
        builds=builds,
        images=images,
        archives=document.archives,
        checks=document.checks,
        policy=document.policy,
        sbom=document.sbom,
        sign=document.sign,
        template_env=document.template_env,
        output=document.output,
    )
    return only(config, packages) if packages else config


def default_config(packages: Sequence[str], root: Path = Path()) -> Config:
    """What is built without a configuration: each package for linux/amd64 and linux/arm64, one image each."""
    builds = default_builds(packages, root)
    return Config(root=root, builds=builds, images=default_images(builds))


def default_builds(packages: Sequence[str], root: Path) -> tuple[Build, ...]:
    """One build a package; packages of one name are called by their whole path (`tools-app`)."""
    names = [_as_name(program_name(package) or module_name(root)) for package in packages]
    return tuple(
        Build(id=name if names.count(name) == 1 else _whole_name(package), main=package)
        for name, package in zip(names, packages, strict=True)
    )


def default_images(builds: Sequence[Build]) -> tuple[Recipe, ...]:
    """One image for each build that has a linux platform."""
    return tuple(
        Recipe(id=build.name, build=build.name)
        for build in builds
        if any(platform.startswith("linux/") for platform in build.platforms)
    )


def only(config: Config, packages: Sequence[str]) -> Config:
    """The configuration with nothing but the builds of these packages, and what is made of them."""
    wanted = {_normal(package) for package in packages}
    builds = tuple(build for build in config.builds if _normal(build.main or ".") in wanted)
    missing = wanted - {_normal(build.main or ".") for build in builds}
    if missing:
        mains = [build.main or "." for build in config.builds if not build.prebuilt]
        raise UsageError(f"no build has the main package {min(missing)!r}", hint=nearest(min(missing), mains))
    names = {build.name for build in builds}
    kept = {
        "builds": [n for n, build in enumerate(config.builds) if build in builds],
        "images": [n for n, image in enumerate(config.images) if image.build in names],
        "archives": [n for n, spec in enumerate(config.archives) if spec.build in names],
    }
    return msgspec.structs.replace(
        config,
        builds=builds,
        images=tuple(config.images[n] for n in kept["images"]),
        archives=tuple(config.archives[n] for n in kept["archives"]),
        marks=config.marks.only(kept) if config.marks else None,
    )


def module_name(directory: Path) -> str:
    """What `go build` would call the program at a module's root: from go.mod, else the folder's name."""
    from imagekit.source.gomod import read_mod

    try:
        return program_name(read_mod(directory / "go.mod").module)
    except (OSError, UnreadableError):
        return _as_name(directory.resolve().name)


def _loaded(path: Path, name: str) -> tuple[ConfigDocument, Marks]:
    loaded = load_document(path, ConfigDocument, name=name)
    return loaded.value, loaded.marks


def _wrong(document: ConfigDocument, builds: Sequence[Build], images: Sequence[Recipe]) -> list[Wrong]:
    names = [build.name for build in builds]
    own_images = () if document.images is UNSET else images
    return [
        *document_mistakes(document),
        *image_mistakes(own_images, names),
        *archive_mistakes(document.archives, names),
    ]


def _named(build: Build, root: Path) -> Build:
    """The build with its id; a prebuilt one without a name keeps none, and `expand` says so."""
    if build.name or build.prebuilt:
        return build
    return msgspec.structs.replace(build, id=module_name(root / build.directory))


def _found_packages(root: Path) -> tuple[str, ...]:
    packages = find_main_packages(root)
    if not packages:
        raise UsageError(
            f"there is no main package in {root.resolve()}",
            hint="go to a module's folder, name a package, or write one down with `imagekit init`",
        )
    return packages


def _normal(package: str) -> str:
    return package.removeprefix("./").rstrip("/") or "."


def _whole_name(package: str) -> str:
    return _as_name(package.partition("@")[0].replace("/", "-"))


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "app"
