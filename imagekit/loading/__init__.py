"""One loader for imagekit.yaml, policy.yaml and trust.yaml: a typed value, or every mistake at once. Touches disk.

YAML gives the shape, the wanted type gives the meaning: a scalar is read as the type its key wants, so `no` and `1.20`
stay text where text is wanted. msgspec decodes; only when it refuses is the JSON Schema of the type run over the tree,
so that each mistake has its line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from imagekit.content import prepared
from imagekit.loading.decode import plain_value, wanted
from imagekit.loading.marks import Marks, Way
from imagekit.loading.mistakes import Mistake, nearest, refusal
from imagekit.loading.nodes import parse
from imagekit.loading.source import read_source

__all__ = ["Loaded", "Marks", "Mistake", "Way", "load_document", "nearest", "refusal"]

T = TypeVar("T")


class Loaded(msgspec.Struct, Generic[T], frozen=True):
    """A document's value, and where each part of it was written."""

    value: T
    marks: Marks


def load_document(path_or_bytes: Path | bytes, type: type[T], *, name: str = "") -> Loaded[T]:  # noqa: A002 - the agreed name
    """The document as `type`; `name` is how mistakes call the file (default: its path).

    Raises `ConfigError` with every mistake, each with `file:line:column`, the line, a caret and the way out.
    """
    source = read_source(path_or_bytes, name)
    tree = parse(source)
    marks = Marks(source, tree.root)
    value = plain_value(tree.root, wanted(type))
    if tree.mistakes:
        raise refusal(source.name, [*tree.mistakes, *_explained(value, type, marks)])
    try:
        return Loaded(msgspec.convert(value, prepared(type)), marks)
    except msgspec.ValidationError as error:
        explained = _explained(value, type, marks) or [_mistake_of(error, marks)]
        raise refusal(source.name, explained) from error


def _explained(value: Any, wanted_type: Any, marks: Marks) -> list[Mistake]:
    from imagekit.loading.explain import explain

    return explain(value, msgspec.json.schema(wanted_type), marks)


def _mistake_of(error: msgspec.ValidationError, marks: Marks) -> Mistake:
    """msgspec's own sentence (`… - at `$.builds[0].id``), for what a type checks beyond its schema."""
    message, _, place = str(error).partition(" - at `")
    steps = re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", place)
    return marks.mistake(tuple(name or int(number) for name, number in steps), message)
