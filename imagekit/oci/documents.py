"""The documents of an image: descriptors, manifests, indexes and configurations (OCI image spec 1.1).

Values only: nothing here touches disk or network. A document is written as compact JSON in the order of the spec, maps
sorted, so the same value gives the same bytes. Keys that are not known are passed over when reading; who needs them
keeps the raw bytes, because only those have the digest.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, Any, Self, TypeVar

import msgspec

from imagekit.content import Digest, digest_of, parse_json, prepared
from imagekit.errors import FormatError, UnreadableError
from imagekit.platform import Platform

DOCUMENT_LIMIT = 4 << 20
"""Bytes: what a registry must accept at least (distribution spec 1.1, pushing manifests) is the most that is read."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER_TAR + "+gzip"
LAYER_ZSTD = LAYER_TAR + "+zstd"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCTETS = "application/octet-stream"

MANIFEST_TYPES = frozenset({MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({INDEX, DOCKER_INDEX})
CONFIG_TYPES = frozenset({CONFIG, DOCKER_CONFIG})
_LAYERS = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
FOREIGN_LAYERS = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)
"""Layers whose bytes live elsewhere (`urls`); they are never fetched from there."""

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

_DigestText = Annotated[Digest, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_OFFSET = re.compile(r"\(byte (\d+)\)")
T = TypeVar("T")


class PlatformObject(
    msgspec.Struct, frozen=True, rename={"os_version": "os.version", "os_features": "os.features"}, omit_defaults=True
):
    """The `platform` of an index entry, with what `Platform` leaves aside (image-index.md)."""

    architecture: str
    os: str
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""
    features: tuple[str, ...] = ()

    @classmethod
    def of(cls, platform: Platform) -> Self:
        """The object that says what `platform` says."""
        return cls(platform.architecture, platform.os, variant=platform.variant)

    @property
    def plain(self) -> Platform:
        """`os/architecture[/variant]` alone."""
        return Platform(self.os, self.architecture, self.variant)


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A promise about bytes: their media type, SHA-256 and size in bytes (descriptor.md)."""

    media_type: str
    digest: _DigestText
    size: _Size
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    data: str = ""
    platform: PlatformObject | None = None
    artifact_type: str = ""

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def is_manifest(self) -> bool:
        return self.media_type in MANIFEST_TYPES

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def is_document(self) -> bool:
        """Whether a registry keeps it under `manifests/` and it names other blobs."""
        return self.is_manifest or self.is_index

    def bare(self) -> Descriptor:
        """Media type, digest and size alone: what identifies the bytes."""
        return Descriptor(self.media_type, self.digest, self.size)


def _two() -> int:
    """A factory, because msgspec leaves out what equals a plain default, and the spec demands `schemaVersion`."""
    return 2


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One image, or one artifact that refers to an image (manifest.md)."""

    schema_version: int = msgspec.field(default_factory=_two)
    media_type: str = msgspec.field(default_factory=lambda: MANIFEST)
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What must be in a store before this is: configuration, then layers in order."""
        return (self.config, *self.layers)

    @property
    def is_image(self) -> bool:
        """Whether an engine could run it; artifacts (SBOMs, signatures) have another configuration, or say so."""
        return self.config.media_type in CONFIG_TYPES and not self.artifact_type

    @property
    def is_layered(self) -> bool:
        """Whether it is an image with a file system; BuildKit's statements and cosign's signatures look like one."""
        layers = not self.layers or any(layer.media_type.startswith(_LAYERS) for layer in self.layers)
        return self.is_image and layers


class Index(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Manifests in order, one a platform (image-index.md)."""

    schema_version: int = msgspec.field(default_factory=_two)
    media_type: str = msgspec.field(default_factory=lambda: INDEX)
    artifact_type: str = ""
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What must be in a store before this is."""
        return self.manifests


class Healthcheck(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """Docker's extension of the configuration; times in nanoseconds. OCI readers pass over it."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    retries: int = 0


class RuntimeConfig(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True, kw_only=True):
    """How a container of the image starts (config.md, `config`)."""

    user: str = ""
    exposed_ports: dict[str, dict[str, str]] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, dict[str, str]] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None


class RootFS(msgspec.Struct, frozen=True, kw_only=True):
    """The digests of the layers' uncompressed tars, lowest layer first."""

    type: str = "layers"
    diff_ids: tuple[_DigestText, ...]


class History(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How one layer came to be; `created` in RFC 3339."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(
    msgspec.Struct,
    frozen=True,
    rename={"os_version": "os.version", "os_features": "os.features"},
    omit_defaults=True,
    kw_only=True,
):
    """What an image is and how it runs (config.md); `created` in RFC 3339."""

    created: str | None = None
    author: str = ""
    architecture: str
    os: str
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    variant: str = ""
    config: RuntimeConfig | None = None
    rootfs: RootFS
    history: tuple[History, ...] | None = None

    @property
    def platform(self) -> Platform:
        return Platform(self.os, self.architecture, self.variant)


Document = Manifest | Index
_ENCODER = msgspec.json.Encoder(order="deterministic")
EMPTY_JSON = b"{}"
EMPTY_DESCRIPTOR = Descriptor(EMPTY, digest_of(EMPTY_JSON), len(EMPTY_JSON))
"""The configuration of an artifact that has none (manifest.md, guidance for an empty descriptor)."""


def encode(document: Document | ImageConfig | Descriptor) -> bytes:
    """Compact UTF-8 JSON: keys in the spec's order, maps sorted, defaults left out."""
    return _ENCODER.encode(document)


class _Shape(msgspec.Struct, rename="camel"):
    """Only as much as tells one kind of document from another."""

    schema_version: int = 0
    media_type: str = ""
    layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    fs_layers: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    manifests: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def decode_document(raw: bytes, media_type: str) -> Document:
    """The manifest or index that `raw` is, as its descriptor's `media_type` says.

    Raises `UnreadableError` for another media type, and for a document that could be read as both kinds
    (CVE-2021-41190) or calls itself another type than its descriptor does; `FormatError` for what is not JSON.
    """
    if media_type in MANIFEST_TYPES:
        return decode_manifest(raw, media_type)
    if media_type in INDEX_TYPES:
        return decode_index(raw, media_type)
    raise UnreadableError(f"{media_type!r} is neither an image manifest nor an image index")


def decode_manifest(raw: bytes, media_type: str = "") -> Manifest:
    """An image manifest, schema 2; raises as `decode_document` does."""
    _check_shape(_decode(raw, _Shape, "image manifest"), "image manifest", MANIFEST_TYPES, media_type)
    return _decode(raw, Manifest, "image manifest")


def decode_index(raw: bytes, media_type: str = "") -> Index:
    """An image index or a docker manifest list; raises as `decode_document` does."""
    _check_shape(_decode(raw, _Shape, "image index"), "image index", INDEX_TYPES, media_type)
    return _decode(raw, Index, "image index")


def decode_config(raw: bytes) -> ImageConfig:
    """An image configuration, OCI's or docker's; raises `UnreadableError` or `FormatError`."""
    return _decode(raw, ImageConfig, "image configuration")


def _check_shape(shape: _Shape, kind: str, types: frozenset[str], promised: str) -> None:
    if shape.schema_version != 2:
        raise UnreadableError(f"{kind} of schema version {shape.schema_version}, only 2 is read")
    both = msgspec.UNSET not in (shape.layers, shape.manifests)
    if both or shape.fs_layers is not msgspec.UNSET:
        raise UnreadableError(f"{kind} could be read as another kind of document too")
    own = shape.media_type
    if own and (own not in types or promised not in ("", own)):
        raise UnreadableError(f"{kind} calls itself {own!r}, its descriptor says {promised or kind!r}")


def _decode(raw: bytes, kind: type[T], name: str) -> T:
    if len(raw) > DOCUMENT_LIMIT:
        raise UnreadableError(f"{name} of {len(raw)} bytes, more than {DOCUMENT_LIMIT} are not read")
    try:
        return parse_json(raw, kind)
    except msgspec.ValidationError as error:
        if (lenient := _with_lists(raw, kind)) is not None:
            return lenient
        raise _invalid(name, str(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        found = _OFFSET.search(str(error))
        raise FormatError(f"{name}: {error}", offset=int(found[1]) if found else 0) from error


def _with_lists(raw: bytes, kind: type[T]) -> T | None:
    """The document, if it lacks but a list of nothing, which Go writes as null; docker leaves out the diff ids.

    BuildKit and docker do so for images without layers (encoding/json, nil slices). None for any other mistake.
    """
    with suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        value = parse_json(raw, dict[str, Any])
        lists: list[tuple[dict[str, Any], str]] = [(value, key) for key in ("layers", "manifests") if key in value]
        if isinstance(rootfs := value.get("rootfs"), dict):
            lists.append((rootfs, "diff_ids"))
        for holder, key in lists:
            if holder.get(key) is None:
                holder[key] = []
        return msgspec.convert(value, prepared(kind))
    return None


def _invalid(name: str, said: str) -> UnreadableError:
    """What msgspec says, which of a digest is the pattern alone."""
    if "sha256" not in said:
        return UnreadableError(f"{name}: {said}")
    return UnreadableError(
        f"{name}: what stands at {said.rpartition(' at ')[2]} is no sha256 digest",
        hint="only sha256 is read: copy the image with a tool that knows the other algorithm and makes sha256 of it",
    )
