from __future__ import annotations

import msgspec
import pytest

from imagekit.audit.needs import Piece
from imagekit.binary.facts import CgoUse, GoModule, Linkage
from imagekit.content import Digest
from imagekit.sbom.edges import module_imports
from imagekit.sbom.inventory import ROOT, Kind
from imagekit.sbom.pieces import piece_component

H1 = "h1:" + "P" * 43 + "="


def by_ref(inventory):
    return {component.ref: component for component in inventory.components}


def test_every_module_once_and_the_standard_library(inventory):
    made = inventory()
    refs = [component.ref for component in made.components]
    assert refs == sorted(set(refs))
    assert {ref for ref in refs if ref.startswith("module:")} == {
        "module:example.org/forked",
        "module:example.org/local",
        "module:example.org/odd%path/a b",
        "module:github.com/BurntSushi/toml",
        "module:github.com/docker/docker",
        "module:gopkg.in/yaml.v3",
    }
    stdlib = by_ref(made)["stdlib"]
    assert (stdlib.version, stdlib.license) == ("1.26.8", "BSD-3-Clause")
    assert stdlib.purl == "pkg:golang/stdlib@1.26.8"
    assert stdlib.cpe


def test_only_the_standard_library_has_a_cpe(inventory):
    made = inventory()
    assert [component.ref for component in (made.program, *made.components) if component.cpe] == ["stdlib"]


def test_sums_are_the_build_info_s_else_go_sum_s(inventory):
    components = by_ref(inventory())
    assert components["module:github.com/BurntSushi/toml"].h1.startswith("h1:TTT")
    assert components["module:gopkg.in/yaml.v3"].h1.startswith("h1:YYY")
    assert components["module:example.org/odd%path/a b"].h1 == ""


def test_no_module_has_a_digest_that_is_its_h1(inventory):
    assert all(component.digest is None for component in inventory().components)


def test_a_replacement_is_what_is_inside(inventory):
    forked = by_ref(inventory())["module:example.org/forked"]
    assert (forked.name, forked.version) == ("example.org/fork", "v1.0.1")
    assert forked.purl == "pkg:golang/example.org/fork@v1.0.1"
    assert ("imagekit:go:replaces", "example.org/forked@v1.0.0") in forked.properties


def test_a_local_replacement_has_no_version_and_no_purl(inventory):
    local = by_ref(inventory())["module:example.org/local"]
    assert (local.name, local.version, local.purl) == ("example.org/local", "", "")
    assert ("imagekit:go:replaced-by", "../local") in local.properties


def test_the_program_is_the_main_package_with_the_real_digest(inventory):
    program = inventory().program
    assert program.digest == Digest("sha256:" + "ab" * 32)
    assert program.purl == "pkg:golang/example.org/App@v1.2.4-0.20260101000000-abcdefabcdef#cmd/app"
    assert program.kind is Kind.PROGRAM
    assert program.ref == ROOT


def test_a_published_module_gives_its_version_and_h1(inventory, facts):
    go = msgspec.structs.replace(facts().go, main=GoModule("example.org/App", "(devel)"))
    made = inventory(facts(go=go), published=GoModule("example.org/App", "v1.2.3", H1))
    assert (made.program.version, made.program.h1) == ("v1.2.3", H1)
    assert made.program.purl == "pkg:golang/example.org/App@v1.2.3#cmd/app"


def test_the_caller_s_version_stands_where_go_wrote_none(inventory, facts):
    go = msgspec.structs.replace(facts().go, main=GoModule("example.org/App", "(devel)"))
    assert inventory(facts(go=go), version="1.4.0").program.version == "1.4.0"
    assert inventory(facts(go=go)).program.version == ""
    assert inventory(version="9").program.version.startswith("v1.2.4-0.")


