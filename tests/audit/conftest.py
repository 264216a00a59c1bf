"""Facts and subjects by recipe: a plain static program of crane's shape, and what a test changes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imagekit.audit.subject import Expected, Source, Subject
from imagekit.binary.facts import BinaryFacts, CgoUse, Evidence, GoBuild, GoModule, Linkage
from imagekit.content import Digest
from imagekit.platform import Platform
from imagekit.targets.target import Target

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
