"""The imagekit.yaml that `init` writes. Touches disk."""

from __future__ import annotations

from pathlib import Path

from imagekit.config.reading import default_config
from imagekit.targets.mains import find_main_packages
from imagekit.text import render


def starting_config(directory: Path) -> str:
    """The default configuration of the programs below `directory`, written out, with a word on each key."""
    config = default_config(find_main_packages(directory) or (".",), directory)
    builds = [{"id": build.name, "main": build.main} for build in config.builds]
    return render("imagekit.yaml.j2", builds=builds, platforms=config.builds[0].platforms)
