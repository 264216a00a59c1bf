from __future__ import annotations

import pytest

from imagekit.audit.chains import ImportGraph, cutting_edges, edge_to_cut, importers, is_own, reached, shortest

TWO_WAYS = {
    "m": ["m/direct", "m/far"],
    "m/direct": ["m/native"],
    "m/far": ["m/deep"],
    "m/deep": ["m/native"],
    "m/native": [],
}
CHAINS = {
    "the shorter of two": (TWO_WAYS, "m/native", ("m", "m/direct", "m/native")),
    "start is the goal": (TWO_WAYS, "m", ("m",)),
    "not reached": (TWO_WAYS, "x", ()),
    "equal length: alphabetical": ({"m": ["z", "b"], "b": ["goal"], "z": ["goal"]}, "goal", ("m", "b", "goal")),
    "a circle ends": ({"m": ["a"], "a": ["m"]}, "goal", ()),
    "a package that is not listed": ({"m": ["goal"]}, "goal", ("m", "goal")),
}


@pytest.mark.parametrize(("imports", "goal", "chain"), CHAINS.values(), ids=CHAINS)
def test_shortest(imports, goal, chain):
    assert shortest(imports, "m", goal.__eq__) == chain


def test_the_order_of_the_graph_changes_nothing():
    turned = {package: list(reversed(imported)) for package, imported in reversed(TWO_WAYS.items())}
    assert shortest(turned, "m", "m/native".__eq__) == shortest(TWO_WAYS, "m", "m/native".__eq__)


def test_no_import_cuts_two_separate_ways():
    assert cutting_edges(TWO_WAYS, ("m", "m/direct", "m/native"), "m/native".__eq__) == ()


def test_the_import_that_all_ways_share_cuts():
    shared = {**TWO_WAYS, "m/native": ["other/c"]}
    chain = shortest(shared, "m", "other/c".__eq__)
    assert cutting_edges(shared, chain, "other/c".__eq__) == (("m/native", "other/c"),)
    assert not shortest(shared, "m", "other/c".__eq__, without=("m/native", "other/c"))


def test_the_edge_to_cut_is_the_last_that_the_user_can_edit():
    graph = ImportGraph(main="m/cmd", module="m", imports={"m/cmd": ["m/a"], "m/a": ["other"], "other": ["other/c"]})
    chain = ("m/cmd", "m/a", "other", "other/c")
    assert edge_to_cut(graph, chain, "other/c".__eq__) == ("m/a", "other")


def test_a_prefix_is_no_module():
    graph = ImportGraph(main="m/cmd", module="m", imports={})
    assert is_own(graph, "m/a")
    assert is_own(graph, "m")
    assert not is_own(graph, "mother/a")


def test_reached_and_importers():
    assert reached(TWO_WAYS, "m/far") == {"m/far", "m/deep", "m/native"}
    assert list(importers(TWO_WAYS, "m/native")) == ["m/deep", "m/direct"]


def test_a_deep_graph_costs_no_stack():
    imports = {str(n): [str(n + 1)] for n in range(20_000)}
    assert len(shortest(imports, "0", "20000".__eq__)) == 20_001
