"""What docs/ holds of this room, made from the code: the index of the rules, and the JSON Schema of the report.

`python -m imagekit.audit.pages` writes both into ./docs (touches disk); a test checks that they are in step.
"""

from __future__ import annotations

from pathlib import Path

from imagekit.audit.report import audit_schema
from imagekit.audit.rules import RULES
from imagekit.content import readable_json, write_whole

_INTRODUCTION = """\
# Rules

What `imagekit build` and `imagekit audit` look for, in the order of the report. A policy changes a severity
(`rules: {cgo: warning}`), switches a rule off (`rules: {cgo: off}`), or waives single findings until a day.

| rule | severity | what must hold |
|---|---|---|
"""


def rules_index() -> str:
    """docs/rules/README.md."""
    rows = (f"| [{rule.id}]({rule.id}.md) | {rule.severity.word} | {rule.summary} |\n" for rule in RULES)
    return _INTRODUCTION + "".join(rows)


def pages() -> dict[str, bytes]:
    """Path in docs/ -> content."""
    return {"rules/README.md": rules_index().encode(), "schema/audit.schema.json": readable_json(audit_schema())}


if __name__ == "__main__":
    for path, content in pages().items():
        write_whole(Path("docs") / path, content)
