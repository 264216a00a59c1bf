"""What docs/ holds that is made from the code: the index of the rules, and the JSON Schemas of what is printed.

`python -m imagekit.audit.pages` writes them into ./docs (touches disk); a test checks that they are in step.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from imagekit.audit.profiles import EXAMPLE, PROFILES, names
from imagekit.audit.rules import RULES, Rule
from imagekit.audit.terms import Policy
from imagekit.content import readable_json, write_whole

_INTRODUCTION = """\
# Rules

What `imagekit build` and `imagekit audit` look for, in the order of the report, and what a finding is worth under each
built-in profile (`N` is a version of glibc: `glibc-2.36`). A policy changes a severity (`rules: {cgo: warning}`),
switches a rule off or, where it says `off` here, on, or waives single findings until a day. Some findings weigh less
than their rule, or only where the policy lists something; the page says when.

This page is `imagekit rules --format markdown`.

"""


class Row(msgspec.Struct, frozen=True):
    """A rule as people are shown it: its severity (`error`, `warning`, `note`, `off`) by profile."""

    id: str
    severity: dict[str, str]
    summary: str
    docs: str


def rows() -> tuple[Row, ...]:
    """Every rule, in the order of the report; profiles in the order of their list."""
    by_name = {profile.name: profile for profile in PROFILES} | {"glibc-N": EXAMPLE}
    return tuple(
        Row(rule.id, {name: _word(rule, name, by_name) for name in names()}, rule.summary, rule.docs) for rule in RULES
    )


def _word(rule: Rule, name: str, by_name: dict[str, Policy]) -> str:
    severity = rule.severity_under(by_name[name])
    return severity.word if severity else "off"


def rules_index() -> str:
    """docs/rules/README.md."""
    heads = ("rule", *names(), "what must hold")
    lines = [(f"[{row.id}]({row.id}.md)", *row.severity.values(), row.summary) for row in rows()]
    table = [f"| {' | '.join(cells)} |\n" for cells in (heads, *lines)]
    return _INTRODUCTION + "".join([table[0], "|---" * len(heads) + "|\n", *table[1:]])


def document() -> dict[str, object]:
    """What `imagekit rules --format json` prints."""
    return {"schema": "urn:imagekit:rules:v1", "profiles": list(names()), "rules": msgspec.to_builtins(rows())}


def pages() -> dict[str, bytes]:
    """Path in docs/ -> content."""
    from imagekit.audit.comparing.difference import diff_schema
    from imagekit.audit.report import audit_schema
    from imagekit.oci.reports import schemas

    made = {"audit": audit_schema(), "diff": diff_schema()} | {f"image-{name}": one for name, one in schemas().items()}
    return {"rules/README.md": rules_index().encode()} | {
        f"schema/{name}.schema.json": readable_json(schema) for name, schema in made.items()
    }


if __name__ == "__main__":
    for path, content in pages().items():
        write_whole(Path("docs") / path, content)
