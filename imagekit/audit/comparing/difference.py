"""Difference: what two subjects do not have in common. Values only; the JSON of `imagekit diff` is this."""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = "urn:imagekit:diff:v1"


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two subjects; `kind` is `file` or `image`, `size` in bytes (of an image: its layers as shipped)."""

    path: str
    kind: str
    digest: str
    size: int


class Change(msgspec.Struct, frozen=True):
    """Something with a name that differs; None where only the other side has it."""

    name: str
    one: str | None
    other: str | None


class SizeChange(msgspec.Struct, frozen=True):
    """The code of one Go package on both sides, in bytes."""

    package: str
    module: str
    one: int
    other: int


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """The first bytes of one part of the file that differ; offsets in bytes from the start of each file."""

    where: str
    """`.go.buildinfo`, `COFF header`, `LC_UUID`; after `arm64/` for a slice of a fat Mach-O."""
    one_offset: int | None
    other_offset: int | None
    one: str = ""
    """The bytes there: text if they are, else hexadecimal."""
    other: str = ""
    why: str = ""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A tar entry that differs; `program` compares what both sides hold if these are programs."""

    path: str
    changes: tuple[Change, ...]
    """Header fields and `content`; one named `entry` where only one side has it."""
    program: Difference | None = None


class LayerChange(msgspec.Struct, frozen=True, kw_only=True):
    """Two layers in the same place that are not the same blob, or a layer that one side lacks."""

    platform: str
    number: int
    """From 1, the lowest first."""
    one: str | None
    other: str | None
    same_content: bool
    """Whether both unpack to the same tar."""
    why: str
    members: tuple[Member, ...] = ()
    more: int = 0
    """Members that differ beyond those listed."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that differs; `equal` means that not one byte does."""

    schema: str = SCHEMA
    equal: bool
    one: Side
    other: Side
    because: tuple[str, ...] = ()
    """What the differences come from, the most telling first."""
    facts: tuple[Change, ...] = ()
    modules: tuple[Change, ...] = ()
    settings: tuple[Change, ...] = ()
    sizes: tuple[SizeChange, ...] = ()
    """The largest change first."""
    bytes: tuple[Spot, ...] = ()
    """One a part of the file, in the order of the first one."""
    image: tuple[Change, ...] = ()
    """What configuration, manifests and index say."""
    layers: tuple[LayerChange, ...] = ()


def diff_schema() -> dict[str, Any]:
    """The JSON Schema of the document (docs/schema/diff.schema.json); every key is required."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Difference)}
    for definition in schema["$defs"].values():
        if "properties" in definition:
            definition["required"] = sorted(definition["properties"])
    return {"$id": SCHEMA, **schema}
