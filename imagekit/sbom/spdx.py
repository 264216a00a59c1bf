"""SPDX 2.3 JSON of an inventory (https://spdx.github.io/spdx-spec/v2.3). Computes only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from imagekit import __version__
from imagekit.content import hex_of, readable_json
from imagekit.sbom.identity import moment, uuid_of
from imagekit.sbom.inventory import Component, Inventory, Kind

_DOCUMENT = "SPDXRef-DOCUMENT"
_UNKNOWN = "NOASSERTION"
_PURPOSES = {Kind.PROGRAM: "APPLICATION", Kind.LIBRARY: "LIBRARY", Kind.DATA: "OTHER"}


def render(inventory: Inventory) -> bytes:
    """The document; equal inventories give equal bytes, namespace and time included."""
    document = _document(inventory)
    return readable_json({**document, "documentNamespace": f"urn:uuid:{uuid_of(document)}"})


def _document(inventory: Inventory) -> dict[str, Any]:
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": f"{inventory.filename} for {inventory.platform}",
        "creationInfo": {"created": moment(inventory.timestamp), "creators": [f"Tool: imagekit-{__version__}"]},
        "comment": "made while building; " + ("all" if inventory.complete else "not all") + " components are known",
        "packages": [_program(inventory), *(_package(component) for component in inventory.components)],
        "relationships": list(_relationships(inventory)),
    }


def _program(inventory: Inventory) -> dict[str, Any]:
    source = {"sourceInfo": inventory.source} if inventory.source else {}
    return {**_package(inventory.program), "packageFileName": inventory.filename, **source}


def _package(component: Component) -> dict[str, Any]:
    known = {
        "versionInfo": component.version,
        "checksums": [{"algorithm": "SHA256", "checksumValue": hex_of(component.digest)}] if component.digest else [],
        "externalRefs": list(_names(component)),
        "comment": "\n".join(f"{name}={_one_line(value)}" for name, value in component.properties),
    }
    return {
        "SPDXID": spdx_id(component.ref),
        "name": component.name,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "supplier": _UNKNOWN,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": component.license or _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "primaryPackagePurpose": _PURPOSES[component.kind],
        **{key: value for key, value in known.items() if value},
    }


def _names(component: Component) -> Iterator[dict[str, str]]:
    """Under which names others know it; `h1` is one of them and no checksum: it is the digest of no file."""
    for category, kind, locator in (
        ("PACKAGE-MANAGER", "purl", component.purl),
        ("SECURITY", "cpe23Type", component.cpe),
        ("OTHER", "go-h1", component.h1),
    ):
        if locator:
            yield {"referenceCategory": category, "referenceType": kind, "referenceLocator": locator}


def _one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _relationships(inventory: Inventory) -> Iterator[dict[str, str]]:
    """The document describes the program; each component needs those it is known to need, or nobody knows."""
    yield _related(_DOCUMENT, "DESCRIBES", spdx_id(inventory.program.ref))
    for ref, needs in inventory.edges:
        for needed in needs:
            yield _related(spdx_id(ref), "DEPENDS_ON", spdx_id(needed))
    silent = {component.ref for component in inventory.components} - {ref for ref, _ in inventory.edges}
    for ref in sorted(silent):
        yield _related(spdx_id(ref), "DEPENDS_ON", _UNKNOWN)


def _related(subject: str, verb: str, other: str) -> dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": verb, "relatedSpdxElement": other}


def spdx_id(ref: str) -> str:
    """`SPDXRef-module-example.org-x-1a2b3c4d`: letters, digits, dots and dashes; the end keeps different refs apart."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", ref).strip("-")
    return f"SPDXRef-{words}-{hashlib.sha256(ref.encode()).hexdigest()[:8]}"
