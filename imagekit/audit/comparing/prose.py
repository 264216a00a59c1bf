"""A Difference for people. Every word from a file or an image is escaped by `text.line` before it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagekit.audit.comparing.difference import Change, Difference, LayerChange, Side, SizeChange, Spot
from imagekit.text import line

_MOST_LINES, _MOST_SPOTS, _MOST_MEMBERS, _WIDTH = 20, 12, 20, 160
_MOVED = ("where the", "addresses of", "initial values, or", "constants, or", "machine code", "which file", "padding")
"""What differs wherever something before it has another length."""


def lines(found: Difference) -> Iterator[str]:
    """Both sides, why they differ, then each kind of difference under its own heading."""
    yield f"- {_side(found.one)}"
    yield f"+ {_side(found.other)}"
    if found.equal:
        yield "equal: not one byte differs"
        return
    yield from _block("different", (line(_cut(why)) for why in found.because))
    yield from _differences(found)
    for layer in found.layers:
        yield from _layer(layer)


def _differences(found: Difference) -> Iterator[str]:
    yield from _block("facts", map(_change, found.facts))
    yield from _block("modules", map(_change, found.modules))
    yield from _block("build settings", map(_change, found.settings))
    yield from _block("image", map(_change, found.image))
    yield from _block("code by package, in bytes", _sizes(found.sizes))
    yield from _block("first differing bytes", _spots(found.bytes))


def _side(side: Side) -> str:
    return f"{line(side.path)}: {side.kind}, {side.size:,} bytes, {side.digest}"


def _block(title: str, content: Iterable[str]) -> Iterator[str]:
    """A heading and what stands under it; nothing for nothing."""
    first = True
    for each in content:
        if first:
            yield f"{title}:"
        first = False
        yield f"  {each}"


def _change(change: Change) -> str:
    name = line(change.name)
    if change.one is None:
        return f"+ {name}: {line(_cut(change.other or ''))}"
    if change.other is None:
        return f"- {name}: {line(_cut(change.one))}"
    return f"~ {name}: {line(_cut(change.one))} -> {line(_cut(change.other))}"


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _sizes(sizes: tuple[SizeChange, ...]) -> Iterator[str]:
    for each in sizes[:_MOST_LINES]:
        name = line(each.package) or "(no package)"
        module = f" [{line(each.module)}]" if each.module else ""
        yield f"{each.other - each.one:+,} {name}{module}: {each.one:,} -> {each.other:,}"
    rest = sizes[_MOST_LINES:]
    if rest:
        yield f"{sum(each.other - each.one for each in rest):+,} in {len(rest)} more packages"
    if sizes:
        yield f"{sum(each.other - each.one for each in sizes):+,} in all"


def _spots(spots: tuple[Spot, ...]) -> Iterator[str]:
    """A line a part; with the bytes of the first one, and of those that tell more than that something moved."""
    for number, spot in enumerate(spots[:_MOST_SPOTS]):
        places = " / ".join(f"{at:#x}" if at is not None else "nowhere" for at in (spot.one_offset, spot.other_offset))
        yield f"{line(spot.where)} at {places}" + (f": {line(_cut(spot.why))}" if spot.why else "")
        if (spot.one or spot.other) and not (number and spot.why.startswith(_MOVED)):
            yield f"  - {line(_cut(spot.one)) or '(ends here)'}"
            yield f"  + {line(_cut(spot.other)) or '(ends here)'}"
    if len(spots) > _MOST_SPOTS:
        yield f"and {len(spots) - _MOST_SPOTS} more parts"


def _layer(layer: LayerChange) -> Iterator[str]:
    yield f"layer {layer.number} of {line(layer.platform)}: {line(layer.why)}"
    for digest, sign in ((layer.one, "-"), (layer.other, "+")):
        if digest:
            yield f"  {sign} {digest}"
    for member in layer.members[:_MOST_MEMBERS]:
        yield f"  {line(member.path)}"
        yield from (f"    {_change(change)}" for change in member.changes)
        if member.program:
            yield from (f"    {each}" for each in _differences(member.program))
    hidden = layer.more + max(len(layer.members) - _MOST_MEMBERS, 0)
    if hidden:
        yield f"  and {hidden} more"


def entries(found: LayerChange) -> Iterator[str]:
    """Two archives: a line for each field of an entry that differs, `srv/file: mode 0444 then 0555`."""
    if found.why:
        yield line(found.why)
    for member in found.members[:_MOST_MEMBERS]:
        path = line(member.path.strip("/"))
        yield from (f"{path}: {_sentence(change)}" for change in member.changes)
        if member.program:
            yield from (f"  {each}" for each in _differences(member.program))
    hidden = found.more + max(len(found.members) - _MOST_MEMBERS, 0)
    if hidden:
        yield f"and {hidden} more"


def _sentence(change: Change) -> str:
    if change.name == "content":
        return "content differs"
    if change.name == "entry":
        return f"only in the {'first' if change.other is None else 'second'}"
    return f"{line(change.name)} {line(_cut(change.one or 'nothing'))} then {line(_cut(change.other or 'nothing'))}"
