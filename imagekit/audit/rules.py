"""RULES: every rule, its severity where no policy says otherwise, and the checks that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from imagekit.audit.checks.cgo import cgo_where_off
from imagekit.audit.checks.consistency import same_across_targets
from imagekit.audit.checks.linkage import must_be_allowed
from imagekit.audit.checks.mismatch import must_be_what_was_asked
from imagekit.audit.checks.nss import no_nss_in_static_glibc
from imagekit.audit.checks.unsafe import nothing_unsafe
from imagekit.audit.checks.x_value import must_hold_x_values
from imagekit.audit.finding import Remark, Severity
from imagekit.audit.subject import Subject

if TYPE_CHECKING:
    from imagekit.audit.policy import Policy

Check = Callable[[Subject, "Policy"], Iterator[Remark]]
"""Looks at one subject."""
Across = Callable[[Sequence[Subject]], Iterator[tuple[Subject, Remark]]]
"""Looks at all subjects of one run together; each remark with the subject that it is about."""


class Rule(msgspec.Struct, frozen=True):
    """A stable id, its page docs/rules/<id>.md, and what looks for it.

    A rule without a check is found elsewhere, before there is a binary: a weakness of the source, a failed compile.
    """

    id: str
    severity: Severity
    summary: str
    check: Check | None = None
    across: Across | None = None

    @property
    def docs(self) -> str:
        """The rule's page, from the root of the repository."""
        return f"docs/rules/{self.id}.md"


E, W = Severity.ERROR, Severity.WARNING

RULES: tuple[Rule, ...] = (
    Rule("linkage", E, "the program's linkage is one that the policy allows on its OS", must_be_allowed),
    Rule("cgo-required", E, "no package needs cgo while the build says `cgo: off`"),
    Rule("cgo", E, "no C code is linked where the build says `cgo: off`", cgo_where_off),
    Rule(
        "mismatch",
        E,
        "the file is what was asked for, and the same on every target",
        must_be_what_was_asked,
        same_across_targets,
    ),
    Rule("x-value", E, "every `-X` value stands in the variable that it was meant for", must_hold_x_values),
    Rule("vendor-mismatch", E, "vendored files are those of the modules that go.sum verifies"),
    Rule("vendor-unverified", W, "vendored files could be compared with the modules that go.sum verifies"),
    Rule("dirty-tree", W, "the source tree is the commit, unchanged"),
    Rule("local-replace", W, "no module is replaced by a folder outside any version"),
    Rule("go-sum-missing", W, "go.sum has a line for every module"),
    Rule("sumdb-off", W, "the checksum database is asked for every public module"),
    Rule("sumdb-unreached", W, "the checksum database, or a kept record of it, answered"),
    Rule("unsafe", W, "no flag and no variable from outside the allow-lists", nothing_unsafe),
    Rule("nss", W, "no static glibc program loads the host's name-service libraries", no_nss_in_static_glibc),
)
"""In the order of the report."""

BY_ID = {rule.id: rule for rule in RULES}
