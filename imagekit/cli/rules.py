"""`imagekit rules`: what is looked for, and what a finding is worth under each profile."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

FORMATS = ("table", "json", "markdown")


def rules(
    form: Annotated[str, typer.Option("--format", metavar="table|json|markdown", help="How to print it.")] = "table",
) -> None:
    """List every rule: its id, its severity under each built-in profile, what must hold, its page in docs/."""
    from imagekit.audit import pages
    from imagekit.cli.asking import choice
    from imagekit.cli.tables import aligned

    match choice("--format", form, FORMATS):
        case "json":
            from imagekit.content import readable_json

            sys.stdout.write(readable_json(pages.document()).decode())
        case "markdown":
            sys.stdout.write(pages.rules_index())
        case _:
            found = pages.rows()
            heads = ("rule", *found[0].severity, "what must hold", "page")
            print(aligned([heads, *((row.id, *row.severity.values(), row.summary, row.docs) for row in found)]))
