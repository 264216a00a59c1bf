"""imagekit.yaml found, read, completed and checked as a whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.config import Config, default_config, load, read, targets_of
from imagekit.errors import ConfigError, UsageError
from imagekit.image.recipe import Recipe
from imagekit.targets.templating import TemplateContext

Configured = Callable[[str], Config]
Told = Callable[[str], str]


def ids(config: Config) -> list[str]:
    return [target.id for target in targets_of(config, TemplateContext())]


def test_without_a_configuration_every_program_is_built_and_gets_an_image(module: Path) -> None:
    config = read(None, module)
    assert ids(config) == ["app:linux/amd64", "app:linux/arm64", "tool:linux/amd64", "tool:linux/arm64"]
    assert [build.main for build in config.builds] == ["./cmd/app", "./cmd/tool"]
    assert config.images == (Recipe(id="app", build="app"), Recipe(id="tool", build="tool"))
    assert (config.policy, config.output, config.origin("policy")) == ("scratch", "dist", "default")


def test_version_alone_is_the_same_as_no_configuration(module: Path, configured: Configured) -> None:
    before, config = read(None, module), configured("version: 1\n")
    assert (config.builds, config.images, config.archives) == (before.builds, before.images, before.archives)


def test_named_packages_are_the_builds_where_none_are_configured(module: Path) -> None:
    assert ids(read(None, module, ["./cmd/tool"])) == ["tool:linux/amd64", "tool:linux/arm64"]
    assert ids(read(None, module, ["example.org/x/cmd/y@v1.2.3"])) == ["y:linux/amd64", "y:linux/arm64"]
    assert ids(read(None, module, ["."]))[0] == "mod:linux/amd64"


@pytest.mark.parametrize(
    ("packages", "names"),
    [
        (["./cmd/app", "./tools/app"], ["cmd-app", "tools-app"]),
        (["./cmd/app", "./tools/x"], ["app", "x"]),
        (["example.org/a/app@v1", "example.org/b/app@v1"], ["example.org-a-app", "example.org-b-app"]),
        (["./cmd/app v2\n"], ["app-v2"]),
    ],
)
def test_programs_of_one_name_are_told_apart(packages: list[str], names: list[str], tmp_path: Path) -> None:
    assert [build.name for build in default_config(packages, tmp_path).builds] == names


def test_a_root_program_is_called_as_go_calls_it(module: Path, tmp_path: Path, configured: Configured) -> None:
    assert configured("version: 1\nbuilds: [{main: .}]\n").builds[0].name == "mod"
    assert configured("version: 1\nbuilds: [{}]\n").builds[0].name == "mod"
    assert configured("version: 1\nbuilds: [{dir: cmd/tool}]\n").builds[0].name == "tool"


def test_a_folder_without_programs_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no main package in") as caught:
        read(None, tmp_path)
    assert "imagekit init" in caught.value.hint


CHOICE = """version: 1
builds:
  - {main: ./cmd/app}
  - id: extra
    main: cmd/tool/
    flags: [-buildmode=pie]
images:
  - {id: one, build: app}
  - {id: two, build: extra}
