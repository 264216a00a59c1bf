"""`imagekit check`: is the configuration right, without building anything."""

from __future__ import annotations

import sys

from imagekit.cli.options import ConfigFile


def check(config: ConfigFile = None) -> None:
    """Check imagekit.yaml and the policy it names: every mistake at once, with its line."""
    from imagekit.audit import policy
    from imagekit.cli.matrix import read_matrix
    from imagekit.config import archive_names, images_of

    matrix = read_matrix(config)
    images = images_of(matrix.config, matrix.context)
    archives = archive_names(matrix.config, matrix.targets, matrix.context)
    policy.load(matrix.config.policy, beside=matrix.config.root)
    name = matrix.config.marks.name if matrix.config.marks else "no imagekit.yaml: the defaults"
    counts = f"{len(matrix.targets)} targets, {len(images)} images, {len(archives)} archives"
    print(f"{name}: {counts}, policy {matrix.config.policy}: all right", file=sys.stderr)
