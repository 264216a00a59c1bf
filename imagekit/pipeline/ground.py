"""Ground: everything that is known before Go is asked to do anything: configuration, repository, toolchain, targets.

Touches disk; starts git and one `go env`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from imagekit.audit import policy as policies
from imagekit.audit.policy import Policy
from imagekit.cancellation import Cancellation
from imagekit.config import Config, images_of, read, targets_of
from imagekit.errors import UsageError
from imagekit.golang.settings import GoSettings, read_settings
from imagekit.golang.toolchain import find
from imagekit.image.archives import ArchiveSpec
from imagekit.image.recipe import Recipe, names_of
from imagekit.image.shipped import chosen as shipped_ones
from imagekit.image.words import Origin, source_date_epoch
from imagekit.pipeline.ready import Ready
from imagekit.pipeline.request import Request
from imagekit.source.git import GitState, read_state
from imagekit.targets.listing import chosen
from imagekit.targets.target import Target
from imagekit.targets.templating import Cell, TemplateContext, context_of, fill


class Surroundings(msgspec.Struct, frozen=True):
    """What a run sees of the process around it: the environment of git and Go, the variables that `template_env` picks
    from, and SOURCE_DATE_EPOCH.
    """

    environment: Mapping[str, str]
    variables: Mapping[str, str]
    epoch: str | None

    @classmethod
    def here(cls) -> Surroundings:
        """This process's own."""
        return cls(os.environ, os.environ, os.environ.get("SOURCE_DATE_EPOCH"))


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a run stands on; `created` is the time of everything it writes, in seconds since 1970."""

    request: Request
    config: Config
    policy: Policy
    git: GitState | None
    context: TemplateContext
    created: int
    targets: tuple[Target, ...]
    images: tuple[Recipe, ...]
    settings: GoSettings | None
    """Go's settings in the configuration's folder; None where nothing is compiled."""
    undated: bool = False
    """Whether neither SOURCE_DATE_EPOCH nor a repository says a time; `created` is 0 then."""

    @property
    def root(self) -> Path:
        """The folder that paths in the configuration are relative to."""
        return self.config.root

    @property
    def archives(self) -> tuple[ArchiveSpec, ...]:
        return self.config.archives

    @property
    def output(self) -> Path:
        """Where dist/ goes: `--output`, else the configuration's, relative to the working directory."""
        return self.request.output or Path(self.config.output)

    @property
    def output_inside(self) -> str:
        """The same seen from the project's folder, as Dockerfiles spell it; only its name for one that is elsewhere."""
        output, root = self.output.parent.resolve() / self.output.name, self.root.resolve()
        return output.relative_to(root).as_posix() if output.is_relative_to(root) else output.name

    def fill_for(self, target: Target, text: str) -> str:
        """A template filled for one target."""
        return fill(text, self.context, Cell.of(target))

    def origin(self, ready: Ready | None) -> Origin:
        """What is written on an image about where its programs come from."""
        module = ready.module if ready is not None and ready.published else None
        return Origin(
            version=module.version if module else self.context.version,
            revision="" if module else self.context.commit,
            source="" if module or self.git is None else self.git.remote,
            module=module.path if module else "",
            module_version=module.version if module else "",
            module_sum=module.sum if module else "",
        )


def prepare(
    request: Request,
    cancellation: Cancellation,
    *,
    compiling: bool = True,
    around: Surroundings | None = None,
) -> Ground:
    """Read the configuration, the repository and Go's settings; expand the matrix and keep the selected targets.

    Without `compiling` Go is not asked, and need not be there. `around` stands in for this process's.

    Raises `ConfigError` for every mistake, `UsageError` for a selector that matches nothing and a push that cannot be,
    `ToolError` without git in a repository or without Go.
    """
    around = around or Surroundings.here()
    root = request.config.parent if request.config is not None else request.directory
    with ThreadPoolExecutor(2) as pool:
        state = pool.submit(read_state, root, env=around.environment, cancellation=cancellation)
        settings = pool.submit(_settings, root, around.environment, cancellation) if compiling else None
        config = read(request.config, request.directory, request.packages)
        git = state.result()
        go = settings.result() if settings is not None and not _all_prebuilt(config) else None
    context = context_of(git, config.template_env, around.variables)
    targets = targets_of(config, context)
    ground = Ground(
        request=request,
        config=config,
        policy=policies.load(request.policy) if request.policy else policies.load(config.policy, beside=config.root),
        git=git,
        context=context,
        created=_creation_time(git, around.epoch),
        undated=git is None and not around.epoch,
        targets=chosen(targets, request.selectors),
        images=_tagged(images_of(config, context), request.tags),
        settings=go,
    )
    if request.push:
        _require_pushable(ground)
    return ground


def _all_prebuilt(config: Config) -> bool:
    return all(build.prebuilt for build in config.builds)


def _settings(root: Path, environment: Mapping[str, str], cancellation: Cancellation) -> GoSettings:
    return read_settings(find(cancellation), root, cancellation, environment)


def settings_in(ground: Ground, directory: str, cancellation: Cancellation) -> GoSettings:
    """Go's settings in the folder of a build; those that are known already are not asked for again."""
    if ground.settings is None:
        return _settings(ground.root / directory, os.environ, cancellation)
    if directory in (".", ""):
        return ground.settings
    known = ground.settings
    return read_settings(known.toolchain, ground.root / directory, cancellation, known.ambient)


def _creation_time(git: GitState | None, epoch: str | None) -> int:
    """SOURCE_DATE_EPOCH, else the commit's time, else 0."""
    said = source_date_epoch(epoch)
    if said is not None:
        return said
    return git.commit_time if git else 0


def _tagged(images: Sequence[Recipe], tags: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes with the tags of `--tag` instead of their own."""
    from imagekit.oci.reference import check_tag

    if not tags:
        return tuple(images)
    return tuple(msgspec.structs.replace(image, tags=tuple(map(check_tag, tags))) for image in images)


def _require_pushable(ground: Ground) -> None:
    """Raise `UsageError` now, not after a long build, if `--push` has not exactly one image, or cannot name it."""
    from imagekit.oci.reference import destination

    destination(ground.request.push)
    made = [name for image in ground.images if _is_made(ground, image) for name in names_of(image)]
    if len(made) != 1:
        names = ", ".join(made) or "none"
        raise UsageError(f"--push is for one image, and there are {len(made)}: {names}", hint="name one PACKAGE")


def _is_made(ground: Ground, image: Recipe) -> bool:
    return bool(shipped_ones(image, [one.platform for one in ground.targets if one.build == image.build]))
