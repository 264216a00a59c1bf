"""What a build says for one of its targets once the overrides are read, each piece with the way to where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import UNSET, UnsetType

from imagekit.loading import Way
from imagekit.targets.build import Build, Edit, ListEdit, Override
from imagekit.targets.target import Cgo


class Item(msgspec.Struct, frozen=True):
    """A piece of text and where it was written; a template until it is `filled`."""

    text: str
    way: Way
    filled: bool = False


Items = tuple[Item, ...]
Named = dict[str, Item]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that an override can change."""

    tags: Items
    flags: Items
    gcflags: Items
    ldflags: Items
    values: Named
    env: Named
    unsafe_flags: Items
    unsafe_env: Named
    strip: bool
    strip_way: Way
    cgo: Cgo
    cgo_way: Way


def settings_of(build: Build, way: Way, applied: Iterable[int]) -> Settings:
    """The build's own settings, changed by the overrides with these numbers, in this order."""
    settings = _own(build, way)
    for number in applied:
        settings = _overridden(settings, build.overrides[number], (*way, "overrides", number))
    return settings


def _own(build: Build, way: Way) -> Settings:
    return Settings(
        tags=_items(build.tags, (*way, "tags")),
        flags=_items(build.flags, (*way, "flags")),
        gcflags=_items(build.gcflags, (*way, "gcflags")),
        ldflags=_items(build.ldflags.flags, (*way, "ldflags", "flags")),
        values=_named(build.ldflags.values, (*way, "ldflags", "set")),
        env=_named(build.env, (*way, "env")),
        unsafe_flags=_items(build.unsafe.flags, (*way, "unsafe", "flags")),
        unsafe_env=_named(build.unsafe.env, (*way, "unsafe", "env")),
        strip=build.ldflags.strip,
        strip_way=(*way, "ldflags", "strip"),
        cgo=build.cgo,
        cgo_way=(*way, "cgo"),
    )


def _overridden(before: Settings, override: Override, way: Way) -> Settings:
    linker, unsafe = override.ldflags, override.unsafe
    keeps_strip, keeps_cgo = linker.strip is UNSET, override.cgo is UNSET
    return Settings(
        tags=_edited(before.tags, override.tags, (*way, "tags")),
        flags=_edited(before.flags, override.flags, (*way, "flags")),
        gcflags=_edited(before.gcflags, override.gcflags, (*way, "gcflags")),
        ldflags=_edited(before.ldflags, linker.flags, (*way, "ldflags", "flags")),
        values=before.values | _named(linker.values, (*way, "ldflags", "set")),
        env=before.env | _named(override.env, (*way, "env")),
        unsafe_flags=_edited(before.unsafe_flags, unsafe.flags, (*way, "unsafe", "flags")),
        unsafe_env=before.unsafe_env | _named(unsafe.env, (*way, "unsafe", "env")),
        strip=before.strip if linker.strip is UNSET else linker.strip,
        strip_way=before.strip_way if keeps_strip else (*way, "ldflags", "strip"),
        cgo=before.cgo if override.cgo is UNSET else override.cgo,
        cgo_way=before.cgo_way if keeps_cgo else (*way, "cgo"),
    )


def _edited(before: Items, edit: Edit | UnsetType, way: Way) -> Items:
    """A plain list replaces what was there; `prepend` and `append` go around it."""
    match edit:
        case UnsetType():
            return before
        case ListEdit():
            return _items(edit.prepend, (*way, "prepend")) + before + _items(edit.append, (*way, "append"))
    return _items(edit, way)


def _items(texts: tuple[str, ...], way: Way) -> Items:
    return tuple(Item(text, (*way, place)) for place, text in enumerate(texts))


def _named(texts: Mapping[str, str], way: Way) -> Named:
    return {name: Item(text, (*way, name)) for name, text in texts.items()}
