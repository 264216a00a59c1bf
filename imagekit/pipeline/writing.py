"""Write: dist/ changes whole, or stays as it is because it already is what would be written. Touches disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagekit.audit.judge import Report
from imagekit.pipeline.ground import Ground
from imagekit.pipeline.shipping import Passed, Shipped, ship
from imagekit.staging import staged
from imagekit.workers import Cancellation


def write(
    ground: Ground,
    passed: Sequence[Passed],
    report: Report,
    cancellation: Cancellation,
) -> Shipped:
    """The finished output folder, swapped in whole."""
    with staged(_place(ground)) as folder:
        shipped = ship(ground, passed, report, folder)
        cancellation.check()
    return shipped


def _place(ground: Ground) -> Path:
    return ground.output