archives: [{build: extra}, {build: app}]
"""


def test_named_packages_choose_among_the_configured_builds_and_keep_their_lines(module: Path) -> None:
    (module / "imagekit.yaml").write_text(CHOICE)
    config = read(None, module, ["./cmd/tool"])
    assert [build.name for build in config.builds] == ["extra"]
    assert [image.id for image in config.images] == ["two"]
    assert [spec.build for spec in config.archives] == ["extra"]
    (target, _) = targets_of(config, TemplateContext())
    assert target.origin("flags/-buildmode=pie") == "imagekit.yaml:6"
    assert config.origin("images", 0, "id") == "imagekit.yaml:9"


def test_a_package_that_no_build_has_is_a_usage_error(module: Path) -> None:
    (module / "imagekit.yaml").write_text(CHOICE)
    with pytest.raises(UsageError, match="no build has the main package 'cmd/ap'") as caught:
        read(None, module, ["./cmd/ap"])
    assert "did you mean './cmd/app'?" in caught.value.hint


def test_a_named_file_is_called_by_its_path(module: Path) -> None:
    path = module / "other.yaml"
    path.write_text("version: 1\nnope: 1\n")
    with pytest.raises(ConfigError) as caught:
        read(path, Path("/"))
    assert caught.value.message.startswith(f"{path}:2:1: unknown key 'nope'")
    with pytest.raises(ConfigError, match="No such file"):
        read(module / "missing.yaml", module)


def test_without_images_each_build_with_a_linux_platform_gets_one(configured: Configured) -> None:
    text = "version: 1\nbuilds: [{main: ./cmd/app}, {main: ./cmd/tool, platforms: [darwin/arm64]}]\n"
    assert [image.id for image in configured(text).images] == ["app"]
    assert configured(text + "images: []\n").images == ()


APP = "version: 1\nbuilds: [{main: ./cmd/app}]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (APP + "images: [{id: a, build: ap}]", "imagekit.yaml:3:25: there is no build 'ap'"),
        (APP + "archives: [{build: ap}]", "imagekit.yaml:3:20: there is no build 'ap'"),
        (
            APP + "images: [{id: a, build: app}, {id: a, build: app}]",
            "imagekit.yaml:3:36: an image is called 'a' already",
        ),
        (
            APP + "images: [{id: a, build: app, variants: {debug: {add: 'oci:x'}}}, {id: a-debug, build: app}]",
            "an image is called 'a-debug' already",
        ),
        (
            APP + "images: [{id: a, build: app, platforms: ['windows/*']}]",
            "imagekit.yaml:3:42: a windows image needs a base",
        ),
        (
            APP + "images: [{id: a, build: app, platforms: ['a/b/c/d']}]",
            "imagekit.yaml:3:42: 'a/b/c/d' is not a selector",
        ),
        (APP + "images: [{id: a, build: app, user: root}]", "imagekit.yaml:3:36: 'root' is not numeric"),
        (
            APP + "images: [{id: a, build: app, rootfs: {files: [{from: ../x, to: /}]}}]",
            "imagekit.yaml:3:54: '../x' is not inside the project",
        ),
        (APP + "images: [{id: a, build: app, base: alpine}]", "imagekit.yaml:3:36: 'alpine'"),
        (APP + "images: [{id: a}]", "imagekit.yaml:3:10: the key 'build' is missing"),
        (APP + "images: [{id: a, build: app, entrypoint: /app}]", "imagekit.yaml:3:42: '/app' is not a list"),
        (APP + "archives: [{build: app, format: rar}]", "imagekit.yaml:3:33: 'rar' is unknown"),
        (APP + "archives: [{build: app, files: [/etc/passwd]}]", "imagekit.yaml:3:33: '/etc/passwd' is not inside"),
        (APP + "checks: [govet]", "imagekit.yaml:3:10: 'govet' is not known here"),
        (APP + "sbom: [cyclondx]", "imagekit.yaml:3:8: 'cyclondx' is not known here"),
        (APP + "sign: [{}]", "imagekit.yaml:3:8: an entry of sign names no key"),
        (APP + "sign: [{key: a, openpgp: b}]", "imagekit.yaml:3:8: an entry of sign names two kinds of key"),
        (APP + "sign: [{gpg: a}]", "imagekit.yaml:3:9: unknown key 'gpg'"),
        (APP + "template_env: [A-B]", "imagekit.yaml:3:16: 'A-B' is not the name of a variable"),
        (APP + "output: ''", "imagekit.yaml:3:9: '' is not a folder"),
        (APP + "policy:", "imagekit.yaml:3:8: the policy has no name"),
        (APP + "polcy: scratch", "imagekit.yaml:3:1: unknown key 'polcy'"),
        ("builds: [{main: ./cmd/app}]", "imagekit.yaml:1:1: the key 'version' is missing"),
        ("version: 2", "imagekit.yaml:1:10: 2 is not known here"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_its_line(told: Told, text: str, message: str) -> None:
    assert message in told(text)


def test_the_nearest_name_is_told(told: Told) -> None:
    assert "did you mean 'app'?" in told(APP + "images: [{id: a, build: ap}]")
    assert "did you mean 'cyclonedx'?" in told(APP + "sbom: [cyclondx]")


NORMAL = """version: 1
builds:
  - id: app
    main: ./cmd/app
    platforms: [linux/amd64, linux/arm64, linux/arm/v7, darwin/arm64, windows/amd64]
    tags: [netgo]
    ldflags: {strip: true, set: {main.version: "{{ version }}"}}
    overrides: [{select: "linux/*", tags: {append: [systemd]}}]
images: [{id: app, build: app, repository: registry.example/team/app, tags: ["{{ version }}", latest]}]
archives: [{build: app}]
sbom: [cyclonedx, spdx]
"""


def test_loading_costs_little_and_imports_nothing_that_it_does_not_need(module: Path) -> None:
    """The figure of docs and issue is 10 ms with yaml's import; the bound here leaves room for a busy machine."""
    path = module / "imagekit.yaml"
    path.write_text(NORMAL)
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom imagekit.config import load\nbegan = time.process_time()\n"
        f"load(Path({str(path)!r}))\nprint(time.process_time() - began)\n"
        "print({'jinja2', 'jsonschema', 'rich', 'lief', 'docker', 'urllib3', 'cryptography'} & set(sys.modules))\n"
    )
    answers = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split("\n")
        for _ in range(3)
    ]
    assert all(imported == "set()" for _, imported, *_ in answers)
    assert min(float(seconds) for seconds, *_ in answers) < 0.1


def test_a_file_is_loaded_relative_to_its_folder(module: Path) -> None:
    path = module / "cmd" / "imagekit.yaml"
    path.write_text("version: 1\n")
    config = load(path)
    assert config.root == module / "cmd"
    assert [build.main for build in config.builds] == ["./app", "./tool"]
