"""Images are taken away, and nothing else: layouts that others write to, registries of every kind, tags that share."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.content import hex_of
from imagekit.errors import NetworkError, UnreadableError, UsageError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, put
from imagekit.oci.parcel import NamedImage, Parcel
from imagekit.oci.reference import Reference
from imagekit.oci.referrers import unnamed
from imagekit.oci.registry import connected, push
from imagekit.oci.removing import from_layout, from_registry
from imagekit.oci.sending import into_layout
from imagekit.oci.store import Layout, Memory

BuildImage = Callable[..., doc.Descriptor]
SBOM = "application/spdx+json"


def referrer(store: Any, subject: doc.Descriptor, content: bytes = b"sbom") -> doc.Descriptor:
    put(store, doc.EMPTY_JSON, doc.EMPTY)
    layer = put(store, content, SBOM)
    manifest = doc.Manifest(
        artifact_type=SBOM, config=doc.EMPTY_DESCRIPTOR, layers=(layer,), subject=subject.bare(), annotations={}
    )
    return put(store, doc.encode(manifest), doc.MANIFEST)


def named(image: doc.Descriptor, name: str) -> doc.Descriptor:
    return msgspec.structs.replace(image, annotations={doc.REF_NAME: name})


def whole(layout: Layout) -> None:
    """Every document and blob that index.json leads to is there."""
    from imagekit.oci.copy import missing

    for entry in layout.index().manifests:
        assert list(missing(layout, entry)) == []


# Layouts.


@pytest.fixture
def layout(tmp_path: Path, build_image: BuildImage) -> Layout:
    """`a` with an unnamed SBOM of its platform, `b`, and artifacts of an image elsewhere: one named, one not."""
    made = Layout.create(tmp_path / "layout", durable=False)
    a = build_image(made, "linux/amd64", "linux/arm64")
    b = build_image(made, "linux/amd64", content=b"other")
    child = doc.decode_index(made.open(a.digest).read()).manifests[0]
    elsewhere = build_image(Memory(), "linux/amd64", content=b"elsewhere")
    entries = (
        named(a, "a"),
        named(b, "b"),
        referrer(made, child),
        named(referrer(made, elsewhere, b"named"), "sbom-of-other"),
        referrer(made, elsewhere, b"unnamed"),
    )
    made.set_index(doc.Index(manifests=entries, annotations={"kept": "yes"}))
    return made


def test_what_refers_to_the_image_goes_and_what_refers_to_others_stays(layout: Layout) -> None:
    entries = layout.index().manifests
    removed = from_layout(layout.path, "a")
    assert removed.digest == entries[0].digest
    assert removed.freed > 0
    assert layout.index().manifests == (entries[1], *entries[3:])
    assert layout.index().annotations == {"kept": "yes"}
    assert not layout.has(entries[2].digest)
    whole(layout)


def test_what_is_no_blob_by_its_name_stays(layout: Layout) -> None:
    """Other tools write a blob under another name first."""
    begun = layout.path / "blobs/sha256" / ("0" * 64 + ".tmp-7")
    begun.write_bytes(b"half")
    from_layout(layout.path, "a")
    assert begun.read_bytes() == b"half"


@pytest.mark.parametrize("linked", ["blobs", "blobs/sha256"])
def test_blobs_in_a_folder_that_is_a_link_stay(layout: Layout, tmp_path: Path, linked: str) -> None:
    """It may lead to what others need too, or to no blobs at all."""
    (layout.path / linked).rename(tmp_path / "elsewhere")
    (layout.path / linked).symlink_to(tmp_path / "elsewhere")
    (layout.path / "blobs/sha256" / ("0" * 64)).write_bytes(b"somebody's")
    before = sorted((tmp_path / "elsewhere").rglob("*"))
    assert from_layout(layout.path, "a").freed == 0
    assert sorted((tmp_path / "elsewhere").rglob("*")) == before
    assert "a" not in {entry.annotations.get(doc.REF_NAME) for entry in layout.index().manifests}


def test_a_second_name_keeps_all_of_it(layout: Layout) -> None:
    entries = layout.index().manifests
    layout.set_index(doc.Index(manifests=(*entries, named(entries[0], "again"))))
    assert from_layout(layout.path, "a").freed == 0
    assert layout.has(entries[2].digest)
    assert len(layout.index().manifests) == len(entries)


def test_a_copy_that_is_under_way_loses_no_blob(layout: Layout, build_image: BuildImage) -> None:
    """The delete waits until the copy has named its blobs."""
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Memory):
        def open(self, digest: Any, /) -> Any:
            if len(layout.index().manifests) == 5:
                entered.set()
                go_on.wait(10)
            return super().open(digest)

    source = Slow()
    image = build_image(source, "linux/amd64", content=b"new")
    parcel = Parcel(source, (NamedImage(image, "new", ()),), ())
    copying = threading.Thread(target=into_layout, args=(parcel, layout.path, "", Cancellation()))
    deleting = threading.Thread(target=from_layout, args=(layout.path, "b", Cancellation()))
    copying.start()
    entered.wait(10)
    deleting.start()
    deleting.join(0.3)
    assert deleting.is_alive()
    go_on.set()
    copying.join(10)
    deleting.join(10)
    assert [entry.annotations.get(doc.REF_NAME) for entry in layout.index().manifests if entry.annotations] == [
        "a",
        "sbom-of-other",
        "new",
    ]
    whole(layout)


def test_a_delete_that_waits_can_be_stopped(layout: Layout) -> None:
    from imagekit.errors import StoppedError

    stop = Cancellation()
    with layout.adding():
        threading.Timer(0.1, stop.stop, [StoppedError("enough", exit_code=130)]).start()
        with pytest.raises(StoppedError, match="enough"):
            from_layout(layout.path, "a", stop)
    assert len(layout.index().manifests) == 5


COPY = """
import sys
from imagekit.oci.parcel import Parcel
from imagekit.oci.parcel import NamedImage
from imagekit.oci.sending import into_layout
from imagekit.oci.store import Layout
from imagekit.cancellation import Cancellation
from pathlib import Path
source = Layout(Path(sys.argv[1]))
image = NamedImage(source.resolve("a"), sys.argv[3], ())
sys.stdin.readline()
into_layout(Parcel(source, (image,), ()), Path(sys.argv[2]), "", Cancellation())
"""


@pytest.mark.real
def test_many_processes_make_one_layout_together(layout: Layout, tmp_path: Path) -> None:
    place, names = tmp_path / "new", [f"n{number}" for number in range(6)]
    words = [sys.executable, "-c", COPY, str(layout.path), str(place)]
    started = [subprocess.Popen([*words, name], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for name in names]
    for each in started:
        assert each.stdin is not None
        each.stdin.write(b"go\n")
        each.stdin.flush()
    for each in started:
        _, said = each.communicate(timeout=60)
        assert each.returncode == 0, said
    assert sorted(entry.annotations[doc.REF_NAME] for entry in Layout(place).index().manifests) == names
    whole(Layout(place))


LEFT = {
    "nothing but the folder": (),
    "the file that was to be oci-layout": (".oci-layout.0123abcd.part",),
    "blobs alone": ("blobs/sha256/",),
    "blobs and the index": ("blobs/sha256/", "index.json"),
    "a part of a blob": (f".{'0' * 64}.part", f".{'0' * 16}.part"),
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_a_layout_that_was_left_half_made_is_finished(layout: Layout, tmp_path: Path, left: tuple[str, ...]) -> None:
    place = tmp_path / "half"
    place.mkdir()
    for name in left:
        if name.endswith("/"):
            (place / name).mkdir(parents=True)
        else:
            (place / name).write_bytes(doc.encode(doc.Index(manifests=())) if name == "index.json" else b"")
    source = Parcel(layout, (NamedImage(layout.resolve("b"), "b", ()),), ())
    into_layout(source, place, "", Cancellation())
    assert Layout(place).resolve("b").digest == layout.resolve("b").digest
    whole(Layout(place))


def test_a_folder_of_something_else_is_not_made_a_layout(layout: Layout, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "thesis.txt").write_text("mine")
    for path in (place, place / "thesis.txt"):
        with pytest.raises(UsageError, match="no OCI layout"):
            Layout.create(path)
    assert [entry.name for entry in place.iterdir()] == ["thesis.txt"]


# Registries.


@pytest.fixture
def pushed(build_image: BuildImage) -> Callable[[str, str], tuple[doc.Descriptor, doc.Descriptor]]:
    """Push one image under 1.0, 1 and latest with an SBOM, and one of its platforms under `arm`; both descriptors."""

    def do(host: str, repository: str) -> tuple[doc.Descriptor, doc.Descriptor]:
        store = Memory()
        image = build_image(store, "linux/amd64", "linux/arm64", content=repository.encode())
        child = doc.decode_index(store.open(image.digest).read()).manifests[1]
        where = Reference(host, repository)
        push(store, image, where, ["1.0", "1", "latest"], cancellation=Cancellation())
        push(store, child, where, ["arm"], cancellation=Cancellation())
        push(store, referrer(store, image), where, cancellation=Cancellation())
        return image, child

    return do


def tags(host: str, repository: str) -> set[str]:
    with connected(Reference(host, repository), cancellation=Cancellation()) as found:
        return {tag for tag in found.tags() if not tag.startswith("sha256-")}


def is_there(host: str, repository: str, target: str) -> bool:
    with connected(Reference(host, repository), cancellation=Cancellation()) as found:
        try:
            found.resolve(target)
        except MissingBlobError:
            return False
        return True


def deleted(host: str, repository: str, tag: str = "", digest: Any = "") -> Any:
    return from_registry(Reference(host, repository, tag, digest or None), Cancellation())


@pytest.mark.real
@pytest.mark.parametrize("kind", ["registry", "referrers", "distribution"])
def test_a_tag_goes_alone(kind: str, registry_of: Callable[[str], str], pushed: Any) -> None:
    host = registry_of(kind)
    image, _ = pushed(host, "removing/alone")
    assert deleted(host, "removing/alone", "1.0").tags == ("1.0",)
    assert tags(host, "removing/alone") == {"1", "latest", "arm"}
    assert deleted(host, "removing/alone", "arm").tags == ("arm",)
    assert is_there(host, "removing/alone", image.digest)
    with pytest.raises(MissingBlobError):
        deleted(host, "removing/alone", "1.0")


@pytest.mark.real
def test_a_registry_without_tag_deletion_is_asked_for_no_more_than_was_named(
    registry_of: Callable[[str], str], pushed: Any
) -> None:
    host = registry_of("docker-registry")
    image, child = pushed(host, "removing/shared")
    with pytest.raises(UsageError, match=r"1, latest lead to the same image") as caught:
        deleted(host, "removing/shared", "1.0")
    assert caught.value.hint == f"to delete it for all of them: {host}/removing/shared@{image.digest}"
    with pytest.raises(UsageError, match=r"1, 1\.0, latest lead to the same image"):
        deleted(host, "removing/shared", "arm")
    assert tags(host, "removing/shared") == {"1", "1.0", "latest", "arm"}
    assert sorted(deleted(host, "removing/shared", digest=image.digest).tags) == ["1", "1.0", "latest"]
    assert deleted(host, "removing/shared", "arm").digest == child.digest
    assert tags(host, "removing/shared") == set()


@pytest.mark.real
@pytest.mark.parametrize("kind", ["registry", "referrers", "distribution", "docker-registry"])
def test_a_digest_goes_with_its_tags_and_what_refers_to_it(
    kind: str, registry_of: Callable[[str], str], pushed: Any
) -> None:
    host = registry_of(kind)
    image, child = pushed(host, "removing/whole")
    with connected(Reference(host, "removing/whole"), cancellation=Cancellation()) as found:
        [sbom] = found.referrers(image.digest)
    assert sorted(deleted(host, "removing/whole", digest=image.digest).tags) == ["1", "1.0", "latest"]
    assert tags(host, "removing/whole") == {"arm"}
    assert not is_there(host, "removing/whole", image.digest)
    assert not is_there(host, "removing/whole", sbom.digest)
    assert not is_there(host, "removing/whole", f"sha256-{hex_of(image.digest)}")
    assert is_there(host, "removing/whole", child.digest)


def test_a_registry_that_forbids_it_says_what_to_do(little: Any, pushed: Any) -> None:
    image, _ = pushed(little.host, "x")
    little.fail("DELETE", "/manifests/", lambda handler: handler.answer(405, {}, b""), times=99)
    with pytest.raises(NetworkError, match="405") as caught:
        deleted(little.host, "x", digest=image.digest)
    assert "storage.delete.enabled" in caught.value.hint
    assert tags(little.host, "x") == {"1.0", "1", "latest", "arm"}


def test_a_registry_that_only_says_so_is_found_out(little: Any, pushed: Any) -> None:
    pushed(little.host, "x")
    little.fail("DELETE", "/manifests/1.0", lambda handler: handler.answer(202, {}, b""))
    with pytest.raises(NetworkError, match=r"x:1\.0 is still there"):
        deleted(little.host, "x", "1.0")


def test_a_place_without_a_tag_is_no_image() -> None:
    with pytest.raises(UsageError, match="names no image"):
        deleted("127.0.0.1:1", "x")


def test_a_repository_of_too_many_tags_is_not_searched_for_ever(little: Any, pushed: Any, monkeypatch: Any) -> None:
    image, _ = pushed(little.host, "x")
    monkeypatch.setattr("imagekit.oci.removing._MOST_TAGS", 3)
    with pytest.raises(UnreadableError, match="too many to see"):
        deleted(little.host, "x", digest=image.digest)


def signature(store: Any) -> doc.Descriptor:
    """A manifest as cosign pushes it: nothing but its tag says what it is of."""
    config = put(store, doc.encode(doc.ImageConfig(architecture="", os="", rootfs=doc.RootFS(diff_ids=()))), doc.CONFIG)
    layer = put(store, b'{"critical":{}}', "application/vnd.dev.cosign.simplesigning.v1+json")
    return put(store, doc.encode(doc.Manifest(config=config, layers=(layer,))), doc.MANIFEST)


def test_what_cosign_keeps_under_a_tag_goes_with_the_image_too(
    little: Any, build_image: BuildImage, tmp_path: Path
) -> None:
    layout = Layout.create(tmp_path / "layout", durable=False)
    image = build_image(layout, "linux/amd64")
    tag = f"sha256-{hex_of(image.digest)}.sig"
    signed = signature(layout)
    layout.set_index(doc.Index(manifests=(named(image, "a"), unnamed(signed, tag))))
    for one, tags_of in ((image, ["1"]), (signed, [tag])):
        push(layout, one, Reference(little.host, "x"), tags_of, cancellation=Cancellation())
    assert deleted(little.host, "x", digest=image.digest).tags == ("1",)
    assert not little.manifests.keys() & {"1", tag, image.digest, signed.digest}
    from_layout(layout.path, "a")
    assert layout.index().manifests == ()
    assert list((layout.path / "blobs/sha256").iterdir()) == []
