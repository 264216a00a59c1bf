"""Subject: one program before the rules, with its facts and, where imagekit built it, what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from imagekit.audit.chains import ImportGraph
from imagekit.audit.explain import Explanation
from imagekit.binary.deep import Deep
from imagekit.binary.facts import BinaryFacts, GoModule
from imagekit.binary.sizes import PackageSize
from imagekit.content import Digest
from imagekit.targets.target import Target


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a subject was found: `file`, `image` or `bundle`; None where the word does not apply."""

    kind: str = "file"
    ref: str | None = None
    manifest: str | None = None
    platform: str | None = None
    layer: str | None = None
    path: str | None = None


class Vcs(msgspec.Struct, frozen=True):
    """The commit that Go should have stamped, and whether the tree differed from it."""

    revision: str
    modified: bool


class XOutcome(StrEnum):
    """What became of one `-X name=value`."""

    PRESENT = "present"
    WRONG = "wrong"
    MISSING = "missing"
    DROPPED = "dropped"
    UNCHECKED = "unchecked"


class XCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One `-X` value after the link; `found` is what the variable holds, `reason` why it could not be looked at."""

    name: str
    value: str
    outcome: XOutcome
    found: str = ""
    reason: str = ""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. None and '' mean that nobody asked, so nothing is compared."""

    target: Target
    toolchain: str = ""
    """`go1.26.8`."""
    package: str = ""
    """Import path of the main package."""
    module: GoModule | None = None
    """The main module; for a published one with its version and `h1`, though Go then writes `(devel)`."""
    published: bool = False
    modules: Sequence[GoModule] | None = None
    """Exactly the modules, the main one aside, that give this target a package."""
    vcs: Vcs | None = None
    x_values: tuple[XCheck, ...] = ()
    settings: Mapping[str, str] = {}
    """Build settings beyond those that follow from `target`, in the spelling of Go's build info (`-pgo`, …)."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is its label in every report; `size` in bytes."""

    path: str
    digest: Digest
    size: int
    facts: BinaryFacts
    expected: Expected | None = None
    imports: Callable[[], ImportGraph] | None = None
    """Asked only where a refusal must be explained, since `go list` costs more than all else; None if it cannot be."""
    source: Source = Source()
    packages: tuple[str, ...] | None = None
    """Import paths that were linked in, where a rule of the policy or a report asks; None: not asked or not known."""
    sizes: tuple[PackageSize, ...] | None = None
    explanation: Explanation | None = None
    deep: Deep | None = None
