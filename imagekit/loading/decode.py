"""Node tree -> plain values, each scalar read as the type that its key wants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec.inspect as types

from imagekit.loading.nodes import ListNode, MapNode, Node, Scalar

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?")
_NOTHING = ("", "~", "null")
_TRUTH = {"true": True, "false": False}


def wanted(python_type: Any) -> types.Type:
    """What msgspec knows of a type."""
    return types.type_info(python_type)


def plain_value(node: Node, want: types.Type) -> Any:
    """Dicts, lists, text, numbers, booleans and None; what does not fit `want` stays as it was written."""
    members = tuple(_members(want))
    match node:
        case Scalar():
            return _scalar(node, members)
        case ListNode():
            return [plain_value(item, one) for item, one in zip(node.items, _item_types(members, node), strict=True)]
        case MapNode():
            return {key.text: plain_value(value, _value_type(members, key.text)) for key, value in node.entries}


def _members(want: types.Type) -> Iterator[types.Type]:
    match want:
        case types.UnionType():
            for member in want.types:
                yield from _members(member)
        case types.Metadata():
            yield from _members(want.type)
        case _:
            yield want


def _item_types(members: tuple[types.Type, ...], node: ListNode) -> list[types.Type]:
    for member in members:
        match member:
            case types.TupleType() if len(member.item_types) == len(node.items):
                return list(member.item_types)
            case types.ListType() | types.VarTupleType() | types.SetType() | types.FrozenSetType():
                return [member.item_type] * len(node.items)
    return [types.AnyType()] * len(node.items)


def _value_type(members: tuple[types.Type, ...], key: str) -> types.Type:
    for member in members:
        match member:
            case types.StructType():
                return next((field.type for field in member.fields if field.encode_name == key), types.AnyType())
            case types.DictType():
                return member.value_type
    return types.AnyType()


def _scalar(node: Scalar, members: tuple[types.Type, ...]) -> Any:
    """The text as the first of null, boolean, integer and number that it spells and that is wanted, else the text.

    What stands in quotes stays text where text is wanted too.
    """
    text, kinds = node.text, {_kind(member) for member in members}
    if "text" in kinds and not node.plain:
        return text
    if "null" in kinds and text in _NOTHING:
        return None
    if "boolean" in kinds and text in _TRUTH:
        return _TRUTH[text]
    if "integer" in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in kinds and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _kind(member: types.Type) -> str:
    match member:
        case types.NoneType():
            return "null"
        case types.BoolType():
            return "boolean"
        case types.IntType():
            return "integer"
        case types.FloatType():
            return "number"
        case types.LiteralType():
            return "integer" if all(isinstance(value, int) for value in member.values) else "text"
        case types.EnumType():
            return "integer" if issubclass(member.cls, int) else "text"
        case types.StrType():
            return "text"
    return ""
