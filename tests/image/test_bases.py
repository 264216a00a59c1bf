"""What is taken from a base, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from imagekit.audit.needs import Need, Piece
from imagekit.errors import ConfigError, UnreadableError
from imagekit.image.bases import Base, Standing, image_for, inherited, layers_of, without_provided
from imagekit.image.layering import program_stratum, strata
from imagekit.image.recipe import FileRule, Recipe, RootFilesystem, mistakes
from imagekit.oci.documents import Healthcheck, RuntimeConfig
from imagekit.oci.layers import Entry
from imagekit.oci.store import Layout
from imagekit.platform import Platform

RECIPE = Recipe(id="app", build="app", base="oci:base")


@pytest.fixture
def base(tmp_path, image) -> Base:
    """An image of the tests' own as a base with users and a folder of somebody's."""
    layout = Layout.create(tmp_path / "layout", durable=False)
    made = image(layout, Recipe(id="base", build="app"))
    found = image_for(layout, made.index, Platform.parse("linux/amd64"), "oci:base")
    standing = Standing(
        {
            "etc/passwd": Entry("etc/passwd"),
            "srv": Entry("srv", "dir", 0o750, 7, 8),
            "lib": Entry("lib", "link", target="usr/lib"),
            "conf": Entry("conf"),
            "app": Entry("app", "dir", 0o755),
        }
    )
    return Base("oci:base", "imagekit-base", found, layers_of(found, "oci:base"), standing)


def test_an_auto_piece_that_the_base_has_is_left_out(base: Base) -> None:
    decided = [Need(Piece.USERS, True, "os/user"), Need(Piece.CA, True, "crypto/x509")]
    users, certificates = without_provided(RECIPE, decided, base)
    assert (users.needed, users.why) == (False, "oci:base has /etc/passwd")
    assert certificates.needed


def test_a_piece_that_was_asked_for_lies_over_that_of_the_base(base: Base) -> None:
    asked = msgspec.structs.replace(RECIPE, rootfs=RootFilesystem(users=True))
    [users] = without_provided(asked, [Need(Piece.USERS, True, "rootfs.users is set")], base)
    assert users.needed


def test_a_folder_of_the_base_keeps_its_mode_and_owner(base: Base, tmp_path) -> None:
    (tmp_path / "page").write_text("x")
    recipe = msgspec.structs.replace(RECIPE, rootfs=RootFilesystem(files=(FileRule("page", "/srv/"),)))
    [stratum] = strata(recipe, (), tmp_path, base.standing.entries)
    [folder] = [entry for entry in stratum.entries if entry.path == "srv"]
    assert (folder.mode, folder.uid, folder.gid) == (0o750, 7, 8)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("/lib/page", "/lib is a link to usr/lib in one layer and a folder in the layer of page to /lib/page"),
        ("/conf/page", "/conf is a file in one layer and a folder"),
        ("/srv", "/srv is a folder in one layer and a file"),
    ],
)
def test_nothing_of_the_base_is_replaced_by_another_kind(base: Base, tmp_path, to: str, said: str) -> None:
    """Engines would take the base's libraries away with its `/lib -> usr/lib`."""
    (tmp_path / "page").write_text("x")
    recipe = msgspec.structs.replace(RECIPE, rootfs=RootFilesystem(files=(FileRule("page", to),)))
    with pytest.raises(ConfigError, match=said):
        strata(recipe, (), tmp_path, base.standing.entries)


def test_a_file_that_is_named_like_a_deletion_is_refused(base: Base, tmp_path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/.wh.page").write_text("x")
    recipe = msgspec.structs.replace(RECIPE, rootfs=RootFilesystem(files=(FileRule("web/", "/srv/"),)))
    with pytest.raises(ConfigError, match=r"/srv/\.wh\.page would delete"):
        strata(recipe, (), tmp_path, base.standing.entries)


def test_a_file_lies_over_a_file_or_link_of_the_base(base: Base, tmp_path) -> None:
    (tmp_path / "page").write_text("x")
    rules = (FileRule("page", "/lib"), FileRule("page", "/conf"))
    recipe = msgspec.structs.replace(RECIPE, rootfs=RootFilesystem(files=rules))
    paths = [entry.path for stratum in strata(recipe, (), tmp_path, base.standing.entries) for entry in stratum.entries]
    assert paths == ["lib", "conf"]


def test_the_program_takes_no_folder_of_the_base_away(base: Base, program) -> None:
    with pytest.raises(ConfigError, match="oci:base has a folder /app, where the program belongs"):
        program_stratum(RECIPE, program("linux/amd64"), (), base.standing.entries)


def test_what_a_dockerfile_would_inherit_is_inherited_and_no_command() -> None:
    below = RuntimeConfig(
        env=("PATH=/bin", "A=1"),
        cmd=("/bin/sh",),
        labels={"a": "base", "b": "base"},
        user="root",
        exposed_ports={"80/tcp": {}},
        healthcheck=Healthcheck(test=("CMD", "/up")),
    )
    own = RuntimeConfig(env=("A=2",), labels={"b": "own"}, user="65532:65532", entrypoint=("/app",))
    made = inherited(below, own)
    assert made.env == ("PATH=/bin", "A=2")
    assert made.labels == {"a": "base", "b": "own"}
    assert (made.user, made.entrypoint, made.cmd) == ("65532:65532", ("/app",), None)
    assert (made.exposed_ports, made.healthcheck) == ({"80/tcp": {}}, below.healthcheck)
    assert inherited(None, own) is own


def test_a_base_without_the_platform_says_what_it_offers(tmp_path, image) -> None:
    layout = Layout.create(tmp_path / "layout", durable=False)
    made = image(layout, Recipe(id="base", build="app"))
    with pytest.raises(ConfigError, match="holds no image for linux/riscv64; it offers linux/amd64, linux/arm64"):
        image_for(layout, made.index, Platform.parse("linux/riscv64"), "oci:base")


def test_layers_and_diff_ids_must_pair(base: Base) -> None:
    manifest = msgspec.structs.replace(base.image.manifest, layers=base.image.manifest.layers[1:])
    with pytest.raises(UnreadableError, match="diff ids"):
        layers_of(msgspec.structs.replace(base.image, manifest=manifest), "oci:base")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("alpine", "names no registry"),
        ("https://registry.example/base", "is not an image reference"),
        ("registry.example/Base:1", "is not an image reference"),
        ("oci:", "is not an image reference"),
    ],
)
def test_bases_that_cannot_be(written: str, words: str) -> None:
    [mistake] = mistakes(msgspec.structs.replace(RECIPE, base=written))
    assert words in mistake.message


@pytest.mark.parametrize(
    "written", ["scratch", "oci:base", "oci:base:1", "docker.io/alpine:3", "localhost:5000/a@sha256:" + "a" * 64]
)
def test_bases_that_can_be(written: str) -> None:
    assert not list(mistakes(msgspec.structs.replace(RECIPE, base=written)))
