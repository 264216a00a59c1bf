from __future__ import annotations

import random
from itertools import pairwise

import pytest

from imagekit.audit.reports.treemap import HEIGHT, OTHER, STANDARD, WIDTH, Box, modules, short, squarify, treemap
from imagekit.binary.sizes import PackageSize


def test_the_example_of_the_paper():
    boxes = squarify([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    shapes = [(round(box.width, 2), round(box.height, 2)) for box in boxes]
    assert shapes == [(3, 2), (3, 2), (1.71, 2.33), (1.29, 2.33), (1.2, 1.67), (1.2, 1.67), (0.6, 1.67)]


@pytest.mark.parametrize("seed", range(20))
def test_boxes_fill_the_frame_without_overlap(seed):
    chance = random.Random(seed)
    sizes = sorted((int(chance.paretovariate(1)) + 1 for _ in range(chance.randint(1, 300))), reverse=True)
    frame = Box(3, 5, chance.uniform(1, 900), chance.uniform(1, 900))
    boxes = squarify(sizes, frame)
    area = frame.width * frame.height
    for size, box in zip(sizes, boxes, strict=True):
        assert box.width * box.height == pytest.approx(area * size / sum(sizes), rel=1e-6, abs=1e-9)
        assert box.x >= frame.x - 1e-6
        assert box.y >= frame.y - 1e-6
        assert box.x + box.width <= frame.x + frame.width + 1e-6
        assert box.y + box.height <= frame.y + frame.height + 1e-6
    for one, other in pairwise(boxes):
        across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        assert across <= 1e-6 or down <= 1e-6


@pytest.mark.parametrize("frame", [Box(0, 0, 0, 0), Box(0, 0, 5, 0), Box(0, 0, 0, 5)])
def test_a_frame_without_area_has_boxes_without_area(frame):
    assert all(box.width * box.height == 0 for box in squarify([3, 2, 1], frame))


@pytest.mark.parametrize(
    ("package", "module", "expected"),
    [
        ("net/http", "", STANDARD),
        ("vendor/golang.org/x/net/idna", "", STANDARD),
        ("example.org/unknown", "", OTHER),
        ("", "", OTHER),
        ("main", "", "example.org/app"),
        ("main", "example.org/app", "example.org/app"),
        ("example.org/errors", "example.org/errors", "example.org/errors"),
    ],
)
def test_a_package_belongs_to_a_module(facts, package, module, expected):
    (found,) = modules([PackageSize(package, module, 1)], facts())
    assert found.name == expected


def test_modules_are_the_largest_first_and_empty_packages_are_left_out():
    sizes = [PackageSize("a.b/x", "a.b", 3), PackageSize("a.b/y", "a.b", 4), PackageSize("fmt", "", 9)]
    found = modules([*sizes, PackageSize("os", "", 0)], None)
    assert [(each.name, each.size) for each in found] == [(STANDARD, 9), ("a.b", 7)]
    assert [package.package for package in found[1].packages] == ["a.b/y", "a.b/x"]


def test_what_is_too_small_to_see_is_put_together():
    sizes = [PackageSize("runtime", "", 10_000_000)]
    sizes += [PackageSize(f"m{n}.org/p{p}", f"m{n}.org", 1) for n in range(30) for p in range(3)]
    blocks = treemap(modules(sizes, None))
    assert [block.module for block in blocks] == [STANDARD, "30 smaller modules"]
    assert blocks[1].size == 90


def test_the_map_is_as_large_as_its_frame():
    blocks = treemap(modules([PackageSize("runtime", "", 7), PackageSize("m.org/p", "m.org", 5)], None))
    assert sum(block.box.width * block.box.height for block in blocks) == pytest.approx(WIDTH * HEIGHT)
    assert [block.hue for block in blocks] == [0, 1]


def test_nothing_has_no_map():
    assert treemap(modules([], None)) == ()


@pytest.mark.parametrize(
    ("package", "module", "expected"),
    [
        ("golang.org/x/net/http2", "golang.org/x/net", "http2"),
        ("golang.org/x/net", "golang.org/x/net", "net"),
        ("net/http", STANDARD, "net/http"),
        ("", OTHER, "(no package)"),
    ],
)
def test_a_package_is_named_within_its_module(package, module, expected):
    assert short(package, module) == expected
