"""Facts and subjects by recipe: a plain static program of crane's shape, and what a test changes of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
import pytest

from imagekit.audit.explain import Explanation, File, Place
from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.judge import Report, judge
from imagekit.audit.policy import SCRATCH, Waiver
from imagekit.audit.rules import RULES
from imagekit.audit.subject import Expected, Source, Subject
from imagekit.binary.deep import CompileUnit, Deep, Disagreement
from imagekit.binary.facts import BinaryFacts, CgoUse, Evidence, GoBuild, GoModule, Linkage, Traits
from imagekit.binary.sizes import PackageSize
from imagekit.content import Digest
from imagekit.platform import Platform
from imagekit.source.weakness import Weakness
from imagekit.targets.target import Target

TODAY = datetime.date(2027, 3, 31)
AMD64 = Platform("linux", "amd64")
ERRORS = GoModule("example.org/errors", "v0.9.1", "h1:" + "A" * 43 + "=")
SETTINGS = {
    "-buildmode": "exe",
    "-compiler": "gc",
    "-trimpath": "true",
    "CGO_ENABLED": "0",
    "GOARCH": "amd64",
    "GOAMD64": "v1",
    "GOOS": "linux",
}
GO = GoBuild(
    version="go1.26.8",
    path="example.org/app/cmd/app",
    main=GoModule("example.org/app", "(devel)"),
    deps=(ERRORS,),
    settings=SETTINGS,
)
EVIDENCE = {
    "linkage": Evidence("program headers", 64, "no PT_INTERP, no PT_DYNAMIC"),
    "go": Evidence(".go.buildinfo", 4096, "go1.26.8"),
}


@pytest.fixture
def facts() -> Callable[..., BinaryFacts]:
    """BinaryFacts of a static linux/amd64 Go program, with changes."""

    def make(**changes: Any) -> BinaryFacts:
        plain: dict[str, Any] = {
            "format": "elf",
            "platform": AMD64,
            "linkage": Linkage.STATIC,
            "cgo": CgoUse.ABSENT,
            "go": GO,
            "evidence": EVIDENCE,
        }
        return BinaryFacts(**{**plain, **changes})

    return make


@pytest.fixture
def target() -> Callable[..., Target]:
    def make(**changes: Any) -> Target:
        plain: dict[str, Any] = {"build": "app", "platform": AMD64, "level": "v1", "main": "./cmd/app"}
        return Target(**{**plain, **changes})

    return make


@pytest.fixture
def expected(target: Callable[..., Target]) -> Callable[..., Expected]:
    """What was asked for, so that it fits `facts`."""

    def make(**changes: Any) -> Expected:
        plain: dict[str, Any] = {
            "target": target(),
            "toolchain": "go1.26.8",
            "package": "example.org/app/cmd/app",
            "module": GoModule("example.org/app", ""),
            "modules": (ERRORS,),
        }
        return Expected(**{**plain, **changes})

    return make


@pytest.fixture
def subject(facts: Callable[..., BinaryFacts]) -> Callable[..., Subject]:
    def make(facts_: BinaryFacts | None = None, path: str = "bin/linux_amd64/app", **changes: Any) -> Subject:
        return Subject(
            path=path,
            digest=Digest("sha256:" + "0" * 64),
            size=1 << 20,
            facts=facts_ or facts(),
            source=Source(path=path),
            **changes,
        )

    return make


@pytest.fixture
def go_build() -> GoBuild:
    return GO


HOSTILE = (
    "\x1b[31m\x9b1m\u202ex\x00\n::error::x\n::add-mask::y ##[add-path]z ##vso[task.complete] ]]> %0A::error::n \udcff "
    "<script>document.title='owned'</script> </style></title>--> \" ' & [bold]b[/bold] [l](javascript:alert(1)) "
    "{{ 7*7 }}"
)
"""What a name in a binary may hold to be obeyed: by a terminal, a CI log, XML, HTML, SARIF, rich, a template."""
_SPEAKING = ("linkage", "cgo-required", "dirty-tree", "nss", "cgo")
_ONLY = {rule.id: "off" for rule in RULES if rule.id not in _SPEAKING}
"""Rules that stay silent in a report whose findings are counted."""
_OURS = {"rule", "digest", "kind", "policy_digest"}
"""Fields whose words are imagekit's own."""


