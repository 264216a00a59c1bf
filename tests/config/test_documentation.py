"""Every example of docs/configuration.md is what it says it is."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path

import pytest

from imagekit.audit.policy import PolicyDocument
from imagekit.config import archive_names, images_of, load, targets_of
from imagekit.errors import ConfigError, ImagekitError
from imagekit.loading import load_document
from imagekit.targets import allowlist, ports
from imagekit.targets.templating import TemplateContext

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CONTEXT = TemplateContext(version="1.2.3", commit="0" * 40)

COMPLETE = """version: 1
builds:
  - id: app
    main: ./cmd/app
    dir: .
    platforms: [linux/amd64, linux/arm64, linux/arm/v7, darwin/arm64, windows/amd64]
    levels: {amd64: v1, arm64: v8.0}
    exclude: ["windows/arm64"]
    tags: [netgo]
    flags: [-buildmode=exe]
    gcflags: []
    ldflags: {strip: false, set: {main.version: "{{ version }}"}, flags: []}
    env: {GODEBUG: ""}
    cgo: "off"
    unsafe: {flags: [], env: {}}
    overrides:
      - select: "linux/*"
        tags: {append: [systemd]}
template_env: [CI_COMMIT_TAG]
checks: [gofmt, vet, staticcheck]
policy: scratch
images:
  - id: app
    build: app
    repository: registry.example/team/app
    tags: ["{{ version }}", latest]
    platforms: ["linux/*"]
    base: scratch
    rootfs:
      {ca: auto, tzdata: auto, users: auto, tmp: auto, files: [{from: web/, to: /srv/, mode: "0444", owner: "0:0"}]}
    user: "65532:65532"
    entrypoint: ["/app"]
    env: {}
    workdir: /
    labels: {}
    annotations: {}
    healthcheck: ["/app", "health"]
    variants: {debug: {add: "oci:debug-layer"}}
    compression: {algorithm: gzip, level: default}
archives:
  - {build: app, format: auto, name: "{{ id }}_{{ version }}_{{ os }}_{{ arch }}", files: [README*, LICENSE*]}
sbom: [cyclonedx, spdx]
sign: [{key: cosign.key}, {openpgp: "0xFINGERPRINT"}, {pkcs11: "pkcs11:token=release;object=image"}]
output: dist
"""


@pytest.mark.parametrize("text", [*EXAMPLES, COMPLETE], ids=range(len(EXAMPLES) + 1))
def test_an_example_loads_and_expands(module: Path, text: str) -> None:
    if text.startswith("# policy.yaml"):
        assert load_document(text.encode(), PolicyDocument).value.extends == "scratch"
        return
    path = module / "imagekit.yaml"
    path.write_text(text)
    config = load(path)
    targets = targets_of(config, CONTEXT)
    assert targets
    images_of(config, CONTEXT)
    archive_names(config, targets, CONTEXT)


def test_the_example_of_a_refusal_is_what_imagekit_says(module: Path) -> None:
    path = module / "imagekit.yaml"
    path.write_text("version: 1\nbuilds:\n  - main: ./cmd/app\n    id: app\n    flags: [-toolexec=./wrap]\n")
    with pytest.raises(ConfigError) as caught:
        targets_of(load(path, name="imagekit.yaml"), CONTEXT)
    shown = re.search(r"```text\n(imagekit\.yaml:.*?)…", PAGE, re.DOTALL)
    assert shown
    assert caught.value.message.startswith(shown[1].rstrip())


@pytest.mark.parametrize(
    "names",
    [allowlist.GO_FLAGS, allowlist.LD_FLAGS, allowlist.GC_FLAGS, ports.LEVELS["riscv64"], ports.LEVELS["ppc64"]],
)
def test_the_tables_name_everything(names: tuple[str, ...]) -> None:
    assert all(f"-{name}`" in PAGE or name in PAGE for name in names)
    assert all(f"`{name}`" in PAGE for name in allowlist.ENV_NAMES)


PIECES = (
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "\n",
        "  ",
        "*a",
        "&a ",
        "!x ",
        "'",
        '"',
        "{{ version }}",
        "null",
        "~",
        "true",
        "1",
    ),
    *("|\n", "? ", "<<: ", "#", "---\n", "\t", "%", "\x85", "é", "id", "/", "linux/*", "!", "\x00", "\ufffe"),
)


@pytest.mark.real
def test_a_damaged_configuration_is_refused_and_never_breaks(module: Path) -> None:
    chance, path = random.Random(7), module / "imagekit.yaml"
    for _ in range(400):
        text = COMPLETE
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(text))
            text = text[:place] + chance.choice(PIECES) + text[place + chance.choice((0, 0, 1, 3, 10)) :]
        path.write_text(text)
        with contextlib.suppress(ImagekitError):
            config = load(path)
            archive_names(config, targets_of(config, CONTEXT), CONTEXT)
            images_of(config, CONTEXT)
