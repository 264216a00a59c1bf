from __future__ import annotations

import pytest

from imagekit.audit.chains import ImportGraph
from imagekit.audit.checks.linkage import must_be_allowed
from imagekit.audit.policy import SCRATCH
from imagekit.audit.why import causes, way_to_cut, with_c
from imagekit.binary.facts import CgoUse, Linkage
from imagekit.targets.target import Cgo, Ldflags

M = "example.org/m"
TWO_WAYS = {
    M: ("fmt", f"{M}/direct", f"{M}/far"),
    f"{M}/direct": (f"{M}/native",),
    f"{M}/far": (f"{M}/deep",),
    f"{M}/deep": (f"{M}/native",),
    f"{M}/native": ("C", "unsafe"),
}
STANDARD = frozenset({"fmt", "net", "net/http", "os/user", "runtime/cgo", "unsafe"})
DYNAMIC = {"linkage": Linkage.DYNAMIC, "interpreter": "/lib64/ld-linux-x86-64.so.2", "needed": ("libc.so.6",)}
WITH_C = {**DYNAMIC, "cgo": CgoUse.PROVEN}


def graph(imports, **kinds):
    return ImportGraph(main=M, module=M, imports=imports, standard=STANDARD, **kinds)


def test_the_shortest_chain_to_c_and_the_import_to_remove(subject, facts):
    (cause,) = causes(subject(facts(**WITH_C), imports=lambda: graph(TWO_WAYS, cgo={f"{M}/native", "runtime/cgo"})))
    assert cause.chain == (M, f"{M}/direct", f"{M}/native")
    assert f'remove the import of "C" from {M}/native' in cause.hint
    assert "cgo: static" in cause.hint


def test_a_module_of_others_is_cut_where_the_user_can(subject, facts):
    imports = {M: (f"{M}/store",), f"{M}/store": ("example.net/sqlite",), "example.net/sqlite": ("C",)}
    (cause,) = causes(subject(facts(**WITH_C), imports=lambda: graph(imports, cgo={"example.net/sqlite"})))
    assert f'remove the import of "example.net/sqlite" from {M}/store' in cause.hint


def test_where_no_single_import_is_to_blame_every_importer_is_named(subject, facts):
    imports = {M: (f"{M}/a", f"{M}/b"), f"{M}/a": ("x/c",), f"{M}/b": ("x/c",), "x/c": ("C",)}
    (cause,) = causes(subject(facts(**WITH_C), imports=lambda: graph(imports, cgo={"x/c"})))
    assert f"x/c is imported by {M}/a, {M}/b" in cause.hint


def test_removing_the_named_import_removes_the_cause():
    imports = {M: ("y/db",), "y/db": ("x/c",), "x/c": ("C",)}
    hint = way_to_cut(with_c(graph(imports, cgo={"x/c"}), {"x/c"}), (M, "y/db", "x/c"), {"x/c"})
    assert f'remove the import of "y/db" from {M}' in hint


STANDARD_USERS = {
    "os/user": (("os/user",), ["osusergo"], "os/user"),
    "net": (("net/http",), ["netgo"], "net"),
    "both": (("net/http", "os/user"), ["netgo", "osusergo"], "os/user"),
}


@pytest.mark.parametrize(("imported", "tags", "end"), STANDARD_USERS.values(), ids=STANDARD_USERS)
def test_the_standard_library_s_c_has_tags(subject, facts, imported, tags, end):
    imports = {M: imported, "net/http": ("net",), "net": ("C", "runtime/cgo"), "os/user": ("C",)}
    (cause,) = causes(subject(facts(**WITH_C), imports=lambda: graph(imports, cgo={"net", "os/user", "runtime/cgo"})))
    assert cause.chain[0] == M
    assert cause.chain[-1] == end
    assert f"tags: [{', '.join(tags)}]" in cause.hint
    assert "cgo: off" in cause.hint


