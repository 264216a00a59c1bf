"""The files from which docker builds the same images: Dockerfile.<image>, Dockerfile.<image>.source, docker-bake.hcl.

Text only: values in, text out; the templates stand in `templates/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from imagekit.image.assemble import Assembled
from imagekit.image.compiling import SourceStep, script_lines
from imagekit.image.kept import LayerCache
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import Program
from imagekit.text import render, template_source

SCRATCH = "Dockerfile.scratch.j2"
SOURCE = "Dockerfile.source.j2"
BAKE = "docker-bake.hcl.j2"
_ALPINE = "-alpine"


class BakeTarget(msgspec.Struct, frozen=True):
    """One target of docker-bake.hcl; `platforms` as `--platform` takes them."""

    target: str
    dockerfile: str
    platforms: tuple[str, ...]
    tags: tuple[str, ...]
    contexts: dict[str, str] = {}
    """Name in a Dockerfile's FROM -> where that image is."""


def scratch_dockerfile(recipe: Recipe, image: Assembled, cache: LayerCache | None = None) -> str:
    """Dockerfile.<image>: scratch, `ADD` of the root file system, `COPY` of the program for the wanted platform.

    It builds with BuildKit and with the classic builder of docker 20.10, its context being dist/.
    """
    programs = tuple(one.program for one in image.images)
    fallback = _fallback(programs)
    values = {
        **_runtime(recipe, image),
        "dockerfile": f"Dockerfile.{image.name}",
        "fallback": str(fallback.requested),
        "rootfs": [f"rootfs/{image.name}.tar", "/"] if image.tree else [],
        "program": [
            f"bin/{_folder(fallback, programs)}/{_literal(fallback.name)}",
            f"/{_literal(fallback.name)}",
        ],
    }
    return _rendered(SCRATCH, values, cache)


def source_dockerfile(
    recipe: Recipe,
    image: Assembled,
    steps: Sequence[SourceStep],
    *,
    go_version: str,
    output: str = "dist",
    cache: LayerCache | None = None,
) -> str:
    """Dockerfile.<image>.source: compiles each target as imagekit did, in the project's folder with `output` in it.

    `go_version` is spelled as Go does (`go1.26.8`). A script that does not fit into lines becomes a JSON array.
    """
    cgo = any(step.cgo for step in steps)
    name = image.images[0].program.name
    lines = script_lines(steps)
    plain = all(line.isprintable() for line in lines)
    values = {
        **_runtime(recipe, image),
        "dockerfile": f"{output}/Dockerfile.{image.name}.source",
        "go_image": _go_image(go_version) + (_ALPINE if cgo else ""),
        "cgo": cgo,
        "copy_source": not all(step.module for step in steps),
        "lines": lines if plain else [],
        "script": [] if plain else ["/bin/sh", "-c", "\n".join(lines)],
        "rootfs_file": f"{output}/rootfs/{image.name}.tar",
        "rootfs": [f"{_literal(output)}/rootfs/{image.name}.tar", "/"] if image.tree else [],
        "program": [f"/out/{_literal(name)}", f"/{_literal(name)}"],
    }
    return _rendered(SOURCE, values, cache)


def bake_target(recipe: Recipe, image: Assembled, contexts: Mapping[str, str] = MappingProxyType({})) -> BakeTarget:
    """The target of an image; without tags it is `latest`."""
    suffix = image.name.removeprefix(recipe.id)
    tags = tuple(f"{recipe.kept_at}:{tag}{suffix}" for tag in recipe.tags or ("latest",))
    platforms = tuple(str(one.program.requested) for one in image.images)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", image.name)
    return BakeTarget(name, f"Dockerfile.{image.name}", platforms, tags, dict(contexts))


def bake_file(targets: Sequence[BakeTarget], cache: LayerCache | None = None) -> str:
    """docker-bake.hcl: one target an image and the group `default` of all of them."""
    return _rendered(BAKE, {"images": [msgspec.structs.asdict(target) for target in _named_apart(targets)]}, cache)


def _named_apart(targets: Sequence[BakeTarget]) -> tuple[BakeTarget, ...]:
    """`a.b` and `a_b` are both `a_b` in HCL: a number tells the later one apart."""
    taken: dict[str, BakeTarget] = {}
    for target in targets:
        name, number = target.target, 2
        while name in taken:
            name, number = f"{target.target}_{number}", number + 1
        taken[name] = msgspec.structs.replace(target, target=name)
    return tuple(taken.values())


def _runtime(recipe: Recipe, image: Assembled) -> dict[str, Any]:
    """How the image runs: the same in both Dockerfiles and in the configuration that imagekit writes."""
    return {
        "image": image.name,
        "base": image.base,
        "labels": [list(pair) for pair in sorted(image.labels.items())],
        "env": [list(pair) for pair in recipe.env.items()],
        "user": recipe.user,
        "workdir": recipe.workdir,
        "healthcheck": list(recipe.healthcheck),
        "entrypoint": list(recipe.command),
    }


def _fallback(programs: Sequence[Program]) -> Program:
    """What a builder gets that does not name a platform: linux/amd64 if it is there, else the first."""
    return next((one for one in programs if str(one.requested) == "linux/amd64"), programs[0])


def _folder(fallback: Program, programs: Sequence[Program]) -> str:
    """`bin/<os>_<arch>[_<variant>]` as a word that the builder expands, with the fallback for what it does not know."""
    platform = fallback.requested
    folder = f"${{TARGETOS:-{platform.os}}}_${{TARGETARCH:-{platform.architecture}}}"
    if not platform.variant:
        return folder + "${TARGETVARIANT:+_${TARGETVARIANT}}"
    if all(one.requested.variant for one in programs):
        return folder + f"_${{TARGETVARIANT:-{platform.variant}}}"
    return folder + "${TARGETVARIANT:+_${TARGETVARIANT}}"


def _literal(name: str) -> str:
    """A file's name in a word that the builder expands."""
    return re.sub(r"""([\\"'$])""", r"\\\1", name)


def _go_image(go_version: str) -> str:
    """`golang:1.26.8` for `go1.26.8`; the newest for a Go that was not released."""
    found = re.fullmatch(r"go(\d+\.\d+(?:\.\d+|rc\d+|beta\d+)?)", go_version)
    return f"golang:{found[1]}" if found else "golang:latest"


def _rendered(template: str, values: dict[str, Any], cache: LayerCache | None) -> str:
    """The filled template; kept ones cost no jinja2 (20 ms to import)."""
    if cache is None:
        return render(template, **values)
    return cache.text(["template", template_source(template), values], lambda: render(template, **values))
