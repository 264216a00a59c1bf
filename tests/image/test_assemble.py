"""An image of several platforms: documents, layers, order, and that nothing but the input decides the digests."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagekit.audit.needs import Need, Piece, needs
from imagekit.content import digest_of, hash_file
from imagekit.errors import ConfigError, IntegrityError
from imagekit.image.assemble import Assembled, PlatformImage
from imagekit.image.kept import LayerCache
from imagekit.image.recipe import Recipe
from imagekit.image.shipped import Program
from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.documents import ImageConfig, Index, Manifest, decode_config, decode_index, decode_manifest
from imagekit.oci.store import Layout, Memory

MakeProgram = Callable[..., Program]
MakeImage = Callable[..., Assembled]
NOTHING = tuple(Need(piece, False, "not linked") for piece in Piece)


def recipe(**fields: Any) -> Recipe:
    return msgspec.convert({"id": "app", "build": "app", **fields}, Recipe)


def index_of(store: BlobReader, image: Assembled) -> Index:
    return decode_index(read_verified(store, image.index))


def manifest_of(store: BlobReader, one: PlatformImage) -> Manifest:
    return decode_manifest(read_verified(store, one.manifest))


def config_of(store: BlobReader, one: PlatformImage) -> ImageConfig:
    return decode_config(read_verified(store, one.config))


def tree_of(store: BlobReader, one: PlatformImage) -> dict[str, tarfile.TarInfo]:
    """What a container sees: members by path, later layers over earlier ones."""
    found: dict[str, tarfile.TarInfo] = {}
    for layer in one.layers:
        with tarfile.open(fileobj=io.BytesIO(store.open(layer.digest).read())) as archive:
            found.update({member.name: member for member in archive})
    return found


def test_every_document_says_the_same_of_the_platform(program: MakeProgram, image: MakeImage) -> None:
    store = Memory()
    programs = [program(p) for p in ("linux/amd64", "linux/arm64", "linux/arm/v6", "freebsd/amd64")]
    programs.append(program("linux/amd64/v3", level="v3"))
    made = image(store, recipe(), programs)
    stated = [entry.platform.plain if entry.platform else None for entry in index_of(store, made).manifests]
    assert list(map(str, stated)) == [
        "linux/amd64",
        "linux/arm64",
        "linux/arm/v6",
        "freebsd/amd64",
        "linux/amd64/v3",
    ]
    assert stated == [config_of(store, one).platform for one in made.images] == [one.platform for one in made.images]


def test_the_configuration(image: MakeImage) -> None:
    store = Memory()
    made = image(
        store,
        recipe(
            env={"B": "2", "A": "1"}, workdir="/srv", healthcheck=["/app", "health"], labels={"team": "x"}, user="1000"
        ),
    )
    raw = json.loads(read_verified(store, made.images[0].config))
    assert raw["created"] == "2023-11-14T22:13:20Z"
    assert raw["config"] == {
        "User": "1000",
        "Env": ["B=2", "A=1"],
        "Entrypoint": ["/app"],
        "WorkingDir": "/srv",
        "Labels": {
            "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
            "org.opencontainers.image.revision": "c0ffee",
            "org.opencontainers.image.source": "https://git.example/team/app",
            "org.opencontainers.image.title": "app",
            "org.opencontainers.image.version": "1.4.0",
            "team": "x",
        },
        "Healthcheck": {"Test": ["CMD", "/app", "health"]},
    }


def test_one_line_of_history_and_one_diff_id_a_layer(image: MakeImage) -> None:
    store = Memory()
    made = image(store, recipe())
    for one in made.images:
        config, manifest = config_of(store, one), manifest_of(store, one)
        assert config.history is not None
        assert [line.created_by for line in config.history] == [
            "imagekit: ca",
            "imagekit: tzdata",
            "imagekit: users",
            "imagekit: nsswitch",
            "imagekit: tmp",
            "imagekit: program",
        ]
        assert len(config.rootfs.diff_ids) == len(manifest.layers) == len(config.history)
        for layer, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True):
            with subprocess.Popen(["gzip", "-dc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as gzip:
                plain, _ = gzip.communicate(store.open(layer.digest).read())
            assert digest_of(plain) == diff_id


def test_annotations_stand_on_the_index_and_on_every_manifest(image: MakeImage) -> None:
    store = Memory()
    made = image(store, recipe(annotations={"team": "x"}))
    index = index_of(store, made)
    assert index.annotations["org.opencontainers.image.version"] == "1.4.0"
    assert index.annotations["team"] == "x"
    assert "org.opencontainers.image.base.name" not in index.annotations
    assert all(manifest_of(store, one).annotations == index.annotations for one in made.images)


def test_constant_layers_are_the_same_for_every_image_and_architecture(program: MakeProgram, image: MakeImage) -> None:
    store = Memory()
    first = image(store, recipe())
    second = image(store, recipe(id="other", user="0:0", env={"A": "1"}), [program("linux/arm/v7")], created=5)
    constant = {one.layers[:-1] for one in (*first.images, *second.images)}
    assert len(constant) == 1
    assert len({one.layers[-1].digest for one in (*first.images, *second.images)}) == 3


def test_the_tree_a_container_sees(tmp_path: Path, image: MakeImage) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/index.html").write_text("<html>")
    (tmp_path / "seed").write_text("seed")
    files = [
        {"from": "web/", "to": "/srv/", "mode": "0640", "owner": "1000:1000"},
        {"from": "seed", "to": "/srv/seed"},
        {"from": "seed", "to": "/tmp/seed"},
    ]
    store = Memory()
    made = image(store, recipe(rootfs={"files": files}))
    for one in made.images:
        tree = tree_of(store, one)
        assert (tree["app"].mode, tree["app"].uid, tree["app"].gid) == (0o555, 0, 0)
        assert (tree["srv/index.html"].mode, tree["srv/index.html"].uid) == (0o640, 1000)
        assert (tree["srv"].mode, tree["srv"].uid) == (0o755, 1000), "a later layer must not take the folder back"
        assert tree["srv/seed"].uid == 0
        assert tree["tmp"].mode == 0o1777, "a file in /tmp must not close /tmp"
        assert {member.mtime for member in tree.values()} == {0}
    assert len(made.images[0].layers) == len(Piece) + 3 + 1
    assert {entry.path for entry in made.tree} == set(tree_of(store, made.images[0])) - {"app"}


def test_only_needed_pieces_and_why(program: MakeProgram, image: MakeImage) -> None:
    store = Memory()
    made = image(
        store,
        recipe(rootfs={"users": True}),
        [program("linux/amd64", found=NOTHING), program("linux/arm64", found=needs(None))],
    )
    lean, full = made.images
    assert set(tree_of(store, lean)) == {"app", "etc", "etc/passwd", "etc/group", "etc/nsswitch.conf"}
    assert len(full.layers) == len(Piece) + 1
    assert {need.piece: need.needed for need in lean.rootfs} == {
        Piece.CA: False,
        Piece.TZDATA: False,
        Piece.USERS: True,
        Piece.NSSWITCH: True,
        Piece.TMP: False,
    }
    assert all(need.why for need in (*lean.rootfs, *full.rootfs))
    assert "usr/share/zoneinfo/UTC" in {entry.path for entry in made.tree}, "the tar serves every platform"


def test_nothing_at_all_but_the_program(program: MakeProgram, image: MakeImage) -> None:
    store = Memory()
    made = image(store, recipe(), [program(found=NOTHING)])
    assert set(tree_of(store, made.images[0])) == {"app"}
    assert made.tree == ()


@pytest.mark.parametrize("algorithm", ["gzip", "zstd", "none"])
def test_compression_changes_layers_but_not_their_content(image: MakeImage, algorithm: str) -> None:
    store = Memory()
    plain = image(store, recipe()).images[0]
    packed = image(store, recipe(compression={"algorithm": algorithm})).images[0]
    assert config_of(store, plain).rootfs == config_of(store, packed).rootfs
    assert packed.layers[0].media_type.endswith({"gzip": "+gzip", "zstd": "+zstd", "none": ".tar"}[algorithm])


@pytest.mark.parametrize("algorithm", ["gzip", "zstd"])
def test_the_number_of_workers_does_not_matter(
    tmp_path: Path, program: MakeProgram, image: MakeImage, algorithm: str
) -> None:
    """Seven platforms, each program two pieces of the compressor's feed, packed anew by every count."""
    names = ("amd64", "arm64", "arm/v6", "arm/v7", "386", "s390x", "riscv64")
    programs = [_grown(program(f"linux/{name}")) for name in names]
    packing = recipe(compression={"algorithm": algorithm})
    one, *others = (
        image(Memory(), packing, programs, kept=LayerCache(tmp_path / f"cache-{jobs}"), jobs=jobs) for jobs in (1, 2, 7)
    )
    assert others == [one, one]