def test_how_it_was_built_is_told_with_what_trimpath_hides(inventory):
    told = dict(inventory().program.properties)
    assert told["imagekit:go:setting:-tags"] == "netgo"
    assert told["imagekit:build:x:main.version"] == "1.4.0"
    assert told["imagekit:build:ldflags"] == "-s -w"
    assert told["imagekit:build:flags"] == "-pgo=off"
    assert told["imagekit:build:env:GODEBUG"] == "x=1"
    assert told["imagekit:build:target"] == "app:linux/amd64"
    assert told["imagekit:go:version"] == "go1.26.8"


def test_libc_inside_a_static_program_is_named(inventory, facts):
    made = inventory(facts(cgo=CgoUse.PROVEN, libc="musl"))
    assert by_ref(made)["libc:musl"].version == ""
    assert not made.complete


def test_libc_of_the_system_is_not_inside(inventory, facts):
    made = inventory(facts(cgo=CgoUse.PROVEN, libc="glibc", linkage=Linkage.DYNAMIC))
    assert "libc:glibc" not in by_ref(made)


def test_a_program_without_build_info_is_said_to_be_incomplete(inventory, facts):
    made = inventory(facts(go=None))
    assert made.components == ()
    assert not made.complete
    assert made.program.digest
    assert made.program.purl == ""


def test_without_an_import_graph_the_program_needs_all_and_the_rest_is_unknown(inventory):
    made = inventory()
    assert made.edges == ((ROOT, tuple(component.ref for component in made.components)),)


PACKAGES = {
    "example.org/App/cmd/app": ("fmt", "gopkg.in/yaml.v3", "example.org/App/inner"),
    "example.org/App/inner": ("github.com/BurntSushi/toml/x", "C"),
    "gopkg.in/yaml.v3": ("strings", "github.com/BurntSushi/toml"),
    "github.com/BurntSushi/toml": ("fmt",),
    "github.com/BurntSushi/toml/x": ("github.com/BurntSushi/toml",),
    "fmt": ("strings",),
    "strings": (),
}
HOMES = {
    "example.org/App/cmd/app": "example.org/App",
    "example.org/App/inner": "example.org/App",
    "gopkg.in/yaml.v3": "gopkg.in/yaml.v3",
    "github.com/BurntSushi/toml": "github.com/BurntSushi/toml",
    "github.com/BurntSushi/toml/x": "github.com/BurntSushi/toml",
}


def test_packages_fold_to_modules():
    assert module_imports(PACKAGES, HOMES) == {
        "example.org/App": ("github.com/BurntSushi/toml", "gopkg.in/yaml.v3", "stdlib"),
        "github.com/BurntSushi/toml": ("stdlib",),
        "gopkg.in/yaml.v3": ("github.com/BurntSushi/toml", "stdlib"),
        "stdlib": (),
    }


def test_edges_follow_the_import_graph(inventory):
    edges = dict(inventory(module_imports=module_imports(PACKAGES, HOMES)).edges)
    assert edges["module:gopkg.in/yaml.v3"] == ("module:github.com/BurntSushi/toml", "stdlib")
    assert edges["stdlib"] == ()
    assert "module:gopkg.in/yaml.v3" in edges[ROOT]
    assert "module:github.com/docker/docker" in edges[ROOT], "nothing else is known to bring it in"
    assert "module:example.org/App" not in edges


@pytest.mark.parametrize("piece", Piece)
def test_pieces_of_the_root_file_system(piece, inventory):
    component = piece_component(piece, Digest("sha256:" + "cd" * 32))
    assert component.digest is None
    assert ("imagekit:rootfs:diff-id", "sha256:" + "cd" * 32) in component.properties
    assert component.ref in dict(inventory(extra=[component]).edges)[ROOT]


def test_the_wheels_are_named_with_their_versions():
    for piece, wheel in ((Piece.CA, "certifi"), (Piece.TZDATA, "tzdata")):
        component = piece_component(piece, Digest("sha256:" + "cd" * 32))
        assert component.purl == f"pkg:pypi/{wheel}@{component.version}"
        assert component.version
        assert piece_component(piece, Digest("sha256:" + "cd" * 32), replaced=True).purl == ""
