"""The matrix: builds as written -> targets, platforms outermost in the written order, or every mistake at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial

import msgspec

from imagekit.errors import ConfigError
from imagekit.loading import Marks, Mistake, Way
from imagekit.platform import Platform, Selector, selected
from imagekit.targets import ports
from imagekit.targets.build import Build
from imagekit.targets.making import Fill, TargetMaker
from imagekit.targets.target import Target
from imagekit.targets.wording import check_directory, check_main, check_prebuilt


class Place(msgspec.Struct, frozen=True):
    """One platform of a build: its CPU level, and where platform and level were written."""

    platform: Platform
    level: str
    way: Way
    level_way: Way


def expand(builds: Sequence[Build], fill: Fill, marks: Marks | None = None) -> tuple[Target, ...]:
    """All targets: build after build, in each the platforms in the order in which they were written.

    `fill` fills the templates of a text for one cell; `marks` are those of imagekit.yaml, None if there is none.
    Raises one `ConfigError` with every mistake and its line.
    """
    expansion = _Expansion(fill, marks or Marks.nowhere("command line"))
    targets = [target for number, build in enumerate(builds) for target in expansion.targets(build, ("builds", number))]
    if expansion.mistakes:
        raise expansion.marks.refusal(expansion.mistakes)
    return tuple(targets)


class _Expansion:
    """Goes through the builds and collects the mistakes."""

    def __init__(self, fill: Fill, marks: Marks) -> None:
        self.marks = marks
        self.mistakes: list[Mistake] = []
        self._fill = fill
        self._names: dict[str, Way] = {}

    def targets(self, build: Build, way: Way) -> Iterator[Target]:
        """The targets of one build, as far as they can be made."""
        self._check_build(build, way)
        places = self._left(build, way, list(self._places(build, way)))
        applied = self._applied(build, way, places)
        for place in places:
            maker = TargetMaker(build, way, self._fill, self.marks, self.mistakes)
            yield maker.make(
                place.platform, place.level, applied[place.platform], way=place.way, level_way=place.level_way
            )

    def _wrong(self, way: Way, error: ConfigError, *, key: bool = False) -> None:
        self.mistakes.append(self.marks.mistake(way, error.message, error.hint, key=key))

    def _try(self, way: Way, check: Callable[[], object], *, key: bool = False) -> None:
        try:
            check()
        except ConfigError as error:
            self._wrong(way, error, key=key)

    def _check_build(self, build: Build, way: Way) -> None:
        """What is wrong with the entry whatever its platforms are."""
        if build.main and build.prebuilt:
            both = ConfigError("a build has either main or prebuilt", hint="remove one of the two")
            self._wrong((*way, "prebuilt"), both, key=True)
        if not build.name:
            cure = "add `id:`, e.g. id: app" if build.prebuilt else "add `id:`; the module's name cannot be read here"
            self._wrong(way, ConfigError("the build has no name", hint=cure))
        if build.name in self._names:
            first = self.marks.line(*self._names[build.name])
            twice = ConfigError(f"a build is called {build.name!r} already ({first})", hint="give one another id")
            self._wrong((*way, "id"), twice)
        self._names.setdefault(build.name, way)
        self._try((*way, "main"), partial(check_main, build.main))
        self._try((*way, "prebuilt"), partial(check_prebuilt, build.prebuilt))
        self._try((*way, "dir"), partial(check_directory, build.directory))
        for architecture, level in build.levels.items():
            self._try((*way, "levels", architecture), partial(ports.require_level, architecture, level))

    def _places(self, build: Build, way: Way) -> Iterator[Place]:
        """The platforms as written; two that are the same, or the same program, are a mistake."""
        seen: dict[object, Place] = {}
        for number, text in enumerate(build.platforms):
            place_way = (*way, "platforms", number)
            try:
                platform, level = ports.read_port(text, build.levels)
            except ConfigError as error:
                self._wrong(place_way, error)
                continue
            leveled = (*way, "levels", platform.architecture) if not platform.variant else place_way
            place = Place(platform, level, place_way, leveled)
            twin = seen.setdefault((platform.os, platform.architecture, level), place)
            if twin is not place:
                line = self.marks.line(*twin.way)
                message = f"{build.name}:{platform} is the same as {build.name}:{twin.platform} ({line}), level {level}"
                self._wrong(place_way, ConfigError(message.removesuffix(", level "), hint="keep one of the two"))
                continue
            yield place
        if not build.platforms:
            self._wrong((*way, "platforms"), ConfigError("no platform to build for", hint="write e.g. [linux/amd64]"))

    def _left(self, build: Build, way: Way, places: list[Place]) -> list[Place]:
        """What `exclude` leaves."""
        selectors = [self._selector((*way, "exclude", n), text) for n, text in enumerate(build.exclude)]
        for number, selector in enumerate(selectors):
            if selector and not _matches(selector, build, places) and not _is_possible(selector, build):
                nothing = ConfigError(f"{selector.text!r} matches no platform of Go's", hint=_written(places))
                self._wrong((*way, "exclude", number), nothing)
        excluding = tuple(selector for selector in selectors if selector)
        left = [p for p in places if not (excluding and selected(excluding, build.name, p.platform))]
        if places and not left:
            self._wrong((*way, "exclude"), ConfigError("nothing is left to build", hint="exclude less"))
        return left

    def _applied(self, build: Build, way: Way, places: list[Place]) -> dict[Platform, list[int]]:
        """Which overrides each platform gets, top to bottom; a selector that matches nothing is a mistake."""
        applied: dict[Platform, list[int]] = {place.platform: [] for place in places}
        for number, override in enumerate(build.overrides):
            select_way = (*way, "overrides", number, "select")
            texts = [override.select] if isinstance(override.select, str) else list(override.select)
            ways = [select_way] if isinstance(override.select, str) else [(*select_way, n) for n in range(len(texts))]
            selectors = [self._matching(build, places, *pair) for pair in zip(ways, texts, strict=True)]
            if not texts:
                self._wrong(select_way, ConfigError("selects nothing", hint=_written(places)))
            chosen = tuple(selector for selector in selectors if selector)
            for place in places if chosen else ():
                if selected(chosen, build.name, place.platform):
                    applied[place.platform].append(number)
        return applied

    def _matching(self, build: Build, places: list[Place], way: Way, text: str) -> Selector | None:
        selector = self._selector(way, text)
        if selector and not _matches(selector, build, places):
            nothing = ConfigError(f"{text!r} matches no target of {build.name!r}", hint=_written(places))
            self._wrong(way, nothing)
        return selector

    def _selector(self, way: Way, text: str) -> Selector | None:
        try:
            return Selector.parse(text)
        except ConfigError as error:
            self._wrong(way, error)
            return None


def _matches(selector: Selector, build: Build, places: list[Place]) -> bool:
    return any(selector.matches(build.name, place.platform) for place in places)


def _is_possible(selector: Selector, build: Build) -> bool:
    """Whether an exclusion names something that could have been written: then it holds already, and is no slip."""
    pairs = ((os, architecture) for os, architectures in ports.PORTS.items() for architecture in architectures)
    return fnmatchcase(build.name, selector.build) and any(
        all(fnmatchcase(part, pattern) for part, pattern in zip(pair, selector.segments, strict=False))
        for pair in pairs
    )


def _written(places: list[Place]) -> str:
    return "platforms here: " + ", ".join(str(place.platform) for place in places)
