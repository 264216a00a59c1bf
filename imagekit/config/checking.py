"""What is wrong with a configuration across its entries: names that do not exist, that are taken, that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagekit.config.document import ConfigDocument
from imagekit.errors import ConfigError
from imagekit.image import archives, recipe
from imagekit.image.archives import ArchiveSpec
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import IMAGE_SYSTEMS
from imagekit.loading import Way, nearest
from imagekit.platform import Selector, selected
from imagekit.targets.target import Target

Wrong = tuple[Way, str, str]
"""Where, what, and the way out."""


def document_mistakes(document: ConfigDocument) -> Iterator[Wrong]:
    """What can be said of the document's own texts."""
    for number, entry in enumerate(document.sign):
        if len(entry.kinds) != 1:
            said = "two kinds of key" if entry.kinds else "no key"
            yield ("sign", number), f"an entry of sign names {said}", "write one of key, openpgp, pkcs11 an entry"
    if not document.output.strip() or not document.output.isprintable():
        yield ("output",), f"{document.output!r} is not a folder", "write e.g. dist"
    if not document.policy.strip():
        yield ("policy",), "the policy has no name", "write scratch, or the path of a policy.yaml"


def image_mistakes(images: Sequence[Recipe], builds: Sequence[str]) -> Iterator[Wrong]:
    """Everything about `images:` that needs no target."""
    taken: dict[str, int] = {}
    for number, image in enumerate(images):
        yield from _unknown_build(("images", number, "build"), image.build, builds)
        yield from recipe_mistakes(image, number)
        yield from _platform_mistakes(image, number)
        for name in recipe.names_of(image):
            if taken.setdefault(name, number) != number:
                yield ("images", number, "id"), f"an image is called {name!r} already", "give one of the two another id"


def recipe_mistakes(image: Recipe, number: int) -> Iterator[Wrong]:
    """What is wrong in one entry of `images:`, by its room's own rules."""
    for one in recipe.mistakes(image):
        yield ("images", number, *one.key), one.message, one.hint


def _platform_mistakes(image: Recipe, number: int) -> Iterator[Wrong]:
    for place, text in enumerate(image.platforms):
        way: Way = ("images", number, "platforms", place)
        try:
            selector = Selector.parse(text)
        except ConfigError as error:
            yield way, error.message, error.hint
            continue
        if selector.segments[0] == "windows" and not selector.negated:
            yield way, *_refused_system("windows")


def _refused_system(system: str) -> tuple[str, str]:
    if system == "windows":
        why = "a windows image needs a base of the host's own build, which imagekit does not carry"
        return why, "ship the windows program as an archive"
    return f"there are no container images for {system}", f"leave it out, e.g. '!{system}', and ship an archive"


def archive_mistakes(specs: Sequence[ArchiveSpec], builds: Sequence[str]) -> Iterator[Wrong]:
    """Everything about `archives:` that needs no target."""
    for number, spec in enumerate(specs):
        yield from _unknown_build(("archives", number, "build"), spec.build, builds)
        for one in archives.mistakes(spec):
            yield ("archives", number, *one.key), one.message, one.hint


def target_mistakes(images: Sequence[Recipe], targets: Sequence[Target]) -> Iterator[Wrong]:
    """Images that would hold no target of their build, or one of a system that has no images."""
    for number, image in enumerate(images):
        way: Way = ("images", number, "platforms")
        systems = [target.platform.os for target in image_targets(image, targets)]
        if not systems and any(target.build == image.build for target in targets):
            yield way, f"image {image.id!r} selects no target of {image.build!r}", "select one, e.g. 'linux/*'"
        for system in dict.fromkeys(systems):
            if system not in IMAGE_SYSTEMS:
                yield way, *_refused_system(system)


def image_targets(image: Recipe, targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets that an image is made of, in the order of the matrix."""
    selectors = tuple(Selector.parse(text) for text in image.platforms)
    return tuple(
        target
        for target in targets
        if target.build == image.build and selected(selectors, target.build, target.platform)
    )


def _unknown_build(way: Way, name: str, builds: Sequence[str]) -> Iterator[Wrong]:
    if name not in builds:
        yield way, f"there is no build {name!r}", nearest(name, builds)
