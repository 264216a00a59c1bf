"""Both renderings, judged by each format's own reader."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from imagekit.audit.needs import Piece
from imagekit.binary.facts import BinaryFacts, CgoUse
from imagekit.content import Digest
from imagekit.errors import UsageError
from imagekit.sbom import cyclonedx, spdx
from imagekit.sbom.edges import module_imports
from imagekit.sbom.pieces import piece_component

RENDERERS = {"cyclonedx": cyclonedx.render, "spdx": spdx.render}
IMPORTS = module_imports(
    {"example.org/App/cmd/app": ("gopkg.in/yaml.v3",), "gopkg.in/yaml.v3": ("fmt",), "fmt": ()},
    {"example.org/App/cmd/app": "example.org/App", "gopkg.in/yaml.v3": "gopkg.in/yaml.v3"},
)
VARIANTS = ["plain", "graph", "cgo", "no build info", "pieces", "windows"]


@pytest.fixture(params=VARIANTS)
def any_inventory(request: pytest.FixtureRequest, inventory, facts: Callable[..., BinaryFacts]):
    match request.param:
        case "graph":
            return inventory(module_imports=IMPORTS, source="git+https://git.example/team/app@0123")
        case "cgo":
            return inventory(facts(cgo=CgoUse.PROVEN, libc="musl"))
        case "no build info":
            return inventory(facts(go=None, platform=None), target=None, name="odd name", filename="odd name")
        case "pieces":
            return inventory(extra=[piece_component(piece, Digest("sha256:" + "cd" * 32)) for piece in Piece])
        case "windows":
            return inventory(filename="app.exe")
    return inventory()


@pytest.fixture(scope="session")
def cyclonedx_validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_6)


def test_cyclonedx_fits_its_schema(any_inventory, cyclonedx_validator):
    assert cyclonedx_validator.validate_str(cyclonedx.render(any_inventory).decode()) is None


def test_the_validator_does_refuse(inventory, cyclonedx_validator):
    document = json.loads(cyclonedx.render(inventory()))
    document["components"][0]["type"] = "thing"
    assert cyclonedx_validator.validate_str(json.dumps(document)) is not None


def test_spdx_passes_its_own_tools(any_inventory, tmp_path: Path):
    path = tmp_path / "app.spdx.json"
    path.write_bytes(spdx.render(any_inventory))
    messages = validate_full_spdx_document(parse_file(str(path)))
    assert [message.validation_message for message in messages] == []


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_equal_inventories_give_equal_bytes(render, inventory):
    assert render(inventory()) == render(inventory())


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_another_binary_gives_another_identity(render, inventory):
    one, other = (json.loads(render(inventory(digest=Digest(f"sha256:{c * 64}")))) for c in "ab")
    key = "serialNumber" if "serialNumber" in one else "documentNamespace"
    assert one[key] != other[key]
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one[key])


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_the_only_sha256_is_the_program_s(render, inventory):
    """An h1 is the hash of a list of hashes: decoded to hex, it would be taken for the digest of a zip."""
    text = render(inventory()).decode()
    assert re.findall(r"\b[0-9a-f]{64}\b", text) == ["ab" * 32]
    assert "h1:" + "T" * 43 + "=" in text


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_the_time_is_the_given_one(render, inventory):
    assert "2023-11-14T22:13:20Z" in render(inventory()).decode()


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
@pytest.mark.parametrize("timestamp", [1 << 60, -(1 << 60)])
def test_a_time_that_no_calendar_has_is_refused(render, inventory, timestamp):
    with pytest.raises(UsageError, match="no date"):
        render(inventory(timestamp=timestamp))


def test_cyclonedx_says_what_is_unknown(inventory):
    document = json.loads(cyclonedx.render(inventory()))
    by_ref = {component["bom-ref"]: component for component in document["components"]}
    yaml = {p["name"]: p["value"] for p in by_ref["module:gopkg.in/yaml.v3"]["properties"]}
    assert yaml["imagekit:license"] == "unknown"
    assert by_ref["stdlib"]["licenses"][0]["license"]["id"] == "BSD-3-Clause"
    complete, unknown = document["compositions"]
    assert complete == {"aggregate": "complete", "assemblies": ["program"], "dependencies": ["program"]}
    assert unknown["aggregate"] == "unknown"
    assert document["metadata"]["lifecycles"] == [{"phase": "build"}]


def test_cyclonedx_with_a_graph_knows_all_needs(inventory):
    document = json.loads(cyclonedx.render(inventory(module_imports=IMPORTS)))
    needs = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert needs["module:gopkg.in/yaml.v3"] == ["stdlib"]


def test_a_program_with_c_inside_is_not_called_complete(inventory, facts):
    document = json.loads(cyclonedx.render(inventory(facts(cgo=CgoUse.PROVEN, libc="glibc"))))
    assert document["compositions"][0]["aggregate"] == "incomplete"


def test_spdx_relates_everything(inventory):
    document = json.loads(spdx.render(inventory()))
    ids = {package["SPDXID"] for package in document["packages"]}
    assert len(ids) == len(document["packages"])
    related = {(r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"]) for r in document["relationships"]}
    root = spdx.spdx_id("program")
    assert ("SPDXRef-DOCUMENT", "DESCRIBES", root) in related
    assert {other for one, verb, other in related if (one, verb) == (root, "DEPENDS_ON")} == ids - {root}
    assert (spdx.spdx_id("stdlib"), "DEPENDS_ON", "NOASSERTION") in related


def test_spdx_ids_of_look_alikes_differ():
    assert spdx.spdx_id("module:example.org/a_b") != spdx.spdx_id("module:example.org/a-b")