@pytest.fixture
def hostile() -> str:
    return HOSTILE


@pytest.fixture
def full_report(subject: Callable[..., Subject], facts: Callable[..., BinaryFacts]) -> Report:
    """A report with something in every field: two programs, a target without a file, waivers, a skip."""
    dynamic = facts(
        linkage=Linkage.DYNAMIC,
        libc="glibc",
        glibc_min="2.34",
        interpreter="/lib64/ld-linux-x86-64.so.2",
        needed=("libc.so.6",),
        rpath=("/opt/lib",),
        hardening={"relro": "partial", "pie": True, "canary": None},
        traits=Traits(imports={"libc.so.6": ("dlopen",)}, instrumented=("race",), leaked_paths=("/home/me/main.go",)),
    )
    asked = {
        "sizes": (
            PackageSize("runtime", "", 400_000),
            PackageSize("main", "example.org/app", 30_000),
            PackageSize("example.org/errors", "example.org/errors", 20_000),
            *(PackageSize(f"example.org/many/p{n}", "example.org/many", 900 - n) for n in range(40)),
            PackageSize("", "", 700),
        ),
        "explanation": Explanation(
            cgo_functions=("main._Cfunc_puts",),
            cgo_packages=("main",),
            chains=(("example.org/app", "example.org/errors"),),
            packages=("example.org/errors",),
            libraries={"libc.so.6": "runtime/cgo"},
            places=(Place("scratch", "no", "no loader is there"), Place("alpine", "unknown", "musl")),
            files=(File("/etc/passwd", "os/user is linked"),),
            fixes=("CGO_ENABLED=0",),
        ),
        "deep": Deep(
            compile_units=(CompileUnit("puts.c", "GNU C17 12.2.0", "C11"),),
            signature="valid",
            disagreements=(Disagreement("needed", "libc.so.6", "libc.so.7", "lief"),),
        ),
    }
    image = Source(kind="image", ref="oci:dist/oci:app", manifest="sha256:" + "1" * 64, layer="sha256:" + "2" * 64)
    waivers = (Waiver("nss", "*", TODAY, "for now"), Waiver("cgo", "*", TODAY - datetime.timedelta(days=1), "old"))
    early = Finding(
        rule="cgo-required",
        severity=Severity.ERROR,
        subject="app:linux/arm64",
        message="example.org/c has no Go files without cgo",
        evidence=(Evidence("example.org/c", None, "c.go"),),
        chain=("example.org/app", "example.org/c"),
        hint="cgo: static",
    )
    other = msgspec.structs.replace(subject(facts(), path="bin/linux_arm64/app"), source=image)
    return judge(
        [subject(dynamic, **asked), other],
        msgspec.structs.replace(SCRATCH, waivers=waivers, rules=_ONLY),
        today=TODAY,
        weaknesses=[Weakness("dirty-tree", "changed: main.go")],
        findings=[early, Finding(rule="nss", severity=Severity.WARNING, subject="bin/linux_arm64/app", message="w")],
        skips=[Skip("odd", "no permission")],
        other=3,
    )


@pytest.fixture
def hostile_report(full_report: Report) -> Report:
    """The same report with every word that is not imagekit's own replaced by `HOSTILE`."""
    return _poisoned(full_report)


def _poisoned(value: Any) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__ if name not in _OURS}
        return msgspec.structs.replace(value, **{name: _poisoned(field) for name, field in fields.items()})
    if isinstance(value, dict):
        return {_poisoned(key): _poisoned(each) for key, each in value.items()}
    return tuple(map(_poisoned, value)) if isinstance(value, tuple) else value
