"""Images compared: each pair differs in one thing (a time, a compression, a file, a setting), which must be named."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from imagekit.audit.compare import compare
from imagekit.audit.comparing import prose
from imagekit.audit.comparing.difference import Difference
from imagekit.content import digest_of
from imagekit.errors import FormatError, IntegrityError, UnreadableError, UsageError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import put
from imagekit.oci.store import Layout

Layer = tuple[bytes, bytes, str]
"""Tar, blob, media type."""
MakeImage = Callable[..., str]


def tar(*members: dict[str, Any], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of these entries: `name`, and `content` or the fields of `tarfile.TarInfo`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for member in members:
            fields = {"content": b"", "mode": 0o644, **member}
            content = fields.pop("content")
            info = tarfile.TarInfo(fields.pop("name"))
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def gzipped(content: bytes, *, mtime: int = 0, level: int = 9) -> Layer:
    return content, gzip.compress(content, level, mtime=mtime), doc.LAYER_GZIP


def zstd(content: bytes) -> Layer:
    return content, zstandard.compress(content), doc.LAYER_ZSTD


@pytest.fixture
def image(tmp_path: Path) -> MakeImage:
    """`image("one", layers, …)`: a layout with one image, named as SUBJECT."""

    def make(
        name: str,
        layers: Sequence[Layer],
        platforms: Sequence[str] = ("linux/amd64",),
        index: bool = True,
        **runtime: Any,
    ) -> str:
        store = Layout.create(tmp_path / name)
        blobs = tuple(put(store, blob, kind) for _, blob, kind in layers)
        created = runtime.pop("created", "2026-01-02T03:04:05Z")
        found = []
        for platform in platforms:
            system, architecture = platform.split("/")
            config = doc.ImageConfig(
                created=created,
                architecture=architecture,
                os=system,
                config=doc.RuntimeConfig(**runtime),
                rootfs=doc.RootFS(diff_ids=tuple(digest_of(content) for content, _, _ in layers)),
            )
            manifest = doc.Manifest(config=put(store, doc.encode(config), doc.CONFIG), layers=blobs)
            described = doc.PlatformObject(architecture=architecture, os=system)
            found.append(put(store, doc.encode(manifest), doc.MANIFEST, platform=described))
        top = put(store, doc.encode(doc.Index(manifests=tuple(found))), doc.INDEX) if index else found[0]
        store.set_index(doc.Index(manifests=(msgspec.structs.replace(top, annotations={doc.REF_NAME: "app"}),)))
        return f"oci:{tmp_path / name}:app"

    return make


FILES = ({"name": "etc/", "type": tarfile.DIRTYPE, "mode": 0o755}, {"name": "etc/motd", "content": b"hello\n"})
BASE = gzipped(tar({"name": "base", "content": b"base"}))


def only_layer(found: Difference) -> Any:
    (layer,) = found.layers
    return layer


def text(found: Difference) -> str:
    return "\n".join(prose.lines(found))


def test_equal(image: MakeImage) -> None:
    found = compare(image("one", [BASE]), image("two", [BASE]))
    assert found.equal
    assert (found.one.kind, found.one.size) == ("image", len(BASE[1]))


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        pytest.param(
            gzipped(tar(*FILES)),
            gzipped(tar(*FILES), mtime=1_700_000_000),
            "gzip header: time none against 2023-11-14T22:13:20Z",
            id="time of gzip",
        ),
        pytest.param(
            gzipped(tar(*FILES)), gzipped(tar(*FILES), level=1), "gzip header: effort 2 against 4", id="effort of gzip"
        ),
        pytest.param(gzipped(tar(*FILES)), zstd(tar(*FILES)), "bytes against zstd", id="zstd"),
        pytest.param(
            gzipped(tar(*FILES)), (tar(*FILES), tar(*FILES), doc.LAYER_TAR), "bytes against none", id="uncompressed"
        ),
    ],
)
def test_the_same_content_under_other_compression(image: MakeImage, one: Layer, other: Layer, why: str) -> None:
    found = compare(image("one", [BASE, one]), image("two", [BASE, other]))
    layer = only_layer(found)
    assert layer.same_content
    assert layer.number == 2
    assert layer.why.startswith("the same content, ")
    assert why in layer.why
    assert not layer.members
    assert found.because[0] == f"layer 2 of linux/amd64: {layer.why}"


@pytest.mark.parametrize(
    ("change", "name", "values"),
    [
        ({"mtime": 1_700_000_000}, "mtime", ("1970-01-01T00:00:00Z (0)", "2023-11-14T22:13:20Z (1700000000)")),
        ({"mode": 0o755}, "mode", ("0644", "0755")),
        ({"uid": 1000}, "uid", ("0", "1000")),
        ({"gid": 1000}, "gid", ("0", "1000")),
        ({"uname": "builder"}, "uname", ("", "builder")),
    ],
)
def test_a_field_of_a_header(image: MakeImage, change: dict[str, Any], name: str, values: tuple[str, str]) -> None:
    folder, motd = FILES
    found = compare(image("one", [gzipped(tar(*FILES))]), image("two", [gzipped(tar(folder, motd | change))]))
    layer = only_layer(found)
    (member,) = layer.members
    assert member.path == "/etc/motd"
    assert [(each.name, (each.one, each.other)) for each in member.changes] == [(name, values)]
    assert layer.why == f"1 entry differs: {name} of 1"
    assert f"    ~ {name}: {values[0]} -> {values[1]}" in text(found)


def test_times_below_a_second_stand_in_extended_headers(image: MakeImage) -> None:
    one, two = ({"name": "a", "mtime": 5.25}, {"name": "a", "mtime": 5.75})
    layers = [[gzipped(tar(each, form=tarfile.PAX_FORMAT))] for each in (one, two)]
    (member,) = only_layer(compare(image("one", layers[0]), image("two", layers[1]))).members
    assert [change.name for change in member.changes] == ["mtime"]
    assert member.changes[0].one.endswith("(5.25)")


def test_content_and_files_that_one_side_lacks(image: MakeImage) -> None:
    folder, motd = FILES
    one = tar(folder, motd, {"name": "gone", "content": b"12"})
    two = tar(folder, motd | {"content": b"Hello\n"}, {"name": "new", "content": b"123"})
    found = compare(image("one", [gzipped(one)]), image("two", [gzipped(two)]))
    layer = only_layer(found)
    assert layer.why == "3 entries differ: content of 1, 1 only in the first, 1 only in the second"
    changes = {member.path: member.changes[0] for member in layer.members}
    assert (changes["/gone"].one, changes["/gone"].other) == ("file, 2 bytes", None)
    assert (changes["/new"].one, changes["/new"].other) == (None, "file, 3 bytes")
    motd_member = layer.members[0]
    assert motd_member.changes[0].name == "content"
    assert motd_member.program is not None
    assert motd_member.program.bytes[0].one == "hello"


@pytest.mark.real
def test_a_program_in_a_layer_is_compared_as_one(image: MakeImage, tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.com/app\n\ngo 1.24\n")
    (tmp_path / "main.go").write_text('package main\n\nvar when = ""\n\nfunc main() { println(when) }\n')
    layers = []
    for day in (1, 2):
        flags = ["-trimpath", "-buildvcs=false", f"-ldflags=-X main.when=2026-01-0{day}T00:00:00Z"]
        subprocess.run(["go", "build", *flags, "-o", "app", "."], cwd=tmp_path, check=True)
        layers.append([BASE, gzipped(tar({"name": "app", "mode": 0o755, "content": (tmp_path / "app").read_bytes()}))])
    found = compare(image("one", layers[0]), image("two", layers[1]))
    (member,) = only_layer(found).members
    assert member.program is not None
    time = "a time: 2026-01-01T00:00:00Z against 2026-01-02T00:00:00Z"
    assert any(spot.why == time for spot in member.program.bytes)
    assert any(reason.endswith(time) for reason in found.because)


def test_the_order_of_entries(image: MakeImage) -> None:
    one, two = {"name": "a", "content": b"1"}, {"name": "b", "content": b"2"}
    found = compare(image("one", [gzipped(tar(one, two))]), image("two", [gzipped(tar(two, one))]))
    assert only_layer(found).why == "the same entries in another order, from /a on"


def test_headers_of_another_program(image: MakeImage) -> None:
    one, two = tar(*FILES), tar(*FILES, form=tarfile.GNU_FORMAT)
    found = compare(image("one", [gzipped(one)]), image("two", [gzipped(two)]))
    (change,) = only_layer(found).members[0].changes
    assert (change.name, change.one, change.other) == ("header format", "ustar", "gnu")
    longer = compare(image("three", [gzipped(one)]), image("four", [gzipped(one + bytes(512))]))
    assert only_layer(longer).why == "the same entries; what stands between or behind them differs"


def test_configuration(image: MakeImage) -> None:
    one = image("one", [BASE], user="1:1", env=("A=1", "B=2"), labels={"x": "1"}, entrypoint=("/app",))
    two = image(
        "two", [BASE], env=("A=2",), labels={"x": "1"}, entrypoint=("/app", "-v"), created="2027-01-01T00:00:00Z"
    )
    found = compare(one, two)
    said = {change.name.removeprefix("linux/amd64: "): (change.one, change.other) for change in found.image}
    assert said == {
        "created": ("2026-01-02T03:04:05Z", "2027-01-01T00:00:00Z"),
        "user": ("1:1", None),
        "env A": ("=1", "=2"),
        "env B": ("=2", None),
        "entrypoint": ('["/app"]', '["/app","-v"]'),
    }
    assert not found.layers


def test_platforms(image: MakeImage) -> None:
    found = compare(image("one", [BASE], ["linux/amd64", "linux/arm64"]), image("two", [BASE]))
    assert [(change.name, change.one, change.other) for change in found.image] == [
        ("platform linux/arm64", "there", None)
    ]
    bare = compare(image("three", [BASE]), image("four", [BASE], index=False))
    assert [change.name for change in bare.image] == ["media type"]


def test_layers_are_paired_by_content(image: MakeImage) -> None:
    """A layer put in between is one difference, not three."""
    middle = gzipped(tar({"name": "middle"}))
    top = gzipped(tar({"name": "top"}))
    layer = only_layer(compare(image("one", [BASE, top]), image("two", [BASE, middle, top])))
    assert (layer.one, layer.number) == (None, 2)
    assert layer.why == "only the second image has it"
    layer = only_layer(compare(image("three", [BASE, middle, top]), image("four", [BASE, top])))
    assert (layer.other, layer.number) == (None, 2)


def test_a_layer_that_is_not_what_its_image_promises(image: MakeImage) -> None:
    content = tar(*FILES)
    lies = (tar({"name": "another"}), gzip.compress(content, mtime=0), doc.LAYER_GZIP)
    with pytest.raises(IntegrityError):
        compare(image("one", [gzipped(tar({"name": "x"}))]), image("two", [lies]))


@pytest.mark.real
def test_hostile_layers_end(image: MakeImage) -> None:
    bomb = bytes(200 << 20)
    with pytest.raises(IntegrityError, match="becomes more than"):
        compare(
            image("one", [BASE]), image("two", [(bomb, gzip.compress(tar({"name": "z"})[:512] + bomb), doc.LAYER_GZIP)])
        )
    with pytest.raises((FormatError, UnreadableError)):
        compare(image("three", [BASE]), image("four", [gzipped(b"no tar at all" * 100)]))
    escape = {"name": "../../\x1b[31m::error::x", "content": b"1"}
    shown = text(compare(image("five", [BASE]), image("six", [gzipped(tar(escape))])))
    assert "\x1b" not in shown
    assert not any(each.lstrip().startswith("::") for each in shown.splitlines())


def test_more_entries_than_are_listed(image: MakeImage) -> None:
    many = [{"name": f"f{number}"} for number in range(150)]
    late = [each | {"mtime": 7} for each in many]
    layer = only_layer(compare(image("one", [gzipped(tar(*many))]), image("two", [gzipped(tar(*late))])))
    assert (len(layer.members), layer.more) == (100, 50)
    assert layer.why == "150 entries differ: mtime of 150"


def test_a_layout_with_several_images_needs_a_name(image: MakeImage, tmp_path: Path) -> None:
    one = image("one", [BASE])
    store = Layout(tmp_path / "one")
    (entry,) = store.index().manifests
    second = msgspec.structs.replace(entry, annotations={doc.REF_NAME: "debug"})
    store.set_index(doc.Index(manifests=(entry, second)))
    with pytest.raises(UsageError, match="2 images") as raised:
        compare(f"oci:{tmp_path / 'one'}", one)
    assert "debug" in raised.value.hint
    assert compare(f"oci:{tmp_path / 'one'}:debug", one).equal


def test_the_json_decodes_to_the_same_value(image: MakeImage) -> None:
    found = compare(image("one", [gzipped(tar(*FILES))]), image("two", [gzipped(tar(FILES[0]))]))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Difference) == found


@pytest.mark.real
def test_the_same_image_in_another_place(image: MakeImage, tmp_path: Path, peer: Callable[[str], Path]) -> None:
    """What skopeo copies into archives has the same layers, if under other compression and other documents."""
    one = image("one", [BASE, gzipped(tar(*FILES))], index=False)
    for kind, place in (("docker-archive", "docker.tar"), ("oci-archive", "oci.tar")):
        words = ["--insecure-policy", "copy", "--quiet", one, f"{kind}:{tmp_path / place}"]
        subprocess.run([str(peer("skopeo")), *words], check=True, capture_output=True)
        found = compare(one, f"{kind}:{tmp_path / place}")
        assert all(layer.same_content for layer in found.layers)
        assert len(found.layers) == (2 if kind == "docker-archive" else 0)
    (tmp_path / "other").mkdir()
    changed = compare(image("other/two", [BASE, gzipped(tar(FILES[0]))]), f"docker-archive:{tmp_path / 'docker.tar'}")
    assert [layer.same_content for layer in changed.layers] == [True, False]
    assert changed.layers[1].members[0].path == "/etc/motd"
