"""Images for some of their platforms: which one is meant, what stays an index, and what refers to what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest

from imagekit.errors import UnreadableError
from imagekit.oci import documents as doc
from imagekit.oci.blobs import MissingBlobError, put, read_verified
from imagekit.oci.narrowing import only_platforms
from imagekit.oci.parcel import NamedImage, Parcel
from imagekit.oci.platforms import offered, select
from imagekit.oci.store import Memory
from imagekit.platform import Platform, closest

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
BuildImage = Callable[..., doc.Descriptor]


def parsed(*texts: str) -> list[Platform]:
    return [Platform.parse(text) for text in texts]


# --- what runs where --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "offers", "meant"),
    [
        ("linux/arm64/v8", ["linux/amd64", "linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/amd64", "linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/arm64/v8.0", ["linux/arm64/v8.2", "linux/arm64/v8"], "linux/arm64/v8"),
        ("linux/amd64/v1", ["linux/amd64", "linux/arm64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64/v1"], "linux/amd64/v1"),
        ("linux/arm", ["linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm"], "linux/arm"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/arm64/v9.1", ["linux/arm64", "linux/arm64/v8.4", "linux/arm64/v8.6"], "linux/arm64/v8.4"),
        ("linux/ppc64le/power9", ["linux/ppc64le", "linux/ppc64le/power9"], "linux/ppc64le/power9"),
        ("linux/ppc64le", ["linux/ppc64le/power9"], ""),
        ("linux/arm/v6", ["linux/arm/v7"], ""),
        ("linux/amd64", ["linux/amd64/v3"], ""),
        ("windows/amd64", ["linux/amd64"], ""),
        ("linux/amd64", [], ""),
    ],
)
def test_the_closest_that_runs_there(wanted: str, offers: Sequence[str], meant: str) -> None:
    place = closest(parsed(*offers), Platform.parse(wanted))
    assert ("" if place is None else offers[place]) == meant


# --- what an image offers ---------------------------------------------------------------------------------------------


@pytest.fixture
def image(build_image: BuildImage) -> tuple[Memory, doc.Descriptor]:
    store = Memory()
    return store, build_image(store, *PLATFORMS)


def index(store: Memory, *entries: doc.Descriptor) -> doc.Descriptor:
    return put(store, doc.encode(doc.Index(manifests=entries)), doc.INDEX)


def children(store: Memory, root: doc.Descriptor) -> tuple[doc.Descriptor, ...]:
    return doc.decode_index(read_verified(store, root)).manifests


def test_chosen_platforms_come_in_the_order_of_the_index(image) -> None:
    store, root = image
    found = select(store, root, parsed("linux/arm/v7", "linux/amd64", "linux/amd64/v1"))
    assert found == children(store, root)[::2]


def test_a_platform_that_is_not_there_lists_those_that_are(image) -> None:
    store, root = image
    with pytest.raises(UnreadableError, match="no plan9/386") as raised:
        select(store, root, parsed("linux/amd64", "plan9/386"))
    assert raised.value.hint == "it offers linux/amd64, linux/arm/v7, linux/arm64"


def test_indexes_that_name_each_other_again_and_again_are_read_once(image) -> None:
    store, root = image
    nested = root
    for number in range(3):
        nested = index(store, *[msgspec.structs.replace(nested, annotations={"n": str(n)}) for n in range(300)])
        assert select(store, nested, parsed("linux/arm64")) == children(store, root)[1:2], number


def test_more_indexes_than_an_image_has_are_not_read(image) -> None:
    store, _ = image
    many = index(
        store,
        *[put(store, doc.encode(doc.Index(manifests=(), annotations={"n": str(n)})), doc.INDEX) for n in range(1001)],
    )
    with pytest.raises(UnreadableError, match="one of too many"):
        offered(store, many)


def test_a_single_manifest_is_for_what_its_configuration_says(image) -> None:
    store, root = image
    single = msgspec.structs.replace(children(store, root)[0], platform=doc.PlatformObject("s390x", "linux"))
    assert select(store, single, parsed("linux/amd64")) == (single,)
    with pytest.raises(UnreadableError, match="has no linux/s390x") as raised:
        select(store, single, parsed("linux/s390x"))
    assert raised.value.hint == "it offers linux/amd64"


def test_indexes_in_indexes_and_entries_without_a_platform_are_looked_into(image) -> None:
    store, root = image
    amd64, arm64, arm = children(store, root)
    nested = index(store, index(store, amd64.bare()), index(store, arm64.bare(), arm))
    assert select(store, nested, parsed("linux/arm64")) == (arm64.bare(),)
    assert list(offered(store, nested).values()) == parsed("linux/amd64", "linux/arm64", "linux/arm/v7")
    deep = root
    for _ in range(5):
        deep = index(store, deep)
    with pytest.raises(UnreadableError, match="nested more than 4 deep"):
        offered(store, deep)


def test_what_nobody_asks_for_need_not_be_there(image) -> None:
    store, root = image
    amd64, arm64, _ = children(store, root)
    absent = msgspec.structs.replace(amd64, digest="sha256:" + "0" * 64, platform=None)
    partial = index(store, absent, root)
    assert select(store, partial, parsed("linux/arm64")) == (arm64,)
    with pytest.raises(MissingBlobError):
        select(store, partial, parsed("linux/s390x"))


def test_statements_are_no_images(image) -> None:
    """BuildKit puts them beside an image, as manifests for `unknown/unknown` with the configuration of an image."""
    store, root = image
    config = doc.decode_manifest(read_verified(store, children(store, root)[0])).config
    statement = put(store, b"{}", "application/vnd.in-toto+json")
    bare = put(store, doc.encode(doc.Manifest(config=config, layers=(statement,))), doc.MANIFEST)
    stated = msgspec.structs.replace(bare, platform=doc.PlatformObject("unknown", "unknown"))
    assert offered(store, index(store, bare, stated)) == {}
    with pytest.raises(UnreadableError) as raised:
        select(store, bare, parsed("linux/amd64"))
    assert raised.value.hint == "it offers no image at all"


# --- what is left -----------------------------------------------------------------------------------------------------


def referrer(store: Memory, subject: doc.Descriptor, kind: str) -> doc.Descriptor:
    put(store, doc.EMPTY_JSON, doc.EMPTY)
    content = put(store, kind.encode(), kind)
    manifest = doc.Manifest(config=doc.EMPTY_DESCRIPTOR, layers=(content,), artifact_type=kind, subject=subject.bare())
    return put(store, doc.encode(manifest), doc.MANIFEST).bare()


def test_what_refers_to_a_chosen_platform_stays_and_what_refers_to_others_does_not(image) -> None:
    store, root = image
    amd64, arm64, _ = children(store, root)
    of_index = referrer(store, root, "text/index")
    of_amd64 = referrer(store, amd64, "text/amd64")
    of_arm64 = referrer(store, arm64, "text/arm64")
    signature = referrer(store, of_arm64, "text/signature-of-arm64")
    parcel = Parcel(store, (NamedImage(root, "app"),), (of_index, of_amd64, signature, of_arm64))
    one = only_platforms(parcel, parsed("linux/arm64"))
    assert [image.descriptor for image in one.images] == [arm64]
    assert set(one.referrers) == {of_arm64, signature}
    several = only_platforms(parcel, parsed("linux/arm64", "linux/amd64"))
    assert set(several.referrers) == {of_amd64, of_arm64, signature}
    assert only_platforms(parcel, []) is parcel


def test_several_platforms_are_an_index_of_just_these(image) -> None:
    store, root = image
    parcel = Parcel(store, (NamedImage(root, "app"),))
    narrowed = only_platforms(parcel, parsed("linux/arm", "linux/amd64"))
    [made] = narrowed.images
    assert made.descriptor.media_type == doc.INDEX
    entries = doc.decode_index(read_verified(narrowed.store, made.descriptor)).manifests
    assert entries == children(store, root)[::2]
    every = only_platforms(parcel, parsed(*PLATFORMS))
    assert every.images == parcel.images, "nothing is left out, so the digest is kept"
    bare = index(store, *(entry.bare() for entry in children(store, root)))
    narrowed = only_platforms(Parcel(store, (NamedImage(bare, "app"),)), parsed("linux/arm", "linux/amd64"))
    entries = doc.decode_index(read_verified(narrowed.store, narrowed.images[0].descriptor)).manifests
    assert [str(entry.platform.plain) for entry in entries if entry.platform] == ["linux/amd64", "linux/arm/v7"]
