"""Builds from YAML text, as a configuration holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest

from imagekit.errors import ConfigError
from imagekit.loading import load_document
from imagekit.targets.build import Build
from imagekit.targets.matrix import expand
from imagekit.targets.target import Target
from imagekit.targets.templating import TemplateContext, fill

T = TypeVar("T")
CONTEXT = TemplateContext(version="1.2.3", env={"TEMPLATE": "{{ version }}", "TOKEN": "ghp_" + "x" * 36})


class Builds(msgspec.Struct, forbid_unknown_fields=True):
    builds: tuple[Build, ...]


@pytest.fixture
def expanded() -> Callable[[str], tuple[Target, ...]]:
    """The targets of the builds in a text, called imagekit.yaml."""

    def expanded(text: str) -> tuple[Target, ...]:
        loaded = load_document(text.encode(), Builds, name="imagekit.yaml")
        return expand(loaded.value.builds, lambda text, cell: fill(text, CONTEXT, cell), loaded.marks)

    return expanded


@pytest.fixture
def told(expanded: Callable[[str], tuple[Target, ...]]) -> Callable[[str], str]:
    """What people read when the builds in a text are refused."""

    def told(text: str) -> str:
        with pytest.raises(ConfigError) as caught:
            expanded(text)
        return caught.value.message

    return told
