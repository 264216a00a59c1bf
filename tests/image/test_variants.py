"""`variants`: layers of a local OCI layout on top of the same image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from imagekit.errors import ConfigError, IntegrityError, UnreadableError
from imagekit.image.assemble import Assembled
from imagekit.image.recipe import Recipe
from imagekit.oci.blobs import put, read_verified
from imagekit.oci.documents import (
    CONFIG,
    DOCKER_LAYER,
    INDEX,
    MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    PlatformObject,
    RootFS,
    decode_config,
    encode,
)
from imagekit.oci.layers import Entry, Layer, write_layer
from imagekit.oci.store import Layout, Memory
from imagekit.platform import Platform


def write_image(layout: Layout, platform: str, layer: Layer, media_type: str = "") -> Descriptor:
    parsed = Platform.parse(platform)
    config = ImageConfig(os=parsed.os, architecture=parsed.architecture, rootfs=RootFS(diff_ids=(layer.diff_id,)))
    stated = msgspec.structs.replace(layer.descriptor, media_type=media_type or layer.descriptor.media_type)
    manifest = Manifest(config=put(layout, encode(config), CONFIG), layers=(stated,))
    return put(layout, encode(manifest), MANIFEST, platform=PlatformObject.of(parsed))


@pytest.fixture
def shell(tmp_path: Path) -> Layer:
    """`oci:debug` in the project: a shell for two platforms."""
    layout = Layout.create(tmp_path / "debug")
    layer = write_layer(layout, [Entry("bin/sh", mode=0o555, content=b"shell")], mtime=0)
    images = tuple(write_image(layout, platform, layer) for platform in ("linux/amd64", "linux/arm64"))
    index = put(layout, encode(Index(manifests=images)), INDEX)
    named = msgspec.structs.replace(index, annotations={"org.opencontainers.image.ref.name": "shell"})
    layout.set_index(Index(manifests=(named,)))
    return layer


def recipe(add: str = "oci:debug") -> Recipe:
    return msgspec.convert({"id": "app", "build": "app", "variants": {"debug": {"add": add}}}, Recipe)


@pytest.mark.parametrize("add", ["oci:debug", "oci:debug:shell"])
def test_the_variant_is_the_image_and_the_added_layer(shell: Layer, image: Callable[..., Assembled], add: str) -> None:
    store = Memory()
    plain, debug = image(store, recipe(add)), image(store, recipe(add), variant="debug")
    assert (plain.name, debug.name) == ("app", "app-debug")
    for one, other in zip(plain.images, debug.images, strict=True):
        assert other.layers == (*one.layers, shell.descriptor)
        config = decode_config(read_verified(store, other.config))
        assert config.rootfs.diff_ids[-1] == shell.diff_id
        assert config.history is not None
        assert config.history[-1].created_by == "imagekit: debug"
        assert store.open(shell.descriptor.digest).read()


def test_a_docker_layer_is_called_what_oci_calls_it(
    tmp_path: Path, shell: Layer, image: Callable[..., Assembled], program: Callable[..., object]
) -> None:
    layout = Layout(tmp_path / "debug")
    layout.set_index(Index(manifests=(write_image(layout, "linux/amd64", shell, DOCKER_LAYER),)))
    made = image(Memory(), recipe(), [program("linux/amd64")], variant="debug")
    assert made.images[0].layers[-1] == shell.descriptor
    with pytest.raises(ConfigError, match="no image for linux/arm64"):
        image(Memory(), recipe(), variant="debug")


def test_a_platform_that_the_layout_lacks(
    shell: Layer, image: Callable[..., Assembled], program: Callable[..., object]
) -> None:
    with pytest.raises(ConfigError, match="holds no image for linux/arm/v7"):
        image(Memory(), recipe(), [program("linux/arm/v7")], variant="debug")


def test_tampered_layers_are_refused(tmp_path: Path, shell: Layer, image: Callable[..., Assembled]) -> None:
    path = Layout(tmp_path / "debug").blob_path(shell.descriptor.digest)
    content = bytearray(path.read_bytes())
    content[12] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        image(Memory(), recipe(), variant="debug")


def test_what_is_no_layout(image: Callable[..., Assembled]) -> None:
    with pytest.raises(UnreadableError, match="not an OCI layout"):
        image(Memory(), recipe("oci:nowhere"), variant="debug")


def test_a_variant_that_is_not_there(image: Callable[..., Assembled]) -> None:
    with pytest.raises(ConfigError, match="no variant 'other'"):
        image(Memory(), recipe(), variant="other")
