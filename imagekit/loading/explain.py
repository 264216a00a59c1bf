"""Why a document was refused: every JSON Schema error as a mistake with its mark and a sentence.

Imported late: jsonschema is slow to load, and needed only here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from imagekit.loading.marks import Marks, Way
from imagekit.loading.mistakes import Mistake, nearest

SchemaError = Any
"""`jsonschema.exceptions.ValidationError`; its stubs call every field possibly unset, which it is not here."""

_NOUNS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def explain(value: Any, schema: dict[str, Any], marks: Marks) -> list[Mistake]:
    """All mistakes that the schema finds in the plain value, in no special order."""
    from jsonschema import Draft202012Validator, FormatChecker

    validator = Draft202012Validator(schema, format_checker=FormatChecker(("date",)))
    return [mistake for error in validator.iter_errors(value) for mistake in _mistakes(error, schema, marks)]


def _mistakes(error: SchemaError, schema: dict[str, Any], marks: Marks) -> Iterator[Mistake]:
    path: Way = tuple(error.absolute_path)
    match error.validator:
        case "additionalProperties":
            yield from _unknown_keys(error, path, marks)
        case "anyOf":
            yield from _no_branch(error, path, schema, marks)
        case "required":
            missing = next(name for name in error.validator_value if name not in error.instance)
            yield from _missing_keys(error, path, marks, missing)
        case _:
            yield marks.mistake(path, *_sentence(error, schema))


def _unknown_keys(error: SchemaError, path: Way, marks: Marks) -> Iterator[Mistake]:
    known = error.schema.get("properties", {})
    for name in error.instance:
        if name not in known:
            yield marks.mistake((*path, name), f"unknown key {name!r}", nearest(name, known), key=True)


def _missing_keys(error: SchemaError, path: Way, marks: Marks, name: str) -> Iterator[Mistake]:
    """One error of this kind stands for one missing key; jsonschema says which in words only."""
    absent = [key for key in error.validator_value if key not in error.instance]
    named = next((key for key in absent if error.message.startswith(repr(key))), name)
    yield marks.mistake(path, f"the key {named!r} is missing", f"add `{named}:` here")


def _no_branch(error: SchemaError, path: Way, schema: dict[str, Any], marks: Marks) -> Iterator[Mistake]:
    """The errors of the one branch that has the right shape, else what shapes are wanted."""
    branches: dict[int, list[SchemaError]] = {}
    for inner in error.context or ():
        branches.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
    shaped = [found for found in branches.values() if not any(_wrong_shape(inner, error) for inner in found)]
    if len(shaped) == 1:
        for inner in shaped[0]:
            yield from _mistakes(inner, schema, marks)
        return
    kinds = list(dict.fromkeys(noun for branch in error.validator_value for noun in _nouns(branch, schema)))
    yield marks.mistake(
        path, f"{_shown(error.instance)} is not {' or '.join(kinds)}", _shape_hint(error.instance, kinds)
    )


def _wrong_shape(inner: SchemaError, outer: SchemaError) -> bool:
    return inner.validator == "type" and len(inner.absolute_path) == len(outer.absolute_path)


def _nouns(branch: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """What a branch accepts, in words: `a list`, `'auto'`."""
    reference = branch.get("$ref", "")
    if reference:
        branch = schema["$defs"][reference.rpartition("/")[2]]
    if "enum" in branch:
        yield from (repr(value) for value in branch["enum"])
    elif branch.get("type") == "object" and branch.get("properties"):
        yield f"a mapping with {', '.join(branch['properties'])}"
    elif "type" in branch and branch["type"] != "null":
        yield _NOUNS[branch["type"]]


def _sentence(error: SchemaError, schema: dict[str, Any]) -> tuple[str, str]:
    """What is wrong, and the way out."""
    shown, limit = _shown(error.instance), error.validator_value
    match error.validator:
        case "type":
            nouns = list(_nouns({"type": limit, **error.schema}, schema))
            return f"{shown} is not {' or '.join(nouns)}", _shape_hint(error.instance, nouns)
        case "enum" | "const":
            values = limit if isinstance(limit, list) else [limit]
            return f"{shown} is not known here", nearest(str(error.instance), values)
        case "pattern":
            return f"{shown} {error.schema.get('description', f'does not match {limit}')}", _example(error.schema)
        case "format":
            return f"{shown} is not a {limit}", "write year-month-day, e.g. 2027-03-31"
        case "minItems" | "minLength":
            return f"{shown} is too short", f"at least {limit}"
        case "maxItems" | "maxLength":
            return f"{shown} is too long", f"at most {limit}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return f"{shown} is out of range", f"{error.validator} {limit}"
    return f"{shown}: {error.message[:200]}", ""


def _example(schema: dict[str, Any]) -> str:
    examples = schema.get("examples") or ()
    return f"write e.g. {examples[0]}" if examples else ""


def _shape_hint(instance: Any, nouns: list[str]) -> str:
    if instance in ("", None):
        return "give it a value, or remove the key"
    if "a list" in nouns and isinstance(instance, str):
        return f"write {_as_list(instance)}"
    return "write " + " or ".join(nouns)


def _as_list(text: str) -> str:
    """`a, b` as a list of two, words with spaces between them as one of each word, in JSON's spelling."""
    if "," in text or " " not in text.strip():
        return f"[{_shown(text)[1:-1]}]"
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return _cut(json.dumps(words, ensure_ascii=False))


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case "" | None:
            return "an empty value"
        case bool():
            return str(value).lower()
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
