from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from imagekit.audit.subjects.layers import Content, Place, read_layer
from imagekit.audit.subjects.merging import merged, started
from imagekit.audit.subjects.program import Wishes
from imagekit.binary.facts import Linkage
from imagekit.content import Digest, digest_of
from imagekit.errors import ImagekitError, IntegrityError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.layers import Entry, write_layer
from imagekit.oci.store import Memory


def layer_of(content: bytes, media_type: str = doc.LAYER_GZIP) -> tuple[Memory, doc.Descriptor]:
    store = Memory()
    return store, put(store, content, media_type)


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for entry, content in entries:
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A static Go program, and a dynamic program of this system."""
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    (folder / "go.mod").write_text("module example.org/hello\n\ngo 1.21\n")
    env = {**os.environ, "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOFLAGS": ""}
    subprocess.run(["go", "build", "-o", "app", "."], cwd=folder, env=env, check=True)
    return {"linux/amd64": folder / "app", "dynamic": Path("/bin/true").resolve()}


@pytest.mark.real
def test_programs_are_found_by_their_bytes_not_their_mode(programs: dict[str, Path], tmp_path: Path) -> None:
    store = Memory()
    entries = [
        Entry("app", mode=0o755, content=programs["linux/amd64"]),
        Entry("lib/data.bin", mode=0o644, content=programs["dynamic"]),
        Entry("etc/MZ", content=b"MZ"),
        Entry("etc/empty", content=b""),
    ]
    layer = write_layer(store, entries, mtime=0)
    content = read_layer(store, layer.descriptor, layer.diff_id, tmp_path, Wishes())
    assert [program.path for program in content.programs] == ["/app", "/lib/data.bin"]
    assert content.programs[0].program.digest == digest_of(programs["linux/amd64"].read_bytes())
    assert content.programs[0].program.slices[0].facts.linkage is Linkage.STATIC
    assert content.programs[1].program.slices[0].facts.linkage is not Linkage.STATIC
    assert content.other == 2
    assert list(tmp_path.iterdir()) == []


def test_every_kind_of_entry(tmp_path: Path) -> None:
    raw = packed(
        (info("./etc", tarfile.DIRTYPE), b""),
        (info("/etc/passwd"), b"root"),
        (info("hard", tarfile.LNKTYPE, "etc/passwd"), b""),
        (info("soft", tarfile.SYMTYPE, "etc/../etc/passwd"), b""),
        (info("dev/null", tarfile.CHRTYPE), b""),
        (info("../../outside"), b"stays inside"),
    )
    store, layer = layer_of(raw, doc.LAYER_TAR)
    places = read_layer(store, layer, digest_of(raw), tmp_path, Wishes()).places
    assert {path: Place(place.kind, place.target) for path, place in places.items()} == {
        "/etc": Place(b"5"),
        "/etc/passwd": Place(b"0"),
        "/hard": Place(b"1", "/etc/passwd"),
        "/soft": Place(b"2", "etc/../etc/passwd"),
        "/dev/null": Place(b"3"),
        "/outside": Place(b"0"),
    }


RAW = packed((info("etc/passwd"), b"root"))


@pytest.mark.parametrize(
    ("content", "media_type", "diff_id", "said"),
    [
        (gzip.compress(RAW), doc.LAYER_GZIP, digest_of(b"other"), "does not unpack to"),
        (gzip.compress(RAW), doc.LAYER_TAR, digest_of(RAW), "its bytes are compressed as gzip"),
        (RAW, doc.LAYER_GZIP, digest_of(RAW), "its bytes are compressed as none"),
        (RAW, doc.LAYER_ZSTD, digest_of(RAW), "its bytes are compressed as none"),
        (gzip.compress(RAW)[:-9], doc.LAYER_GZIP, digest_of(RAW), "cannot be decompressed"),
        (gzip.compress(RAW)[:40] + b"\xff" * 99, doc.LAYER_GZIP, digest_of(RAW), "cannot be decompressed"),
        (b"\x28\xb5\x2f\xfdxxxxxxxx", doc.LAYER_ZSTD, digest_of(RAW), "cannot be decompressed"),
        (gzip.compress(b"not a tar" * 100), doc.LAYER_GZIP, digest_of(b""), "not a tar archive"),
        (gzip.compress(RAW[:700]), doc.LAYER_GZIP, digest_of(RAW[:700]), "cut"),
        (b"", doc.LAYER_TAR, digest_of(b""), "cut"),
    ],
    ids=["diff id", "gzip as tar", "tar as gzip", "tar as zstd", "cut gzip", "bad gzip", "bad zstd", "text", "cut tar",
         "empty"],
)  # fmt: skip
def test_layers_that_are_not_what_they_say(
    tmp_path: Path, content: bytes, media_type: str, diff_id: Digest, said: str
) -> None:
    store, layer = layer_of(content, media_type)
    with pytest.raises(ImagekitError, match=said):
        read_layer(store, layer, diff_id, tmp_path, Wishes())
    assert list(tmp_path.iterdir()) == []


def test_docker_layers_are_gzip(tmp_path: Path) -> None:
    store, layer = layer_of(gzip.compress(RAW), doc.DOCKER_LAYER)
    assert list(read_layer(store, layer, digest_of(RAW), tmp_path, Wishes()).places) == ["/etc/passwd"]


def test_a_bomb_stops_at_its_bound(tmp_path: Path) -> None:
    zeros = gzip.compress(bytes(64 << 20), 9)
    head = info("zeros")
    head.size = 1 << 30
    store, layer = layer_of(gzip.compress(head.tobuf()) + zeros * 3)
    began = time.process_time()
    with pytest.raises(IntegrityError, match="becomes more than"):
        read_layer(store, layer, digest_of(b""), tmp_path, Wishes())
    assert time.process_time() - began < 10


def content(*paths: str, **links: str) -> Content:
    places = {path: Place(b"0") for path in paths}
    places.update({f"/{name}": Place(b"2", target) for name, target in links.items()})
    return Content(places, (), 0)


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ([content("/a"), content("/b")], {"/a", "/b"}),
        ([content("/a", "/d/x"), content("/.wh.a")], {"/d/x"}),
        ([content("/a", "/d/x", "/d/y/z"), content("/.wh.d")], {"/a"}),
        ([content("/d/x", "/d/y/z", "/dd"), content("/d/.wh..wh..opq", "/d/n")], {"/dd", "/d/n"}),
        ([content("/a"), content("/.wh.a"), content("/a")], {"/a"}),
        ([content("/a", "/b"), content("/.wh..wh..opq", "/c")], {"/c"}),
    ],
    ids=["both", "a file", "a folder", "opaque", "back again", "opaque root"],
)
def test_deletions_of_higher_layers(layers: list[Content], left: set[str]) -> None:
    assert set(merged(layers)) == left


def test_many_deletions_take_no_long_time() -> None:
    lower = content(*(f"/d{number}/f" for number in range(50_000)))
    upper = content(*(f"/.wh.d{number}" for number in range(50_000)))
    began = time.process_time()
    assert merged([lower, upper]) == {}
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (doc.RuntimeConfig(entrypoint=("/app",)), ("/app", "/app")),
        (doc.RuntimeConfig(cmd=("/app", "serve")), ("/app", "/app")),
        (doc.RuntimeConfig(entrypoint=("./app",), working_dir="/"), ("./app", "/app")),
        (doc.RuntimeConfig(entrypoint=("tool",)), ("tool", "/usr/bin/tool")),
        (doc.RuntimeConfig(entrypoint=("tool",), env=("PATH=/opt",)), ("tool", "")),
        (doc.RuntimeConfig(entrypoint=("/link",)), ("/link", "/app")),
        (doc.RuntimeConfig(entrypoint=("/dir/app",)), ("/dir/app", "/app")),
        (doc.RuntimeConfig(entrypoint=("/loop",)), ("/loop", "")),
        (doc.RuntimeConfig(entrypoint=("/usr",)), ("/usr", "")),
        (doc.RuntimeConfig(), ("", "")),
        (None, ("", "")),
    ],
)
def test_what_an_image_starts(config: doc.RuntimeConfig | None, expected: tuple[str, str]) -> None:
    whole = doc.ImageConfig(architecture="amd64", os="linux", config=config, rootfs=doc.RootFS(diff_ids=()))
    places = merged([content("/app", "/usr/bin/tool", link="../../app", dir="/", loop="loop")])
    assert started(whole, places) == expected
