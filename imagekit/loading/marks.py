"""Where things stand in a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Self

from imagekit.errors import ConfigError
from imagekit.loading.mistakes import NOWHERE, Mistake, refusal
from imagekit.loading.nodes import ListNode, MapNode, Node
from imagekit.loading.source import Source

Way = tuple[str | int, ...]
"""The way from the document to a value in it: `("builds", 0, "flags", 1)`."""


class Marks:
    """Way into the document -> place in the file; what is not written there has its nearest ancestor's place."""

    def __init__(self, source: Source, root: Node, kept: Mapping[str, Sequence[int]] = MappingProxyType({})) -> None:
        self._source = source
        self._root = root
        self._kept = kept

    @classmethod
    def nowhere(cls, name: str) -> Self:
        """The marks of settings that no file holds."""
        return cls(Source(name, ""), MapNode(0, 0, []))

    def only(self, kept: Mapping[str, Sequence[int]]) -> Self:
        """The marks of a value of which, in these lists, only the items with these numbers are left."""
        return type(self)(self._source, self._root, kept)

    @property
    def name(self) -> str:
        """What people call the file."""
        return self._source.name

    @property
    def text(self) -> str:
        """The whole document as it was read; '' for settings that no file holds."""
        return self._source.text

    def where(self, *way: str | int) -> str:
        """`imagekit.yaml:9:13`; line and column count from 1."""
        line, column = self._find(way)
        return f"{self.name}:{line + 1}:{column + 1}"

    def line(self, *way: str | int) -> str:
        """`imagekit.yaml:9`."""
        return f"{self.name}:{self._find(way)[0] + 1}"

    def origin(self, *way: str | int) -> str:
        """`imagekit.yaml:9`, or `default` for what the document does not say; it is written into reports, so the folder
        of the file, which says nothing elsewhere, is left out.
        """
        node: Node | None = self._root
        for step in self._written(way):
            found = _child(node, step) if node else None
            node = found[1] if found else None
        return f"{PurePath(self.name).name}:{self._find(way)[0] + 1}" if node else "default"

    def mistake(self, way: Way, message: str, hint: str = "", *, key: bool = False) -> Mistake:
        """A mistake in the value at `way`, in its key if `key`."""
        if not self._source.text:
            return Mistake(NOWHERE, 0, message, hint)
        line, column = self._find(way, key=key)
        return Mistake(line, column, message, hint, self._source.line(line))

    def refusal(self, mistakes: Sequence[Mistake]) -> ConfigError:
        """The error that tells all of them."""
        return refusal(self.name, mistakes)

    def _find(self, way: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
        node = self._root
        place = (node.line, node.column)
        for depth, step in enumerate(self._written(way), 1):
            found = _child(node, step)
            if found is None:
                break
            key_place, node = found
            place = key_place if key and depth == len(way) else (node.line, node.column)
        return place

    def _written(self, way: Sequence[str | int]) -> Sequence[str | int]:
        """The way in the file, whose lists may be longer."""
        match tuple(way):
            case (str() as key, int() as number, *rest) if key in self._kept:
                return (key, self._kept[key][number], *rest)
        return way


def _child(node: Node, step: str | int) -> tuple[tuple[int, int], Node] | None:
    """The place of the key (in a list: of the item) and the value; None if there is none."""
    match node:
        case MapNode():
            return next((((key.line, key.column), value) for key, value in node.entries if key.text == step), None)
        case ListNode() if isinstance(step, int) and step < len(node.items):
            item = node.items[step]
            return (item.line, item.column), item
    return None
