"""One cell -> its Target: templates filled, every piece checked against the allow-lists, origins noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from imagekit.errors import ConfigError
from imagekit.loading import Marks, Mistake, Way
from imagekit.platform import Platform
from imagekit.targets import allowlist
from imagekit.targets.build import Build
from imagekit.targets.overriding import Item, Items, Named, Settings, settings_of
from imagekit.targets.target import Ldflags, Target, Unsafe, XValue
from imagekit.targets.templating import Cell
from imagekit.targets.wording import check_main, check_prebuilt, check_tag, check_x_name, check_x_value

T = TypeVar("T")
Fill = Callable[[str, Cell], str]
"""Fills the templates of a text for one cell; raises `ConfigError`."""


class TargetMaker:
    """Makes one target; what is wrong goes to `mistakes`, and the target comes without it."""

    def __init__(self, build: Build, way: Way, fill: Fill, marks: Marks, mistakes: list[Mistake]) -> None:
        self._build = build
        self._way = way
        self._fill = fill
        self._marks = marks
        self._mistakes = mistakes
        self._origins: dict[str, str] = {}
        self._cell = Cell(build.name)

    def make(self, platform: Platform, level: str, applied: Iterable[int], *, way: Way, level_way: Way) -> Target:
        """The target for a platform with these overrides; the ways lead to where platform and level were written."""
        build, settings = self._build, settings_of(self._build, self._way, applied)
        self._note("platforms", way)
        self._note("level", level_way)
        for key in ("main", "prebuilt", "dir", "ldflags"):
            self._note(key, (*self._way, key))
        self._cell = Cell(build.name, platform.os, platform.architecture, platform.variant)
        tags, flags = self._tags_and_flags(settings)
        return Target(
            build=build.name,
            platform=platform,
            level=level,
            main="" if build.prebuilt else self._package(),
            prebuilt=self._checked(Item(build.prebuilt, (*self._way, "prebuilt")), check_prebuilt) or "",
            directory=build.directory,
            tags=tags,
            flags=flags,
            gcflags=self._each("gcflags", settings.gcflags, allowlist.check_gcflag),
            ldflags=self._ldflags(settings),
            env=self._pairs("env", settings.env, allowlist.check_env),
            cgo=settings.cgo,
            unsafe=self._unsafe(settings),
            origins=tuple(self._note("cgo", settings.cgo_way).items()),
        )

    def _note(self, setting: str, way: Way) -> dict[str, str]:
        self._origins[setting] = self._marks.origin(*way)
        return self._origins

    def _checked(self, item: Item, check: Callable[[str], T]) -> T | None:
        """What `check` makes of the filled text; None if it or the template refuses, which is noted as a mistake."""
        try:
            return check(item.text if item.filled else self._fill(item.text, self._cell))
        except ConfigError as error:
            self._mistakes.append(self._marks.mistake(item.way, error.message, error.hint))
            return None

    def _package(self) -> str:
        item = Item(self._build.main or ".", (*self._way, "main"))
        return self._checked(item, check_main) or "."

    def _each(self, key: str, items: Items, check: Callable[[str], str]) -> tuple[str, ...]:
        """The filled and checked texts, each with its origin under `key/text`."""
        found = []
        for item in items:
            text = self._checked(item, check)
            if text is not None:
                found.append(text)
                self._note(f"{key}/{text}", item.way)
        return tuple(found)

    def _pairs(
        self, key: str, items: Named, check: Callable[[str, str], tuple[str, str]]
    ) -> tuple[tuple[str, str], ...]:
        """The filled and checked variables, sorted by name: their order says nothing."""
        found = {}
        for name, item in sorted(items.items()):
            pair = self._checked(item, partial(check, name))
            if pair is not None:
                found[pair[0]] = pair[1]
                self._note(f"{key}/{name}", item.way)
        return tuple(found.items())

    def _tags_and_flags(self, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """One set of tags: what a `-tags=` among the flags names comes after the key's own, each once."""
        tags = list(self._each("tags", settings.tags, check_tag))
        self._cell = Cell(*self._cell_words(), tuple(tags))
        flags = []
        for item in settings.flags:
            for flag in self._each("flags", (item,), allowlist.check_go_flag):
                if not flag.startswith("-tags="):
                    flags.append(flag)
                    continue
                named = [word for word in flag.removeprefix("-tags=").split(",") if word]
                tags += self._each("tags", tuple(Item(word, item.way, filled=True) for word in named), check_tag)
        tags = list(dict.fromkeys(tags))
        self._cell = Cell(*self._cell_words(), tuple(tags))
        return tuple(tags), tuple(flags)

    def _cell_words(self) -> tuple[str, str, str, str]:
        return self._cell.id, self._cell.os, self._cell.arch, self._cell.variant

    def _ldflags(self, settings: Settings) -> Ldflags:
        """One place for each thing: `-X` among the flags goes to the values, `-s` is `strip`."""
        self._note("ldflags/strip", settings.strip_way)
        values, strip, flags = dict(settings.values), settings.strip, []
        for item in settings.ldflags:
            for flag in self._each("ldflags/flags", (item,), allowlist.check_ldflag):
                if flag.startswith("-X="):
                    name, _, value = flag.removeprefix("-X=").partition("=")
                    values[name] = Item(value, item.way, filled=True)
                elif flag == "-s":
                    strip = True
                    self._note("ldflags/strip", item.way)
                else:
                    flags.append(flag)
        pairs = self._pairs("ldflags/set", values, lambda name, value: (check_x_name(name), check_x_value(value)))
        return Ldflags(strip, tuple(XValue(*pair) for pair in pairs), tuple(flags))

    def _unsafe(self, settings: Settings) -> Unsafe:
        return Unsafe(
            self._each("unsafe/flags", settings.unsafe_flags, allowlist.check_unsafe_flag),
            self._pairs("unsafe/env", settings.unsafe_env, allowlist.check_unsafe_env),
        )
