"""A program's facts with every kind of module line that Go writes, and unusual ones that it should not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imagekit.binary.facts import BinaryFacts, CgoUse, GoBuild, GoModule, Linkage
from imagekit.content import Digest
from imagekit.platform import Platform
from imagekit.sbom.inventory import Inventory, of_program
from imagekit.targets.target import Ldflags, Target, XValue

AMD64 = Platform("linux", "amd64")
DEPS = (
    GoModule("example.org/forked", "v1.0.0", "", GoModule("example.org/fork", "v1.0.1", "h1:" + "F" * 43 + "=")),
    GoModule("example.org/local", "v0.1.0", "", GoModule("../local", "(devel)")),
    GoModule("example.org/odd%path/a b", "v1.0.0"),
    GoModule("github.com/BurntSushi/toml", "v1.4.0", "h1:" + "T" * 43 + "="),
    GoModule("github.com/docker/docker", "v28.0.0+incompatible", "h1:" + "D" * 43 + "="),
    GoModule("gopkg.in/yaml.v3", "v3.0.1"),
)
GO = GoBuild(
    version="go1.26.8",
    path="example.org/App/cmd/app",
    main=GoModule("example.org/App", "v1.2.4-0.20260101000000-abcdefabcdef"),
    deps=DEPS,
    settings={"CGO_ENABLED": "0", "-tags": "netgo", "odd": "line\nbreak \\ \x1b[31m"},
)
SUMS = {("gopkg.in/yaml.v3", "v3.0.1"): "h1:" + "Y" * 43 + "="}


@pytest.fixture
def facts() -> Callable[..., BinaryFacts]:
    def make(**changes: Any) -> BinaryFacts:
        plain = {"format": "elf", "platform": AMD64, "linkage": Linkage.STATIC, "cgo": CgoUse.ABSENT, "go": GO}
        return BinaryFacts(**{**plain, **changes})

    return make


@pytest.fixture
def target() -> Target:
    return Target(
        build="app",
        platform=AMD64,
        main="./cmd/app",
        tags=("netgo",),
        flags=("-pgo=off",),
        ldflags=Ldflags(strip=True, values=(XValue("main.version", "1.4.0"),)),
        env=(("GODEBUG", "x=1"),),
    )


@pytest.fixture
def inventory(facts: Callable[..., BinaryFacts], target: Target) -> Callable[..., Inventory]:
    """The inventory of those facts; arguments of `of_program` to change, `facts_` for the facts themselves."""

    def make(facts_: BinaryFacts | None = None, **changes: Any) -> Inventory:
        plain: dict[str, Any] = {
            "name": "app",
            "filename": "app",
            "digest": Digest("sha256:" + "ab" * 32),
            "timestamp": 1_700_000_000,
            "target": target,
            "sums": SUMS,
        }
        return of_program(facts_ or facts(), **{**plain, **changes})

    return make
