"""Config and what is known of the source -> targets, filled images, archive names; every mistake with its line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from imagekit.config.checking import recipe_mistakes, target_mistakes
from imagekit.config.reading import Config
from imagekit.errors import ConfigError
from imagekit.image.archives import ArchiveSpec
from imagekit.image.recipe import Recipe
from imagekit.loading import Marks, Mistake, Way
from imagekit.targets.matrix import expand
from imagekit.targets.target import Target
from imagekit.targets.templating import Cell, TemplateContext, fill, filler

_TEMPLATED = ("repository", "tags", "entrypoint", "env", "labels", "annotations", "healthcheck")


def targets_of(config: Config, context: TemplateContext) -> tuple[Target, ...]:
    """The whole matrix; raise `ConfigError` for every mistake in it, and for images that it does not fit."""
    targets = expand(config.builds, lambda text, cell: fill(text, context, cell), config.marks)
    marks = _marks(config)
    wrong = [marks.mistake(*one) for one in target_mistakes(config.images, targets)]
    if wrong:
        raise marks.refusal(wrong)
    return targets


def images_of(config: Config, context: TemplateContext) -> tuple[Recipe, ...]:
    """The recipes with their templates filled; raise `ConfigError` for every mistake.

    A registry's tag cannot hold the `+` of a version (`1.4.0+dirty`): in `tags` it is a `-`.
    """
    filling = _Filling(_marks(config))
    images = tuple(filling.image(image, number, context) for number, image in enumerate(config.images))
    if filling.mistakes:
        raise filling.marks.refusal(filling.mistakes)
    return images


def archive_name(spec: ArchiveSpec, target: Target, context: TemplateContext) -> str:
    """What the archive of a target is called, without its ending."""
    return fill(spec.name, context, Cell.of(target))


def archive_names(config: Config, targets: Sequence[Target], context: TemplateContext) -> dict[str, str]:
    """Every archive's name -> the id of its target; raise `ConfigError` for twins and bad templates."""
    marks, taken, wrong = _marks(config), dict[str, str](), []
    for number, spec in enumerate(config.archives):
        way: Way = ("archives", number, "name")
        for target in (one for one in targets if one.build == spec.build):
            try:
                name = f"{archive_name(spec, target, context)}.{spec.format_for(target.platform.os)}"
            except ConfigError as error:
                wrong.append(marks.mistake(way, error.message, error.hint))
                continue
            if name in taken:
                message = f"{target.id} and {taken[name]} would both be {name!r}"
                wrong.append(marks.mistake(way, message, "tell them apart, e.g. by {{ os }}_{{ arch }}"))
            taken[name] = target.id
    if wrong:
        raise marks.refusal(wrong)
    return taken


def _marks(config: Config) -> Marks:
    return config.marks or Marks.nowhere("command line")


class _Filling:
    """Fills recipes and collects the mistakes."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self.mistakes: list[Mistake] = []

    def image(self, image: Recipe, number: int, context: TemplateContext) -> Recipe:
        """The filled recipe; what cannot be filled stays, and what was filled is checked again."""
        before = len(self.mistakes)
        way: Way = ("images", number)
        cell = Cell(image.id)
        tagged = msgspec.structs.replace(context, version=context.version.replace("+", "-"))
        changes = {
            field: self._value(
                getattr(image, field), (*way, field), filler(tagged if field == "tags" else context, cell)
            )
            for field in _TEMPLATED
        }
        filled = msgspec.structs.replace(image, **changes)
        if len(self.mistakes) == before:
            self.mistakes += [self.marks.mistake(*one) for one in recipe_mistakes(filled, number)]
        return filled

    def _value(self, value: Any, way: Way, render: Callable[[str], str]) -> Any:
        """The texts in a value of its shape: text, a list of them, or a mapping to them."""
        match value:
            case str():
                return self._text(value, way, render)
            case tuple():
                return tuple(self._text(text, (*way, place), render) for place, text in enumerate(value))
        return {name: self._text(text, (*way, name), render) for name, text in value.items()}

    def _text(self, text: str, way: Way, render: Callable[[str], str]) -> str:
        try:
            return render(text)
        except ConfigError as error:
            self.mistakes.append(self.marks.mistake(way, error.message, error.hint))
            return text
