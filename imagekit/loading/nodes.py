"""YAML text -> a tree of nodes that know their place. Bounded: hostile text costs no more than its size.

The tree is built from the parser's events, not by PyYAML's composer, which recurses in C on nested input and expands
aliases without a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from imagekit.loading.mistakes import Mistake, refusal
from imagekit.loading.source import Source

if TYPE_CHECKING:
    import yaml

MOST_ANCHORS = 100
DEEPEST = 64
HEAVIEST = 1 << 18
"""Nodes after aliases are followed, where 16 characters of text weigh one node more."""


class Scalar(msgspec.Struct):
    """Text; `plain` if it was written without quotes."""

    line: int
    column: int
    text: str
    plain: bool
    weight: int = 1


class ListNode(msgspec.Struct):
    """A sequence."""

    line: int
    column: int
    items: list[Node]
    weight: int = 1


class MapNode(msgspec.Struct):
    """A mapping, in the order of the file, each key once."""

    line: int
    column: int
    entries: list[tuple[Scalar, Node]]
    weight: int = 1


Node = Scalar | ListNode | MapNode


class Tree(msgspec.Struct, frozen=True):
    """A document's root, and what is wrong with its YAML although it could be read."""

    root: Node
    mistakes: tuple[Mistake, ...]


_SYNTAX_HINT = "put text that begins with * & ! @ or ` in quotes; look at brackets and indentation up to here"


class _StopError(Exception):
    """Reading on makes no sense."""


def parse(source: Source) -> Tree:
    """The one document in `source`; raise `ConfigError` where it is no YAML or breaks a bound."""
    builder = _Builder(source)
    try:
        for event in _events(source, builder):
            builder.take(event)
    except _StopError:
        raise refusal(source.name, builder.mistakes) from None
    if builder.root is None:
        builder.wrong(0, 0, "the document is empty", "write at least `version: 1`")
        raise refusal(source.name, builder.mistakes)
    return Tree(builder.root, tuple(builder.mistakes))


def _events(source: Source, builder: _Builder) -> Iterator[yaml.Event]:
    """The parser's events; a syntax error becomes a mistake and ends the reading."""
    import yaml

    loader = yaml.CSafeLoader(source.text) if yaml.__with_libyaml__ else yaml.SafeLoader(source.text)
    try:
        while event := loader.get_event():
            yield event
    except yaml.MarkedYAMLError as error:
        builder.syntax(error)
    except yaml.reader.ReaderError as error:
        line, column = source.position(error.position)
        builder.stop(line, column, f"not YAML: {error.reason}", "remove the control character")
    finally:
        loader.dispose()


class _Open(msgspec.Struct):
    """A collection whose end has not come; `key` waits for its value, `dropped` if that has no place to go."""

    node: ListNode | MapNode
    anchor: str | None
    key: Scalar | None = None
    dropped: bool = False
    seen: dict[str, int] = {}


class _Builder:
    """Takes events, keeps the open collections on a stack of its own."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: Node | None = None
        self.mistakes: list[Mistake] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._anchor_count = 0
        self._documents = 0

    def wrong(self, line: int, column: int, message: str, hint: str) -> None:
        self.mistakes.append(Mistake(line, column, message, hint, self.source.line(line)))

    def stop(self, line: int, column: int, message: str, hint: str) -> None:
        self.wrong(line, column, message, hint)
        raise _StopError

    def syntax(self, error: yaml.MarkedYAMLError) -> None:
        """Stop at a syntax error, and name the line where what it breaks began."""
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        message = f"not YAML: {error.problem or error.context}"
        if error.problem and error.context and error.context_mark and error.context_mark.line < line:
            message += f" {error.context} that begins in line {error.context_mark.line + 1}"
        indent = self.source.line(line)[: column + 1]
        tabbed = "\t" in indent and not indent.strip()
        cure = "indent with spaces, not with tabs" if tabbed else _SYNTAX_HINT
        self.stop(line, column, message, cure)

    def take(self, event: yaml.Event) -> None:
        """Add what the event says to the tree."""
        import yaml

        mark = event.start_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        match event:
            case yaml.AliasEvent():
                self._alias(str(event.anchor), line, column)
            case yaml.ScalarEvent():
                self._meet(event, line, column)
                scalar = Scalar(line, column, event.value, bool(event.implicit[0]), 1 + len(event.value) // 16)
                self._finish(scalar, event.anchor)
            case yaml.SequenceStartEvent():
                self._begin(ListNode(line, column, []), event)
            case yaml.MappingStartEvent():
                self._begin(MapNode(line, column, []), event)
            case yaml.CollectionEndEvent():
                ended = self._open.pop()
                self._finish(ended.node, ended.anchor)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.stop(line, column, "a second document begins here", "keep one document a file")

    def _begin(self, node: ListNode | MapNode, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        self._meet(event, node.line, node.column)
        if len(self._open) >= DEEPEST:
            self.stop(node.line, node.column, f"nested deeper than {DEEPEST} levels", "write it flatter")
        self._open.append(_Open(node, event.anchor, seen={}))

    def _meet(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int, column: int) -> None:
        """Refuse tags, count anchors."""
        if event.tag is not None:
            hint = 'put it in quotes if it is text, e.g. "!windows"'
            self.wrong(line, column, f"the YAML tag {event.tag!r} is not read here", hint)
        if event.anchor is not None:
            self._anchor_count += 1
            if self._anchor_count > MOST_ANCHORS:
                self.stop(line, column, f"more than {MOST_ANCHORS} anchors", "write the values out")

    def _alias(self, anchor: str, line: int, column: int) -> None:
        if anchor in self._anchors:
            self._finish(self._anchors[anchor], None, line, column)
            return
        self.wrong(
            line,
            column,
            f"no anchor '&{anchor}' ends before this alias",
            f'put it in quotes if it is text: "*{anchor}"',
        )
        self._finish(Scalar(line, column, "", False), None)

    def _finish(self, node: Node, anchor: str | None, line: int = -1, column: int = -1) -> None:
        """Put a complete node where it belongs; line and column are those of its alias, if it came by one."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        above = self._open[-1]
        above.node.weight += node.weight
        if above.node.weight > HEAVIEST:
            place = (node.line, node.column) if line < 0 else (line, column)
            self.stop(*place, "too much, once aliases are followed", "write less, or in several files")
        if isinstance(above.node, ListNode):
            above.node.items.append(node)
        elif above.key is None and not above.dropped:
            self._take_key(above, node)
        else:
            self._take_value(above, above.node, node)

    def _take_key(self, above: _Open, node: Node) -> None:
        above.dropped = True
        if not isinstance(node, Scalar):
            self.wrong(node.line, node.column, "a key must be text", 'put a template in quotes: "{{ version }}"')
        elif node.text == "<<" and node.plain:
            self.wrong(node.line, node.column, "'<<' (a YAML 1.1 merge) is not read here", "alias whole values instead")
        elif node.text in above.seen:
            first = above.seen[node.text] + 1
            self.wrong(node.line, node.column, f"{node.text!r} is already set in line {first}", "keep one of the two")
        else:
            above.seen[node.text] = node.line
            above.key, above.dropped = node, False

    def _take_value(self, above: _Open, mapping: MapNode, node: Node) -> None:
        if above.key is not None:
            mapping.entries.append((above.key, node))
        above.key, above.dropped = None, False
