"""Rows of text in columns, for the commands whose answer is a list."""

from __future__ import annotations

from collections.abc import Sequence

from imagekit.text import line


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """The rows with their columns below each other, two spaces apart; one line a row, nothing in it is obeyed."""
    shown = [tuple(map(line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )
