"""What an image says of itself: manifests, configurations, layers, referrers. Reads stores, no layer of them."""

from __future__ import annotations

from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.documents import Descriptor, Manifest, RuntimeConfig, decode_document
from imagekit.oci.looking import layered, told
from imagekit.oci.parcel import Parcel
from imagekit.oci.referrers import tag_of, tagged_subject
from imagekit.oci.reports import InspectedImage, LayerEntry, PlatformEntry, ReferrerEntry
from imagekit.oci.trees import Runnable


def inspect(parcel: Parcel) -> tuple[InspectedImage, ...]:
    """Every image with its manifests, configurations and referrers; no layer is read."""
    return tuple(
        InspectedImage(
            name=image.ref_name,
            digest=image.descriptor.digest,
            media_type=image.descriptor.media_type,
            annotations=_annotations(parcel.store, image.descriptor),
            platforms=tuple(_platform(one) for one in layered(parcel.store, image.descriptor)),
            referrers=tuple(_referrer(parcel.store, one) for one in parcel.referrers),
        )
        for image in parcel.images
    )


def _annotations(store: BlobReader, root: Descriptor) -> dict[str, str]:
    return dict(sorted(decode_document(read_verified(store, root), root.media_type).annotations.items()))


def _platform(one: Runnable) -> PlatformEntry:
    runtime = one.config.config or RuntimeConfig()
    lines = zip(one.manifest.layers, one.config.rootfs.diff_ids, told(one), strict=False)
    return PlatformEntry(
        platform=str(one.config.platform),
        manifest=one.descriptor.digest,
        config=one.manifest.config.digest,
        created=one.config.created,
        layers=tuple(
            LayerEntry(layer.digest, layer.size, layer.media_type, diff_id, why) for layer, diff_id, (_, why) in lines
        ),
        user=runtime.user,
        entrypoint=runtime.entrypoint or (),
        cmd=runtime.cmd or (),
        env=runtime.env or (),
        labels=dict(sorted((runtime.labels or {}).items())),
        size=sum(layer.size for layer in one.manifest.layers),
    )


def _referrer(store: BlobReader, descriptor: Descriptor) -> ReferrerEntry:
    document = decode_document(read_verified(store, descriptor), descriptor.media_type)
    kind = document.artifact_type or (document.config.media_type if isinstance(document, Manifest) else "")
    subject = document.subject.digest if document.subject else tagged_subject(descriptor)
    return ReferrerEntry(descriptor.digest, kind, subject, tag_of(descriptor) or None, descriptor.size)