def test_a_foreign_package_comes_before_the_standard_library(subject, facts):
    imports = {M: ("os/user", f"{M}/far"), f"{M}/far": ("x/c",), "x/c": ("C",), "os/user": ("C",)}
    (cause,) = causes(subject(facts(**WITH_C), imports=lambda: graph(imports, cgo={"os/user", "x/c"})))
    assert cause.chain[-1] == "x/c"
    assert "osusergo" in cause.hint


def test_dynamic_imports_without_cgo_end_outside_the_standard_library(subject, facts):
    imports = {M: ("fmt", "example.net/pure"), "fmt": ("syscall",), "example.net/pure": ("runtime/cgo",)}
    reach = graph(imports, dynamic={"example.net/pure", "runtime/cgo"})
    (cause,) = causes(subject(facts(**DYNAMIC), imports=lambda: reach))
    assert cause.chain == (M, "example.net/pure")
    assert "cgo_import_dynamic" in cause.message
    assert "CGO_ENABLED=0" in cause.message
    assert f'remove the import of "example.net/pure" from {M}' in cause.hint


FLAGS = {
    "pie": (Linkage.LOADER_ONLY, {"flags": ("-buildmode=pie",)}, "flags/-buildmode=pie", "-buildmode=pie"),
    "two dashes": (Linkage.LOADER_ONLY, {"flags": ("--buildmode=pie",)}, "flags/--buildmode=pie", "--buildmode=pie"),
    "race": (Linkage.DYNAMIC, {"flags": ("-race",), "cgo": Cgo.ALLOW}, "flags/-race", "-race"),
    "external": (
        Linkage.DYNAMIC,
        {"ldflags": Ldflags(flags=("-linkmode=external",))},
        "ldflags/flags/-linkmode=external",
        "-linkmode=external",
    ),
}


@pytest.mark.parametrize(("linkage", "settings", "origin", "flag"), FLAGS.values(), ids=FLAGS)
def test_a_flag_is_named_with_the_line_that_set_it(subject, facts, expected, target, linkage, settings, origin, flag):
    asked = target(**settings, origins=((origin, "imagekit.yaml:6"),))
    (cause,) = causes(subject(facts(linkage=linkage), expected=expected(target=asked)))
    assert f"{flag} (imagekit.yaml:6)" in cause.message
    assert flag.lstrip("-").split("=")[0] in cause.hint
    assert cause.chain == ()


def test_a_stranger_s_flag_is_read_in_its_build_info(subject, facts, go_build):
    stranger = type(go_build)(go_build.version, go_build.path, None, (), {**go_build.settings, "-buildmode": "pie"})
    (cause,) = causes(subject(facts(linkage=Linkage.LOADER_ONLY, go=stranger)))
    assert "build info says -buildmode=pie" in cause.message


QUIET = {
    "no graph": (WITH_C, None),
    "the chain is not there": (WITH_C, graph({M: ("fmt",)}, cgo={"x/c"})),
    "only runtime/cgo": (WITH_C, graph({M: ("runtime/cgo",)}, cgo={"runtime/cgo"})),
    "dynamic by an unknown hand": (DYNAMIC, graph({M: ("fmt",)}, dynamic={"runtime/cgo"})),
}


@pytest.mark.parametrize(("changes", "imports"), QUIET.values(), ids=QUIET)
def test_where_nothing_tells_the_finding_still_has_a_way_out(subject, facts, changes, imports):
    judged = subject(facts(**changes), imports=imports and (lambda: imports))
    assert causes(judged) == ()
    (remark,) = must_be_allowed(judged, SCRATCH)
    assert remark.hint
    assert remark.chain == ()


def test_the_finding_carries_evidence_chain_and_way_out(subject, facts):
    (remark,) = must_be_allowed(subject(facts(**WITH_C), imports=lambda: graph(TWO_WAYS, cgo={f"{M}/native"})), SCRATCH)
    assert remark.chain == (M, f"{M}/direct", f"{M}/native")
    assert f'{M}/native imports "C"' in remark.message
    assert remark.evidence
