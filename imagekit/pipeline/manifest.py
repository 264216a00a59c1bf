"""artifacts.json: every file of dist/ with its target and digest, and all that decided its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

import imagekit
from imagekit.content import Digest, readable_json
from imagekit.image.assemble import compression_of
from imagekit.oci.documents import Descriptor
from imagekit.targets.listing import matrix

if TYPE_CHECKING:
    from imagekit.pipeline.ground import Ground
    from imagekit.pipeline.shipping import Packed, Passed

SCHEMA = "urn:imagekit:artifacts:v1"


class Listed(msgspec.Struct, frozen=True):
    """One file of dist/, by its path there; `size` in bytes, `target` '' for what belongs to no single one."""

    kind: str
    path: str
    digest: Digest
    size: int
    target: str = ""


def artifacts_json(
    ground: Ground,
    passed: Sequence[Passed],
    images: Sequence[Packed],
    attested: Sequence[Descriptor],
    listed: Sequence[Listed],
) -> bytes:
    """The document: tool, source, targets with every setting, images with every platform, and files."""
    return readable_json(
        {
            "schema": SCHEMA,
            "tool": {"name": "imagekit", "version": imagekit.__version__},
            "source": _source(ground),
            "targets": [_target(one) for one in passed],
            "images": [_image(image, provenance) for image, provenance in zip(images, attested, strict=True)],
            "artifacts": sorted((msgspec.to_builtins(entry) for entry in listed), key=lambda entry: entry["path"]),
        }
    )


def _source(ground: Ground) -> dict[str, Any]:
    context = ground.context
    return {
        "version": context.version,
        "commit": context.commit,
        "dirty": context.dirty,
        "created": ground.created,
        "remote": ground.git.remote if ground.git else "",
    }


def _target(one: Passed) -> dict[str, Any]:
    """Every setting of a target, beside what `-trimpath` keeps out of Go's build info: ldflags and gcflags."""
    ready, artifact = one.ready, one.inspected.artifact
    [plain] = matrix([ready.target])
    module = ready.module
    return plain | {
        "toolchain": ready.toolchain,
        "package": ready.import_path,
        "mod": ready.mode,
        "vcs": ready.buildvcs,
        "module": {"path": module.path, "version": module.version, "h1": module.sum} if module else None,
        "published": ready.published,
        "digest": artifact.digest,
        "size": artifact.size,
    }


def _image(image: Packed, provenance: Descriptor) -> dict[str, Any]:
    made = image.assembled
    return {
        "id": made.name,
        "repository": image.shipped.repository,
        "tags": list(image.shipped.tags),
        "digest": made.index.digest,
        "provenance": provenance.digest,
        "compression": compression_of(image.recipe).identity,
        "platforms": [
            {
                "platform": str(one.platform),
                "manifest": one.manifest.digest,
                "config": one.config.digest,
                "layers": [layer.digest for layer in one.layers],
                "rootfs": [{"piece": need.piece, "needed": need.needed, "why": need.why} for need in one.rootfs],
            }
            for one in made.images
        ],
    }
