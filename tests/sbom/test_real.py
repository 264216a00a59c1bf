"""The inventory of a real program with a real dependency, in both formats."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from imagekit.binary.reader import read
from imagekit.content import hash_file, hex_of
from imagekit.golang.compile import compile_target
from imagekit.golang.packages import list_packages
from imagekit.golang.settings import read_settings
from imagekit.golang.toolchain import find
from imagekit.platform import Platform
from imagekit.sbom import cyclonedx, spdx
from imagekit.sbom.edges import module_imports
from imagekit.sbom.inventory import of_program
from imagekit.source import gosum
from imagekit.targets.target import Target

pytestmark = pytest.mark.real
FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "refused" / "purego"
PUREGO = "github.com/ebitengine/purego"


def test_a_real_program_with_a_dependency(tmp_path: Path):
    folder = tmp_path / "module"
    shutil.copytree(FIXTURE, folder)
    subprocess.run(["go", "mod", "download"], cwd=folder, check=True, env={**os.environ, "GOFLAGS": ""})
    toolchain = find()
    settings = read_settings(toolchain, folder)
    target = Target(build="app", platform=Platform("linux", "arm64"), level="v8.0", main=".")
    artifact = compile_target(settings, target, cache_dir=tmp_path / "cache")
    packages = list_packages(settings, target, cache_dir=tmp_path / "cache")
    homes = {path: package.module.path for path, package in packages.by_path.items() if package.module}
    sums = gosum.read(folder / "go.sum").sums
    inventory = of_program(
        read(artifact.path)[0],
        name="app",
        filename=target.filename,
        digest=artifact.digest,
        timestamp=1_700_000_000,
        target=target,
        sums=sums,
        module_imports=module_imports(packages.graph(), homes),
    )
    document = json.loads(cyclonedx.render(inventory))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    assert {c["name"] for c in document["components"]} == {PUREGO, "stdlib"}
    needs = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    assert needs["program"] == [f"module:{PUREGO}", "stdlib"]
    assert needs[f"module:{PUREGO}"] == ["stdlib"]
    (version,) = (v for module, v in sums if module == PUREGO and not v.endswith("/go.mod"))
    assert sums[PUREGO, version] in json.dumps(document)
    digest, _ = hash_file(artifact.path)
    packages_of_spdx = json.loads(spdx.render(inventory))["packages"]
    assert packages_of_spdx[0]["checksums"] == [{"algorithm": "SHA256", "checksumValue": hex_of(digest)}]
