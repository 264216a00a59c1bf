"""The JSON Schemas of what people write, generated from the types that read it; docstrings become descriptions."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from typing import Any

import msgspec
import msgspec.inspect as types

from imagekit.errors import UsageError

FILES = ("imagekit", "policy", "trust")
"""Each with its schema in docs/schema/."""


def schema(name: str = "imagekit") -> dict[str, Any]:
    """The JSON Schema (2020-12) of `<name>.yaml`; raise `UsageError` for another name than `FILES`."""
    document = _document(name)
    made = msgspec.json.schema(document)
    definitions = made["$defs"]
    described = {one.__name__: one for one in _classes(types.type_info(document))}
    for title, definition in definitions.items():
        _describe(definition, described[title])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:imagekit:{'config' if name == 'imagekit' else name}:v1",
        "title": f"{name}.yaml",
        **made,
    }


def _document(name: str) -> Any:
    from imagekit.audit.policy import PolicyDocument
    from imagekit.config.document import ConfigDocument
    from imagekit.trust.policy import TrustDocument

    documents = {"imagekit": ConfigDocument, "policy": PolicyDocument, "trust": TrustDocument}
    if name not in documents:
        raise UsageError(f"there is no schema of {name!r}", hint=f"write one of {', '.join(FILES)}")
    return documents[name]


def _classes(kind: Any) -> Iterator[type]:
    """Every class that a type is composed of."""
    match kind:
        case types.StructType():
            yield kind.cls
            for field in kind.fields:
                yield from _classes(field.type)
        case types.EnumType():
            yield kind.cls
        case types.UnionType():
            for member in kind.types:
                yield from _classes(member)
        case types.Metadata():
            yield from _classes(kind.type)
        case types.VarTupleType() | types.ListType():
            yield from _classes(kind.item_type)
        case types.DictType():
            yield from _classes(kind.value_type)


def _describe(definition: dict[str, Any], described: type) -> None:
    """Add the class's and its fields' docstrings."""
    definition["description"] = _sentence(inspect.getdoc(described) or "")
    if issubclass(described, Enum):
        return
    texts = field_docstrings(described)
    for name, field in definition["properties"].items():
        if text := texts.get(name):
            field["description"] = text


def field_docstrings(described: type) -> dict[str, str]:
    """The string under each field of a Struct, by the field's name in documents."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(described))).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found = {}
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = _sentence(text)
    return {field.encode_name: found[field.name] for field in msgspec.structs.fields(described) if field.name in found}


def _sentence(text: str) -> str:
    return " ".join(text.split())