def _grown(small: Program) -> Program:
    """The program with 1.5 MB more that only partly compress, other ones for each platform."""
    chance = random.Random(str(small.requested))
    with small.path.open("ab") as stream:
        stream.write(chance.randbytes(500_000) + bytes(chance.choices(range(16), k=1_000_000)))
    digest, size = hash_file(small.path)
    return msgspec.structs.replace(small, digest=digest, size=size)


def test_a_program_that_is_not_what_was_built(program: MakeProgram, image: MakeImage) -> None:
    tampered = program()
    content = bytearray(tampered.path.read_bytes())
    content[100] ^= 1
    tampered.path.write_bytes(content)
    with pytest.raises(IntegrityError):
        image(Memory(), recipe(), [tampered])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        pytest.param({"base": "alpine:3"}, "names no registry", id="base"),
        pytest.param({"rootfs": {"files": [{"from": "x", "to": "/app"}]}}, "where the program belongs", id="program"),
        pytest.param({"rootfs": {"files": [{"from": "x", "to": "/etc/ssl"}]}}, "in the layer of", id="folder"),
        pytest.param({"rootfs": {"files": [{"from": "x", "to": "/tmp"}]}}, "in the layer of", id="tmp"),
        pytest.param({"compression": {"level": 9}}, "compression level 9", id="level that differs from CPU to CPU"),
    ],
)
def test_what_cannot_be_assembled(tmp_path: Path, image: MakeImage, fields: dict[str, Any], says: str) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ConfigError, match=says):
        image(Memory(), recipe(**fields))


