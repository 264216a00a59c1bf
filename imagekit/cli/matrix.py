"""What the commands about the matrix begin with: configuration, source, targets. Touches disk, runs git."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from imagekit.cli.stopping import SWITCH

if TYPE_CHECKING:
    from imagekit.config import Config
    from imagekit.targets.target import Target
    from imagekit.targets.templating import TemplateContext


class Matrix(msgspec.Struct, frozen=True):
    """A configuration, what its templates see, and all its targets."""

    config: Config
    context: TemplateContext
    targets: tuple[Target, ...]


def read_matrix(given: Path | None) -> Matrix:
    """The matrix of the configuration at `given`, else of ./imagekit.yaml, else the default one."""
    from imagekit.config import read, targets_of
    from imagekit.source.git import read_state
    from imagekit.targets.templating import context_of

    config = read(given, Path())
    git = read_state(config.root, env=os.environ, cancellation=SWITCH)
    context = context_of(git, config.template_env, os.environ)
    return Matrix(config, context, targets_of(config, context))
