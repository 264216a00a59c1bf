"""RULES: every rule, its severity where no policy says otherwise, and the checks that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from imagekit.audit.checks import bytes_left, endpoints, libraries, protections, running, sources, stamps
from imagekit.audit.checks.cgo import cgo_where_off
from imagekit.audit.checks.consistency import same_across_targets
from imagekit.audit.checks.linkage import must_be_allowed
from imagekit.audit.checks.mismatch import must_be_what_was_asked
from imagekit.audit.checks.nss import no_nss_in_static_glibc
from imagekit.audit.checks.packages import nothing_forbidden
from imagekit.audit.checks.parsers import parsers_agree
from imagekit.audit.checks.unsafe import nothing_unsafe
from imagekit.audit.checks.x_value import must_hold_x_values
from imagekit.audit.finding import Remark, Severity
from imagekit.audit.subject import Subject

if TYPE_CHECKING:
    from imagekit.audit.terms import Policy

Check = Callable[[Subject, "Policy"], Iterator[Remark]]
"""Looks at one subject."""
Across = Callable[[Sequence[Subject]], Iterator[tuple[Subject, Remark]]]
"""Looks at all subjects of one run together; each remark with the subject that it is about."""


class Rule(msgspec.Struct, frozen=True):
    """A stable id, its page docs/rules/<id>.md, and what looks for it.

    A rule without a check is found elsewhere, before there is a binary: a weakness of the source, a failed compile, a
    file that cannot be read. A rule on request speaks only where a policy gives it a severity.
    """

    id: str
    severity: Severity
    summary: str
    check: Check | None = None
    across: Across | None = None
    on_request: bool = False

    @property
    def docs(self) -> str:
        """The rule's page, from the root of the repository."""
        return f"docs/rules/{self.id}.md"

    def severity_under(self, policy: Policy, remark: Severity | None = None) -> Severity | None:
        """What a finding of this rule is worth; None where the rule is off. The policy's word wins over a remark's."""
        if self.on_request and self.id not in policy.rules:
            return None
        return policy.severity(self.id, remark or self.severity)


E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE

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
    Rule("unreadable", E, "every member of a tree could be read"),
    Rule("parsers-disagree", W, "independent parsers read the same from the file (`--deep`)", parsers_agree),
    Rule("libraries", E, "the program needs no library that the policy does not list", libraries.only_listed),
    Rule("interpreter", W, "the loader stands where every system of that kind has it", libraries.usual_loader),
    Rule("glibc-min", E, "the program asks for no newer glibc than the policy's", libraries.old_enough),
    Rule("rpath", W, "the program names no folders of its own to load libraries from", libraries.no_search_path),
    Rule("loads-code", N, "the program loads no code while it runs", running.loads_no_code),
    Rule("forbidden-package", E, "no Go package that the policy forbids is linked in", nothing_forbidden),
    Rule("required-setting", E, "Go's build info holds the settings that the policy requires", stamps.as_required),
    Rule("no-build-info", N, "a Go program carries its build info", stamps.has_build_info),
    Rule("vcs-dirty", N, "the program was built from an unchanged commit", stamps.clean_commit),
    Rule(
        "no-vcs", W, "the program names the commit or version it was built from", stamps.names_source, on_request=True
    ),
    Rule("trimpath", N, "the program was built with -trimpath", sources.trimmed),
    Rule("leaked-path", N, "no path of the machine that built it stands in the program", sources.no_paths),
    Rule("instrumented", W, "the program is not built for tests (-race, -asan, -msan, -cover)", running.no_instrument),
    Rule("pprof", W, "no profiling handler (net/http/pprof) is linked in", endpoints.no_pprof),
    Rule("expvar", N, "no handler that shows internal variables (expvar) is linked in", endpoints.no_expvar),
    Rule("health", W, "the program answers health checks", endpoints.has_health, on_request=True),
    Rule("fips", E, "the program uses a FIPS 140-3 module", running.has_fips, on_request=True),
    Rule("writable-code", W, "no memory is writable and executable at once", protections.no_writable_code),
    Rule("nx", W, "the stack and the heap are not executable", protections.no_executable_stack),
    Rule("relro", W, "what the loader relocates is read-only afterwards", protections.full_relro, on_request=True),
    Rule("pie", W, "the program can be loaded at any address", protections.position_independent, on_request=True),
    Rule("aslr", W, "a Windows program lets itself be moved in memory", protections.randomized, on_request=True),
    Rule("signature", W, "code that must be signed is, and the signature fits", bytes_left.signed_where_needed),
    Rule("debug", N, "no debug information is shipped", bytes_left.no_debug, on_request=True),
    Rule("symbols", N, "no symbol table is shipped", bytes_left.no_symbols, on_request=True),
    Rule("timestamp", N, "a Windows program holds no time of its build", bytes_left.no_timestamp),
    Rule("packer", W, "the program is as its linker wrote it, not packed", bytes_left.not_packed),
    Rule("overlay", N, "nothing is appended to the program", bytes_left.nothing_appended),
)
"""In the order of the report."""

BY_ID = {rule.id: rule for rule in RULES}
