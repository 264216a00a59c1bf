"""CycloneDX 1.6 JSON of an inventory (https://cyclonedx.org/docs/1.6/json). Computes only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imagekit import __version__
from imagekit.content import hex_of, readable_json
from imagekit.sbom.identity import moment, uuid_of
from imagekit.sbom.inventory import Component, Inventory, Kind

_TYPES = {Kind.PROGRAM: "application", Kind.LIBRARY: "library", Kind.DATA: "data"}


def render(inventory: Inventory) -> bytes:
    """The document; equal inventories give equal bytes, serial number and time included."""
    document = _document(inventory)
    return readable_json({**document, "serialNumber": f"urn:uuid:{uuid_of(document)}"})


def _document(inventory: Inventory) -> dict[str, Any]:
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": moment(inventory.timestamp),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "imagekit", "version": __version__}]},
            "component": {**_component(inventory.program), **_origin(inventory)},
            "properties": [
                {"name": "imagekit:filename", "value": inventory.filename},
                {"name": "imagekit:platform", "value": inventory.platform},
            ],
        },
        "components": [_component(component) for component in inventory.components],
        "dependencies": [{"ref": ref, "dependsOn": list(needs)} for ref, needs in inventory.edges],
        "compositions": list(_compositions(inventory)),
    }


def _origin(inventory: Inventory) -> dict[str, Any]:
    return {"externalReferences": [{"type": "vcs", "url": inventory.source}]} if inventory.source else {}


def _component(component: Component) -> dict[str, Any]:
    """Keys that nothing is known for are left out; that a licence is unknown is said."""
    known = {
        "version": component.version,
        "purl": component.purl,
        "cpe": component.cpe,
        "hashes": [{"alg": "SHA-256", "content": hex_of(component.digest)}] if component.digest else [],
        "licenses": [{"license": {"id": component.license, "acknowledgement": "declared"}}]
        if component.license
        else [],
        "properties": [{"name": name, "value": value} for name, value in _properties(component)],
    }
    return {
        "type": _TYPES[component.kind],
        "bom-ref": component.ref,
        "name": component.name,
        **{key: value for key, value in known.items() if value},
    }


def _properties(component: Component) -> Iterator[tuple[str, str]]:
    """`h1` is a property: as a SHA-256 it would be taken for the digest of the module's zip, which it is not."""
    own = dict(component.properties)
    if component.h1:
        own["imagekit:go:h1"] = component.h1
    if not component.license:
        own["imagekit:license"] = "unknown"
    return iter(sorted(own.items()))


def _compositions(inventory: Inventory) -> Iterator[dict[str, Any]]:
    """Whether all components are there, and of which of them all needs are."""
    known = [ref for ref, _ in inventory.edges]
    silent = sorted({component.ref for component in inventory.components} - set(known))
    whole = "complete" if inventory.complete else "incomplete"
    yield {"aggregate": whole, "assemblies": [inventory.program.ref], "dependencies": known}
    if silent:
        yield {"aggregate": "unknown", "dependencies": silent}
