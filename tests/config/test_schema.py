"""The JSON Schemas: up to date, valid, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from imagekit.config.schema import FILES, schema
from imagekit.content import readable_json
from imagekit.errors import UsageError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", FILES)
def test_the_committed_schema_is_that_of_the_types(name: str) -> None:
    """To renew: `imagekit schema NAME > docs/schema/NAME.schema.json`."""
    assert (DOCS / "schema" / f"{name}.schema.json").read_bytes() == readable_json(schema(name))


@pytest.mark.parametrize("name", FILES)
def test_a_schema_is_valid_and_describes_itself(name: str) -> None:
    made = schema(name)
    Draft202012Validator.check_schema(made)
    assert made["title"] == f"{name}.yaml"
    assert all(definition["description"] for definition in made["$defs"].values())


def test_another_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no schema of 'x'"):
        schema("x")


def keys(definition: Any) -> set[str]:
    return set(definition.get("properties", ()))


def test_every_key_is_in_the_documentation() -> None:
    text = (DOCS / "configuration.md").read_text()
    missing = {key for one in schema()["$defs"].values() for key in keys(one) if f"{key}:" not in text}
    assert missing == set()


def test_every_key_of_builds_has_a_description() -> None:
    definitions = schema()["$defs"]
    for name in ("ConfigDocument", "Build", "LinkerSettings", "UnsafeSettings", "Override", "ListEdit", "SignEntry"):
        bare = [key for key, field in definitions[name]["properties"].items() if "description" not in field]
        assert bare == [], name


def test_the_schema_can_be_read_by_anyone() -> None:
    assert json.loads(readable_json(schema()))["$schema"] == "https://json-schema.org/draft/2020-12/schema"
