from __future__ import annotations

from imagekit.audit.cgo_required import KeptOut, Obstacle, cgo_required
from imagekit.audit.chains import ImportGraph
from imagekit.platform import Platform

M = "example.org/m"
GRAPH = ImportGraph(main=M, module=M, imports={M: (f"{M}/a", f"{M}/b"), f"{M}/a": ("x/c",), f"{M}/b": (f"{M}/a",)})
IMPORTS_C = 'import "C" with CGO_ENABLED=0'
EXCLUDED = Obstacle(
    kind="excluded", package="x/c", files=(KeptOut(file="x/c/c.go", constraint=IMPORTS_C, needs_cgo=True),)
)
BY_SYSTEM = KeptOut(file="x/c/c_windows.go", constraint="file name: windows", needs_cgo=False)
SYSCTL = KeptOut(file="x/c/sysctl_bsd.go", constraint="//go:build freebsd && cgo", needs_cgo=True)


def test_excluded_files_give_the_chain_and_the_import_to_remove(target):
    (finding,) = cgo_required([EXCLUDED], target(), GRAPH)
    assert finding.rule == "cgo-required"
    assert finding.subject == "app:linux/amd64"
    assert finding.chain == (M, f"{M}/a", "x/c")
    assert "x/c/c.go, kept out by import" in finding.message
    assert "cgo: off" in finding.message
    assert f'remove the import of "x/c" from {M}/a' in finding.hint
    assert "cgo: static" in finding.hint


def test_undefined_names_the_identifier_the_file_and_its_constraint(target):
    obstacle = Obstacle(
        kind="undefined", package="x/c", identifier="bsdSysctl", where="x/c/mem.go:9:2", files=(BY_SYSTEM, SYSCTL)
    )
    (finding,) = cgo_required([obstacle], target(platform=Platform("freebsd", "amd64")), GRAPH)
    for word in ("undefined: bsdSysctl", "x/c/mem.go:9:2", "x/c/sysctl_bsd.go", "//go:build freebsd && cgo"):
        assert word in finding.message
    assert "c_windows.go" not in finding.message
    assert [e.where for e in finding.evidence] == ["x/c/sysctl_bsd.go"]
    assert "cgo: static" not in finding.hint
    assert 'exclude: ["freebsd/amd64"]' in finding.hint


def test_what_another_system_s_file_would_declare_is_no_finding(target):
    obstacle = Obstacle(kind="undefined", package="x/c", identifier="f", files=(BY_SYSTEM,))
    assert cgo_required([obstacle], target(), GRAPH) == ()


def test_no_file_no_finding(target):
    assert cgo_required([Obstacle(kind="undefined", package="x/c", identifier="f", files=())], target(), GRAPH) == ()


def test_the_same_obstacle_twice_is_one_finding(target):
    assert len(cgo_required([EXCLUDED, EXCLUDED], target(), GRAPH)) == 1


def test_many_files_are_counted_not_listed(target):
    files = tuple(KeptOut(file=f"x/c/{n}.go", constraint=IMPORTS_C, needs_cgo=True) for n in range(9))
    (finding,) = cgo_required([Obstacle(kind="excluded", package="x/c", files=files)], target(), GRAPH)
    assert "and 6 more" in finding.message
    assert len(finding.evidence) == 9


def test_the_user_s_own_import_of_c_is_what_to_remove(target):
    imports = {M: (f"{M}/a", f"{M}/b"), f"{M}/a": (f"{M}/c",), f"{M}/b": (f"{M}/c",)}
    files = (KeptOut(file=f"{M}/c/c.go", constraint=IMPORTS_C, needs_cgo=True),)
    own = ImportGraph(main=M, module=M, imports=imports)
    (finding,) = cgo_required([Obstacle(kind="excluded", package=f"{M}/c", files=files)], target(), own)
    assert f'remove the import of "C" from {M}/c' in finding.hint


def test_a_package_that_is_main_itself(target):
    files = (KeptOut(file=f"{M}/main.go", constraint=IMPORTS_C, needs_cgo=True),)
    (finding,) = cgo_required([Obstacle(kind="excluded", package=M, files=files)], target(), GRAPH)
    assert finding.chain == (M,)
    assert "cgo: static" in finding.hint