def test_a_file_may_replace_a_piece(tmp_path: Path, image: MakeImage) -> None:
    (tmp_path / "passwd").write_text("me:x:1:1::/:\n")
    made = image(Memory(), recipe(rootfs={"files": [{"from": "passwd", "to": "/etc/passwd"}]}))
    (entry,) = [entry for entry in made.tree if entry.path == "etc/passwd"]
    assert entry.content == (tmp_path / "passwd").resolve()


def test_umask_folder_order_of_time_and_cache_do_not_matter(
    tmp_path: Path, program: MakeProgram, image: MakeImage
) -> None:
    programs = [program("linux/amd64"), program("linux/arm64")]
    seen = set()
    for umask, where, cache in ((0o022, "one", "a"), (0o077, "two/deep", "b"), (0o000, "three", "a")):
        before = os.umask(umask)
        try:
            root = tmp_path / where
            root.mkdir(parents=True)
            (root / "data").write_text("data")
            moved = [
                msgspec.structs.replace(one, path=Path(shutil.copy(one.path, root / f"{i}")))
                for i, one in enumerate(programs)
            ]
            store = Layout.create(root / "oci", durable=False)
            files = [{"from": "data", "to": "/data"}]
            kept = LayerCache(tmp_path / cache)
            made = image(store, recipe(rootfs={"files": files}), moved, root=root, kept=kept)
            blobs = frozenset((path.name, path.stat().st_mode) for path in (root / "oci/blobs/sha256").iterdir())
            seen.add((made.index.digest, blobs))
        finally:
            os.umask(before)
    assert len(seen) == 1


def test_stock_tools_read_it(tmp_path: Path, image: MakeImage) -> None:
    """skopeo reads every platform, umoci unpacks the tree: both stock, both strict."""
    store = Layout.create(tmp_path / "oci", durable=False)
    made = image(store, recipe(healthcheck=["/app"]))
    named = msgspec.structs.replace(made.index, annotations={"org.opencontainers.image.ref.name": "app"})
    store.set_index(Index(manifests=(named,)))
    for one in made.images:
        shown = subprocess.run(
            ["skopeo", f"--override-arch={one.platform.architecture}", "inspect", f"oci:{tmp_path}/oci:app"],
            capture_output=True,
            check=True,
        )
        assert json.loads(shown.stdout)["Architecture"] == one.platform.architecture
        assert json.loads(shown.stdout)["Layers"] == [layer.digest for layer in one.layers]
    store.set_index(Index(manifests=(msgspec.structs.replace(made.images[0].manifest, annotations=named.annotations),)))
    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/oci:app", tmp_path / "bundle"],
        capture_output=True,
        check=True,
    )
    root = tmp_path / "bundle/rootfs"
    assert (root / "app").read_bytes() == made.images[0].program.path.read_bytes()
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    unpacked = {path.relative_to(root).as_posix() for path in root.rglob("*")}
    assert unpacked == set(tree_of(store, made.images[0]))
