"""Two images compared: platforms, manifests, configurations, layers. Touches what the images are in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest

import msgspec

from imagekit.audit.comparing.difference import Change, Difference, LayerChange, Side
from imagekit.audit.comparing.layers import Held, compare_layers
from imagekit.audit.comparing.told import changes
from imagekit.cancellation import Cancellation
from imagekit.errors import IntegrityError, UnreadableError
from imagekit.oci.blobs import BlobReader, read_verified
from imagekit.oci.documents import Descriptor, ImageConfig, decode_document
from imagekit.oci.trees import Runnable, runnables

_IN_TOTO = "application/vnd.in-toto+json"
"""The layers of what BuildKit puts beside an image: statements about it, nothing that starts."""


class Image(msgspec.Struct, frozen=True):
    """One image where it is, and what the user calls it."""

    label: str
    store: BlobReader
    descriptor: Descriptor


def compare_images(one: Image, other: Image, cancellation: Cancellation) -> Difference:
    """What differs between two images, platform by platform.

    Raises `UnreadableError` where one is no image that can start, and what reading layers raises.
    """
    before, after = _platforms(one), _platforms(other)
    found = Difference(
        equal=one.descriptor.digest == other.descriptor.digest,
        one=_side(one, before),
        other=_side(other, after),
    )
    if found.equal:
        return found
    common = [name for name in before if name in after]
    said = [*changes(_index(one, before), _index(other, after))]
    layers: list[LayerChange] = []
    for name in common:
        said += (_prefixed(name, change) for change in changes(_said(before[name]), _said(after[name])))
        layers += _layers((one.store, before[name]), (other.store, after[name]), name, cancellation)
    found = msgspec.structs.replace(found, image=tuple(said), layers=tuple(layers))
    return msgspec.structs.replace(found, because=tuple(_because(found)))


def _platforms(image: Image) -> dict[str, Runnable]:
    """The images that an engine could start, by platform; a second one of a platform gets a number."""
    found: dict[str, Runnable] = {}
    for one in runnables(image.store, image.descriptor):
        if one.manifest.layers and all(layer.media_type == _IN_TOTO for layer in one.manifest.layers):
            continue
        name = str(one.config.platform)
        number = sum(known.partition(" ")[0] == name for known in found) + 1
        found[name if number == 1 else f"{name} ({number})"] = one
    if not found:
        raise UnreadableError(f"{image.label} is no image that an engine could start", hint="name an image")
    return found


def _side(image: Image, platforms: dict[str, Runnable]) -> Side:
    layers = {layer.digest: layer.size for one in platforms.values() for layer in one.manifest.layers}
    return Side(path=image.label, kind="image", digest=image.descriptor.digest, size=sum(layers.values()))


# --- documents ----------------------------------------------------------------------------------------------------


def _index(image: Image, platforms: dict[str, Runnable]) -> dict[str, str]:
    """What the outermost document says, and which platforms there are."""
    document = decode_document(read_verified(image.store, image.descriptor), image.descriptor.media_type)
    annotations = {f"annotation {key}": value for key, value in document.annotations.items()}
    kind = {"media type": image.descriptor.media_type}
    return kind | annotations | {f"platform {name}": "there" for name in platforms}


def _said(one: Runnable) -> dict[str, str]:
    """Everything that manifest and configuration say, layers aside, each value as text."""
    said = {"manifest type": one.manifest.media_type, "configuration type": one.manifest.config.media_type}
    said |= {f"manifest annotation {key}": value for key, value in one.manifest.annotations.items()}
    return said | {name: text for name, text in _config(one.config) if text}


def _config(config: ImageConfig) -> Iterator[tuple[str, str]]:
    yield from (("created", config.created or ""), ("author", config.author), ("os.version", config.os_version))
    runtime = config.config
    if runtime is not None:
        yield from (("user", runtime.user), ("workdir", runtime.working_dir), ("stop signal", runtime.stop_signal))
        yield from (("entrypoint", _json(runtime.entrypoint)), ("cmd", _json(runtime.cmd)))
        yield from (("exposed ports", _json(runtime.exposed_ports)), ("volumes", _json(runtime.volumes)))
        yield from (("health check", _json(runtime.healthcheck)),)
        for pair in runtime.env or ():
            name, _, value = pair.partition("=")
            yield f"env {name}", f"={value}"
        yield from ((f"label {key}", f"={value}") for key, value in (runtime.labels or {}).items())
    for number, step in enumerate(config.history or (), 1):
        yield f"history {number}", _json(step)


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode() if value else ""


def _prefixed(platform: str, change: Change) -> Change:
    return Change(f"{platform}: {change.name}", change.one, change.other)


# --- layers -------------------------------------------------------------------------------------------------------


def _layers(
    one: tuple[BlobReader, Runnable], other: tuple[BlobReader, Runnable], platform: str, cancellation: Cancellation
) -> Iterator[LayerChange]:
    """Layers with the same content are pairs, those between them are paired in their order."""
    before, after = _held(*one), _held(*other)
    matched = SequenceMatcher(None, [h.diff_id for h in before], [h.diff_id for h in after], autojunk=False)
    for _, start, end, there, last in matched.get_opcodes():
        for number, (left, right) in enumerate(zip_longest(before[start:end], after[there:last]), 1):
            cancellation.check()
            if left is None or right is None:
                yield _lonely(left, right, platform, (start if left else there) + number)
            elif left.layer.digest != right.layer.digest:
                yield compare_layers(left, right, platform, start + number)


def _held(store: BlobReader, one: Runnable) -> Sequence[Held]:
    layers, diff_ids = one.manifest.layers, one.config.rootfs.diff_ids
    if len(layers) != len(diff_ids):
        raise IntegrityError(f"{one.descriptor.digest} counts its layers in two ways")
    return [Held(store, layer, diff_id) for layer, diff_id in zip(layers, diff_ids, strict=True)]


def _lonely(left: Held | None, right: Held | None, platform: str, number: int) -> LayerChange:
    return LayerChange(
        platform=platform,
        number=number,
        one=left.layer.digest if left else None,
        other=right.layer.digest if right else None,
        same_content=False,
        why=f"only the {'first' if left else 'second'} image has it",
    )


# --- in a sentence ------------------------------------------------------------------------------------------------


def _because(found: Difference) -> Iterator[str]:
    """What differs, the layers first; what several platforms have in common is said once."""
    layers = [f"layer {layer.number} of {layer.platform}: {layer.why}" for layer in found.layers]
    members = [member for layer in found.layers for member in layer.members if member.program]
    reasons = [f"{m.path}: {why}" for m in members if m.program for why in m.program.because[:3]]
    yield from dict.fromkeys((*layers, *reasons))
    names = [change.name for change in found.image]
    if names:
        yield ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if not names and not found.layers:
        yield "documents that are written otherwise and say the same"
