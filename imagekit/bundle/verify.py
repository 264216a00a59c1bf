"""Verify a bundle: signature first, then every byte, then the documents, then the gate. Touches disk and the clock.

What `verify` gives is bound to the bytes that it saw: whoever loads it reads through the same `Sealed` file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from imagekit.audit.judge import Report
from imagekit.audit.policy import SCRATCH, Policy
from imagekit.bundle.create import SIGNATURE
from imagekit.bundle.document import DOCUMENT, LIST_LIMIT, VOLUMES, BundleDocument, describe, read_sums
from imagekit.bundle.gate import judge_images, refuse
from imagekit.cancellation import Cancellation
from imagekit.content import Digest, hash_stream, parse_json
from imagekit.errors import IntegrityError, UnreadableError, UsageError
from imagekit.oci.documents import CONTAINERD_NAME, DOCUMENT_LIMIT, REF_NAME, Index, decode_index
from imagekit.oci.hybrid import SUMS, Hybrid, blob_path, plan
from imagekit.oci.members import TarStore, canonical
from imagekit.oci.parcel import NamedImage
from imagekit.oci.sealed import Opened, Sealed
from imagekit.oci.trees import Tree, walk
from imagekit.trust.openpgp import MAX_SIGNATURE, Signer
from imagekit.trust.policy import Demand, TrustPolicy, check

_AGAIN = "get the bundle again from who made it; nothing was loaded"
T = TypeVar("T")


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that passed. Hold it open (`with`) until it is loaded: only what it holds is what was verified."""

    source: Sealed
    store: TarStore
    hybrid: Hybrid
    index: Index
    images: tuple[NamedImage, ...]
    document: BundleDocument
    signers: tuple[Signer, ...]
    reports: tuple[Report, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()


def verify(
    path: Path,
    trust: TrustPolicy,
    *,
    policy: Policy | None = None,
    volumes: Path | None = None,
    at: datetime | None = None,
    cancellation: Cancellation | None = None,
) -> Verified:
    """The bundle at `path`, once all of it is what `trust` demands; the caller closes it.

    In this order: VOLUMES.sha256 (default: beside the tar) is signed as `require.bundle` says and names the tar's
    digest; SHA256SUMS inside is signed the same way and lists every other file, each with its bytes; the documents are
    whole and say the same everywhere; the programs pass `require.linkage` and `policy` (`scratch` if there is neither).
    `at` (now if None) is when keys and waivers must be valid. No network, no gpg.

    Raises `UsageError` without `require.bundle`, `IntegrityError` for a missing signature or anything that does not
    fit, `RefusedError` for the gate.
    """
    if trust.bundle is None:
        raise UsageError(
            f"{trust.name} says nothing of bundles", hint="add require: {bundle: {all: [openpgp.NAME]}} to it"
        )
    moment = at or datetime.now(UTC)
    promised = _promised(path, volumes or path.with_name(VOLUMES), trust.bundle, trust, moment)
    source = Sealed(path)
    try:
        if source.digest != promised:
            raise IntegrityError(f"{path} is {source.digest}, its signed list says {promised}", hint=_AGAIN)
        policies = [one for one in (trust.linkage, policy) if one is not None] or [SCRATCH]
        return _verified(source, trust.bundle, trust, policies, moment, cancellation or Cancellation())
    except BaseException:
        source.close()
        raise


def _promised(path: Path, volumes: Path, demand: Demand, trust: TrustPolicy, moment: datetime) -> Digest:
    """The digest of the tar that VOLUMES.sha256 promises, once its signature is found right."""
    listed = _beside(volumes, LIST_LIMIT)
    signature = _beside(volumes.with_name(volumes.name + SIGNATURE), MAX_SIGNATURE)
    check(demand, trust, listed, signature, name=str(volumes), at=moment)
    sums = read_sums(listed, str(volumes))
    if path.name not in sums:
        known = ", ".join(sorted(sums))
        raise IntegrityError(f"{volumes} lists {known}, not {path.name}", hint="give the file its own name back")
    return sums[path.name]


def _beside(path: Path, limit: int) -> bytes:
    if not path.exists():
        raise IntegrityError(
            f"{path} is missing: nobody says that these bytes are right",
            hint="copy VOLUMES.sha256 and VOLUMES.sha256.asc beside the bundle; make them with --openpgp FINGERPRINT",
        )
    with Opened(path) as opened:
        if opened.size > limit:
            raise IntegrityError(f"{path} has {opened.size} bytes, more than {limit}", hint=_AGAIN)
        return opened.read_at(0, limit)


def _verified(
    source: Sealed,
    demand: Demand,
    trust: TrustPolicy,
    policies: list[Policy],
    moment: datetime,
    cancellation: Cancellation,
) -> Verified:
    store = _fitting(source, lambda: TarStore(source, canonical(source)))
    signers = _fitting(source, lambda: _check_files(store, demand, trust, moment, cancellation))
    index = _fitting(source, lambda: decode_index(store.read_file("index.json", DOCUMENT_LIMIT)))
    images, document, hybrid, tree = _fitting(source, lambda: _documents(store, index))
    cancellation.check()
    reports = _fitting(source, lambda: judge_images(store, tree, images, policies, today=moment.date()))
    refuse(reports, str(source))
    return Verified(
        source=source,
        store=store,
        hybrid=hybrid,
        index=index,
        images=images,
        document=document,
        signers=signers,
        reports=reports,
    )


def _fitting(source: Sealed, step: Callable[[], T]) -> T:
    """The step's result; what cannot be, or be read, in a signed bundle is a broken promise, not a wrong argument."""
    try:
        return step()
    except (UnreadableError, UsageError) as error:
        raise IntegrityError(f"{source}: {error.message}", hint=error.hint or _AGAIN) from error


def _check_files(
    store: TarStore, demand: Demand, trust: TrustPolicy, moment: datetime, cancellation: Cancellation
) -> tuple[Signer, ...]:
    """Every file of the tar is in the signed list with these bytes, and nothing else is in the tar."""
    name = f"{SUMS} in {store}"
    for path in (SUMS, SUMS + SIGNATURE):
        if path not in store.members:
            raise IntegrityError(f"{store} holds no {path}", hint=_AGAIN)
    listed = store.read_file(SUMS, LIST_LIMIT)
    signature = store.read_file(SUMS + SIGNATURE, MAX_SIGNATURE)
    signers = check(demand, trust, listed, signature, name=name, at=moment)
    sums = read_sums(listed, name)
    differing = sorted((store.members.keys() ^ sums.keys()) - {SUMS, SUMS + SIGNATURE})
    if differing or SUMS in sums or SUMS + SIGNATURE in sums:
        raise IntegrityError(f"{name} and the tar differ in {', '.join(differing[:5]) or SUMS}", hint=_AGAIN)
    for path, digest in sums.items():
        cancellation.check()
        with store.open_file(path) as stream:
            found, _ = hash_stream(stream)
        if found != digest:
            raise IntegrityError(f"{path} in {store} holds bytes of {found}, not of {digest}", hint=_AGAIN)
        if path.startswith("blobs/") and path != blob_path(digest):
            raise IntegrityError(f"{path} in {store} is not named by its digest {digest}", hint=_AGAIN)
    return signers


def _documents(store: TarStore, index: Index) -> tuple[tuple[NamedImage, ...], BundleDocument, Hybrid, Tree]:
    """The images, once everything the tar says of them agrees.

    Index, docker's manifest.json, bundle.json and the set of blobs must be exactly what `plan` makes of these images:
    so an engine that reads only one of them gets what the others, and the gate, saw.
    """
    raw = store.read_file(DOCUMENT, DOCUMENT_LIMIT)
    document = _decoded(raw)
    images = _named_images(store, index)
    tree = walk(store, [image.descriptor for image in images])
    referrers = [entry for entry in index.manifests if REF_NAME not in entry.annotations]
    hybrid = plan(store, images, referrers=referrers, extra_files={DOCUMENT: raw})
    for path, content in hybrid.files.items():
        if store.read_file(path, DOCUMENT_LIMIT) != content:
            raise IntegrityError(f"{path} in {store} does not say what the images say", hint=_AGAIN)
    if hybrid.sums != store.read_file(SUMS, LIST_LIMIT):
        raise IntegrityError(f"{store} holds files that belong to no image", hint=_AGAIN)
    if describe(store, tree, images).images != document.images:
        raise IntegrityError(f"{DOCUMENT} in {store} does not say what the images say", hint=_AGAIN)
    return images, document, hybrid, tree


def _named_images(store: TarStore, index: Index) -> tuple[NamedImage, ...]:
    named = [entry for entry in index.manifests if REF_NAME in entry.annotations]
    if not named or any(CONTAINERD_NAME not in entry.annotations for entry in named):
        raise IntegrityError(f"index.json in {store} has no image, or one without a docker name", hint=_AGAIN)
    return tuple(
        NamedImage(entry, entry.annotations[REF_NAME], (entry.annotations[CONTAINERD_NAME],)) for entry in named
    )


def _decoded(raw: bytes) -> BundleDocument:
    try:
        return parse_json(raw, BundleDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"{DOCUMENT} is not one that this version reads: {error}", hint="use the imagekit that made it, or a newer"
        ) from error
