"""Opinion: what another parser reads in one program. Values that pass between two processes."""

from __future__ import annotations

import msgspec

from imagekit.binary.deep import CompileUnit

Said = dict[str, tuple[str, ...]]
"""Fact -> its values in the file's order; a fact that the parser cannot know is not there."""


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """One program, or one slice of a fat Mach-O."""

    said: Said = {}
    compile_units: tuple[CompileUnit, ...] = ()
    signature: str | None = None
    load_configuration: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The opinions on a file's programs in its order; or `refusal`, why there are none."""

    opinions: tuple[Opinion, ...] = ()
    refusal: str = ""


GOARCH = {
    ("386", 32, "<"): "386",
    ("amd64", 64, "<"): "amd64",
    ("arm", 32, "<"): "arm",
    ("arm", 32, ">"): "armbe",
    ("arm64", 64, "<"): "arm64",
    ("arm64", 64, ">"): "arm64be",
    ("mips", 32, ">"): "mips",
    ("mips", 32, "<"): "mipsle",
    ("mips", 64, ">"): "mips64",
    ("mips", 64, "<"): "mips64le",
    ("ppc", 32, ">"): "ppc",
    ("ppc64", 64, ">"): "ppc64",
    ("ppc64", 64, "<"): "ppc64le",
    ("s390", 32, ">"): "s390",
    ("s390", 64, ">"): "s390x",
    ("riscv", 32, "<"): "riscv",
    ("riscv", 64, "<"): "riscv64",
    ("loong", 64, "<"): "loong64",
    ("sparc64", 64, ">"): "sparc64",
}
"""GOARCH of (family, class, byte order)."""


def architecture(families: dict[str, str], machine: str, bits: int, order: str) -> Said:
    """The fact `architecture` for a parser's own name of a machine; {} for one that Go does not have."""
    found = GOARCH.get((families.get(machine, ""), bits, order))
    return {"architecture": (found,)} if found else {}
