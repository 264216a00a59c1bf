"""A program's code as a map: a rectangle a module, in it one a package, areas as their bytes.

Squarified (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000). Lengths are in the units of an SVG that is `WIDTH`
wide; the same sizes give the same map.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from imagekit.binary.facts import BinaryFacts
from imagekit.binary.sizes import PackageSize

WIDTH, HEIGHT = 1200.0, 640.0
HEAD = 20.0
"""Height of a module's title, where its box has room for one."""
_GAP = 2.0
_LEAST_MODULE, _LEAST_PACKAGE = 260.0, 36.0
"""Smallest area that can be seen and pointed at; what is smaller is put together."""
_HUES = 9
STANDARD, OTHER = "Go standard library", "no module known"


class Box(msgspec.Struct, frozen=True):
    x: float
    y: float
    width: float
    height: float


class Cell(msgspec.Struct, frozen=True):
    """A package: its short name, its whole name, its bytes."""

    box: Box
    name: str
    package: str
    size: int


class Block(msgspec.Struct, frozen=True):
    """A module with its packages; `hue` counts from 0 for the largest, the last one is everybody's."""

    box: Box
    head: float
    module: str
    size: int
    hue: int
    cells: tuple[Cell, ...]


class Module(msgspec.Struct, frozen=True):
    """All packages of a module, the largest first."""

    name: str
    size: int
    packages: tuple[PackageSize, ...]


def modules(sizes: Sequence[PackageSize], facts: BinaryFacts | None) -> tuple[Module, ...]:
    """Packages by module, the largest first, equal ones by name."""
    groups: defaultdict[str, list[PackageSize]] = defaultdict(list)
    for each in sizes:
        if each.size > 0:
            groups[_module(each, facts)].append(each)
    found = [
        Module(name, sum(each.size for each in group), tuple(sorted(group, key=lambda p: (-p.size, p.package))))
        for name, group in groups.items()
    ]
    return tuple(sorted(found, key=lambda module: (-module.size, module.name)))


def treemap(found: Sequence[Module]) -> tuple[Block, ...]:
    """The map of these modules; small modules stand in one block, small packages in one cell."""
    shown = _grouped(found)
    boxes = squarify([module.size for module in shown], Box(0, 0, WIDTH, HEIGHT))
    return tuple(
        Block(box, _head(box), module.name, module.size, min(number, _HUES - 1), _cells(module, box))
        for number, (module, box) in enumerate(zip(shown, boxes, strict=True))
    )


def _module(each: PackageSize, facts: BinaryFacts | None) -> str:
    if each.module:
        return each.module
    if each.package == "main" and facts and facts.go:
        return facts.go.main.path if facts.go.main else facts.go.path
    first = each.package.partition("/")[0]
    return STANDARD if first and "." not in first else OTHER


def _grouped(found: Sequence[Module]) -> list[Module]:
    total = sum(module.size for module in found)
    large = [module for module in found if module.size * WIDTH * HEIGHT >= _LEAST_MODULE * total]
    small = found[len(large) :]
    if len(small) < 2:
        return list(found)
    packages = tuple(package for module in small for package in module.packages)
    name = f"{len(small)} smaller modules"
    ordered = tuple(sorted(packages, key=lambda package: (-package.size, package.package)))
    return [*large, Module(name, sum(module.size for module in small), ordered)]


def _head(box: Box) -> float:
    return HEAD if box.height >= 2 * HEAD and box.width >= 2 * HEAD else _GAP


def _cells(module: Module, box: Box) -> tuple[Cell, ...]:
    head = _head(box)
    inner = Box(box.x + _GAP, box.y + head, max(box.width - 2 * _GAP, 0.0), max(box.height - head - _GAP, 0.0))
    if not inner.width * inner.height:
        return ()
    least = _LEAST_PACKAGE * module.size / (inner.width * inner.height)
    large = [package for package in module.packages if package.size >= least]
    rest = module.packages[len(large) :]
    entries = [(short(package.package, module.name), package.package, package.size) for package in large]
    if rest:
        name = f"{len(rest)} smaller packages"
        entries.append((name, name, sum(package.size for package in rest)))
    boxes = squarify([size for _, _, size in entries], inner)
    return tuple(Cell(box, *entry) for box, entry in zip(boxes, entries, strict=True))


def short(package: str, module: str) -> str:
    """A package's name within its module; the last element of the module's own for the package at its root."""
    if package == module:
        return package.rpartition("/")[2]
    return package.removeprefix(f"{module}/") or "(no package)"


def squarify(sizes: Sequence[int], box: Box) -> list[Box]:
    """One box a size, in their order (the largest first gives the squarest), filling `box`; all above 0."""
    if not box.width * box.height:
        return [Box(box.x, box.y, 0.0, 0.0) for _ in sizes]
    boxes: list[Box] = []
    total = sum(sizes)
    areas = [size * box.width * box.height / total for size in sizes]
    at = 0
    while at < len(areas):
        side = min(box.width, box.height)
        end = at + 1
        while end < len(areas) and _worst(areas[at : end + 1], side) <= _worst(areas[at:end], side):
            end += 1
        row, box = _row(areas[at:end], box)
        boxes += row
        at = end
    return boxes


def _worst(areas: Sequence[float], side: float) -> float:
    """The worst aspect ratio of a row along a side of this length."""
    whole = sum(areas)
    if not whole or not side:
        return float("inf")
    return max(side * side * max(areas) / (whole * whole), whole * whole / (side * side * min(areas)))


def _row(areas: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """The boxes of a row along the shorter side, and what is left of the box."""
    whole, boxes = sum(areas), []
    if box.width >= box.height:
        width, y = whole / box.height if box.height else 0.0, box.y
        for area in areas:
            height = box.height * area / whole
            boxes.append(Box(box.x, y, width, height))
            y += height
        return boxes, Box(box.x + width, box.y, max(box.width - width, 0.0), box.height)
    height, x = whole / box.width if box.width else 0.0, box.x
    for area in areas:
        width = box.width * area / whole
        boxes.append(Box(x, box.y, width, height))
        x += width
    return boxes, Box(box.x, box.y + height, box.width, max(box.height - height, 0.0))
