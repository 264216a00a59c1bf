"""trust.yaml: who must have said what before anything is believed. `load` touches disk.

Roots come from the operator's files, named relative to trust.yaml, never from what is verified. What this version
cannot check is refused when the file is read: a requirement is never passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from imagekit.audit import policy as audit_policy
from imagekit.audit.policy import Policy
from imagekit.errors import ConfigError, IntegrityError
from imagekit.loading import Loaded, Mistake, Way, load_document
from imagekit.trust.openpgp import Certificate, Signer, read_certificates, verify


class Roots(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files with public keys, by the name that a requirement calls them."""

    keys: dict[str, str] = {}
    openpgp: dict[str, str] = {}
    sigstore: dict[str, str] = {}


class Demand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who must have signed: each of `all`, and at least `threshold` (1) of `any`; written `openpgp.release`."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    threshold: int | None = None

    @property
    def needed(self) -> int:
        """How many of `any` it takes."""
        return (self.threshold or 1) if self.any else 0


class Require(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold of each kind of thing; None and '' where nothing is demanded."""

    bundle: Demand | None = None
    linkage: str = ""
    image: Demand | None = None
    provenance: dict[str, str] | None = None
    transparency: Literal["none", "log", "log+time"] = "none"


class TrustDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """trust.yaml as it is written (docs/air-gap.md)."""

    version: Literal[1]
    roots: Roots = Roots()
    require: Require = Require()
    repositories: dict[str, dict[str, str]] = {}
    minimum: dict[str, str] = {}


class TrustPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """trust.yaml with its keys read: `roots` by name (`openpgp.release`), `linkage` the policy to judge binaries by."""

    name: str
    bundle: Demand | None = None
    roots: Mapping[str, tuple[Certificate, ...]] = {}
    linkage: Policy | None = None


def load(path: Path) -> TrustPolicy:
    """The trust policy in a file, with every key it needs.

    Raises `ConfigError` with every mistake, each with its line: an unknown root, a threshold that cannot be met, a
    missing key file, one key behind two names, and whatever this version cannot check.
    """
    loaded = load_document(path, TrustDocument)
    require = loaded.value.require
    mistakes = [loaded.marks.mistake(way, message, hint) for way, message, hint in _mistakes(loaded.value)]
    roots, unreadable = _read_roots(loaded, path.parent)
    mistakes += [*unreadable, *_twins(loaded, roots)]
    if mistakes:
        raise loaded.marks.refusal(mistakes)
    linkage = audit_policy.load(require.linkage, beside=path.parent) if require.linkage else None
    return TrustPolicy(name=str(path), bundle=require.bundle, roots=roots, linkage=linkage)


def check(
    demand: Demand, trust: TrustPolicy, content: bytes, signature: bytes, *, name: str, at: datetime | None = None
) -> tuple[Signer, ...]:
    """Everyone whose valid signature of `content` counts, once they are all that `demand` asks for.

    `name` is what an error calls the signed file. Raises `IntegrityError` that says whose signature is missing.
    """
    named = {root: trust.roots[root] for root in (*demand.all, *demand.any)}
    everyone = tuple({one.fingerprint: one for keys in named.values() for one in keys}.values())
    signers = verify(content, signature, everyone, name=name, at=at)
    signed = {signer.certificate for signer in signers}
    fulfilled = {root for root, keys in named.items() if any(one.fingerprint in signed for one in keys)}
    missing = [root for root in demand.all if root not in fulfilled]
    few = sum(root in fulfilled for root in demand.any) < demand.needed
    if missing or few:
        wanted = [*missing, *([f"{demand.needed} of {', '.join(demand.any)}"] if few else [])]
        raise IntegrityError(
            f"{name} is not signed by {' and '.join(wanted)}; it is by {', '.join(sorted(signed))}",
            hint=f"{trust.name} demands it: get a bundle with all signatures from who made it",
        )
    return signers


# --- what cannot stand in trust.yaml ------------------------------------------------------------------------------

_LATER = "take it out for this command, or use a version of imagekit that checks it"


def _mistakes(document: TrustDocument) -> Iterator[tuple[Way, str, str]]:
    yield from _uncheckable(document)
    demand = document.require.bundle
    if demand is None:
        return
    way: Way = ("require", "bundle")
    if not demand.all and not demand.any:
        yield way, "`require.bundle` demands no signature", "write all: [openpgp.NAME]"
    if demand.threshold is not None and not 1 <= demand.threshold <= len(demand.any):
        yield (*way, "threshold"), f"{demand.threshold} of the {len(demand.any)} in `any` can never be", ""
    for key, roots in (("all", demand.all), ("any", demand.any)):
        for number, root in enumerate(roots):
            if unfit := _unfit(root, roots[:number], document.roots):
                yield (*way, key, number), unfit, f"known roots: {', '.join(_known(document.roots)) or 'none'}"


def _uncheckable(document: TrustDocument) -> Iterator[tuple[Way, str, str]]:
    require = document.require
    found: tuple[tuple[Way, bool], ...] = (
        (("require", "image"), require.image is not None),
        (("require", "provenance"), require.provenance is not None),
        (("require", "transparency"), require.transparency != "none"),
        (("repositories",), bool(document.repositories)),
        (("minimum",), bool(document.minimum)),
    )
    for way, demanded in found:
        if demanded:
            yield way, f"this version cannot check `{'.'.join(map(str, way))}`", _LATER


def _unfit(root: str, before: tuple[str, ...], roots: Roots) -> str:
    kind, _, name = root.partition(".")
    if root in before:
        return f"{root!r} stands here twice"
    if kind in ("keys", "sigstore"):
        return f"this version cannot check {root!r}, only openpgp roots"
    return "" if kind == "openpgp" and name in roots.openpgp else f"there is no root {root!r}"


def _known(roots: Roots) -> list[str]:
    return [f"openpgp.{name}" for name in sorted(roots.openpgp)]


def _read_roots(
    loaded: Loaded[TrustDocument], beside: Path
) -> tuple[dict[str, tuple[Certificate, ...]], list[Mistake]]:
    """Every OpenPGP root, by the name that requirements use, and what is wrong with their files."""
    roots: dict[str, tuple[Certificate, ...]] = {}
    mistakes: list[Mistake] = []
    for name, file in loaded.value.roots.openpgp.items():
        try:
            roots[f"openpgp.{name}"] = read_certificates(beside / file)
        except ConfigError as error:
            mistakes.append(loaded.marks.mistake(("roots", "openpgp", name), error.message, error.hint))
    return roots, mistakes


def _twins(loaded: Loaded[TrustDocument], roots: Mapping[str, tuple[Certificate, ...]]) -> Iterator[Mistake]:
    """One key behind two names would make one signer count as two."""
    first: dict[str, str] = {}
    for root, certificates in roots.items():
        for one in certificates:
            if first.setdefault(one.fingerprint, root) != root:
                way: Way = ("roots", "openpgp", root.removeprefix("openpgp."))
                message = f"{one.fingerprint} is {first[one.fingerprint]} already"
                yield loaded.marks.mistake(way, message, "give each root a key of its own")
