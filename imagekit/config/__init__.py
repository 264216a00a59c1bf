"""imagekit.yaml -> Config, composed of the rooms' own types; every mistake at once, each with its line."""

from imagekit.config.filling import archive_name, archive_names, images_of, targets_of
from imagekit.config.reading import Config, default_config, load, read

__all__ = [
    "Config",
    "archive_name",
    "archive_names",
    "default_config",
    "images_of",
    "load",
    "read",
    "targets_of",
]
