"""`imagekit image copy|inspect|validate|list|delete|explain`: images wherever they are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from imagekit.cli.options import Timeout
from imagekit.cli.stopping import SWITCH, limit_time
from imagekit.errors import IntegrityError, UsageError
from imagekit.text import json_of, line

if TYPE_CHECKING:
    from imagekit.oci.parcel import Parcel

_PLACES = "oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], docker:REF, podman:REF, HOST/REPO:TAG"
Source = Annotated[str, typer.Argument(metavar="SUBJECT", help=f"{_PLACES}, bundle:FILE[:NAME].")]
OnlyPlatforms = Annotated[
    list[str] | None,
    typer.Option("--platform", metavar="OS/ARCH", help="Only this platform's image; repeatable."),
]
Referrers = Annotated[
    bool, typer.Option("--referrers/--no-referrers", help="SBOMs, signatures and all that refers to the image too.")
]
Format = Annotated[str, typer.Option("--format", metavar="text|json", help="What stdout gets.")]


def copy(
    source: Source,
    to: Annotated[str, typer.Argument(metavar="TO", help=f"{_PLACES}.")],
    platform: OnlyPlatforms = None,
    referrers: Referrers = True,
    form: Format = "text",
    timeout: Timeout = None,
) -> None:
    """Copy an image, its digest kept, with what refers to it; what is there already is not moved again.

    Prints the word for it there, with its digest; for an engine, the engine's id.
    """
    from imagekit.oci.sending import send
    from imagekit.oci.words import parse

    limit_time(timeout)
    _check_format(form)
    with ExitStack() as opened:
        parcel = _opened(source, opened, platform, referrers=referrers)
        sent = send(parcel, parse(to), SWITCH)
    if form == "json":
        from imagekit.oci.reports import CopiedImage, CopyDocument

        _print(CopyDocument(images=tuple(CopiedImage(one.image, one.name or None, one.digest) for one in sent)))
        return
    for one in sent:
        print(line(one.where))


def inspect(subject: Source, referrers: Referrers = True, timeout: Timeout = None) -> None:
    """Print an image's manifests, configurations, layers and referrers as JSON; no layer is read."""
    from imagekit.oci.inspecting import inspect
    from imagekit.oci.reports import InspectDocument

    limit_time(timeout)
    with ExitStack() as opened:
        _print(InspectDocument(images=inspect(_opened(subject, opened, referrers=referrers))))


def validate(subject: Source, referrers: Referrers = True, form: Format = "text", timeout: Timeout = None) -> None:
    """Read an image whole: every digest, every layer's diff id, every platform. Exit 5: a promise is not kept."""
    from imagekit.oci.looking import examine
    from imagekit.oci.reports import ValidateDocument

    limit_time(timeout)
    _check_format(form)
    with ExitStack() as opened:
        checked = tuple(examine(_opened(subject, opened, referrers=referrers), SWITCH))
    broken = [sentence for check in checked for sentence in check.broken]
    if form == "json":
        _print(ValidateDocument(image=subject, valid=not broken, checked=checked))
    for check in checked:
        if not check.read:
            print(line(f"{check.digest} is not distributed with its image, and was not looked at"), file=sys.stderr)
    for sentence in broken:
        print(line(sentence), file=sys.stderr)
    if broken:
        counted = "a promise" if len(broken) == 1 else f"{len(broken)} promises"
        raise IntegrityError(f"{line(subject)} breaks {counted}", hint="make it or fetch it again")


def list_(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE",
            help="oci:DIR, oci-archive:FILE, docker-archive:FILE, bundle:FILE, HOST/REPO; or one image.",
        ),
    ],
    form: Format = "text",
    timeout: Timeout = None,
) -> None:
    """List the images of a layout or archive (name and digest), or the tags of a repository."""
    from imagekit.oci.listing import listed
    from imagekit.oci.reports import ListDocument
    from imagekit.oci.words import Kind, parse

    limit_time(timeout)
    _check_format(form)
    word = parse(place)
    with ExitStack() as opened:
        images = listed(word, opened, SWITCH, digests=form == "json")
    if form == "json":
        _print(ListDocument(images=images))
        return
    for image in images:
        told = image.name or "-"
        print(line(told if word.kind is Kind.REGISTRY else f"{told} {image.digest}"))


def delete(
    subject: Annotated[str, typer.Argument(metavar="IMAGE", help="oci:DIR:NAME, or HOST/REPO:TAG or @sha256:….")],
    timeout: Timeout = None,
) -> None:
    """Delete an image from a layout, with every blob that no other needs, or a tag or a digest from a registry.

    A digest takes all its tags along, and what refers to it. Prints the image's digest.
    """
    from imagekit.oci.choosing import name_in
    from imagekit.oci.places import Place
    from imagekit.oci.reference import Reference
    from imagekit.oci.removing import from_layout, from_registry
    from imagekit.oci.words import Kind, parse

    limit_time(timeout)
    word = parse(subject)
    if word.kind is Kind.REGISTRY:
        reference = Reference.parse(subject)
        removed = from_registry(reference, SWITCH)
        print(removed.digest)
        print(f"deleted: {', '.join(f'{reference.name}:{tag}' for tag in removed.tags)}", file=sys.stderr)
        return
    place = Place.parse(word.rest)
    if word.kind is not Kind.OCI or not (place.name or place.digest):
        raise UsageError(f"{subject!r} cannot be deleted", hint="write oci:DIR:NAME, or HOST/REPO:TAG")
    removed = from_layout(place.path, name_in(place), SWITCH)
    print(removed.digest)
    print(f"{removed.freed} bytes are free", file=sys.stderr)


def explain(subject: Source, platform: OnlyPlatforms = None, form: Format = "text", timeout: Timeout = None) -> None:
    """Say of every file in an image which layer it is in and why, as the image's history tells."""
    from imagekit.content import canonical_json
    from imagekit.oci.looking import explain, layered, left_out

    limit_time(timeout)
    _check_format(form)
    with ExitStack() as opened:
        parcel = _opened(subject, opened, platform, referrers=False)
        for image in parcel.images:
            for one in layered(parcel.store, image.descriptor):
                for digest in left_out(parcel.store, one):
                    print(line(f"{digest} is not distributed with its image: nothing is known of it"), file=sys.stderr)
                for found in explain(parcel.store, one):
                    SWITCH.check()
                    where = f"{image.ref_name}:{one.config.platform}"
                    if form == "json":
                        sys.stdout.write(json_of({"image": where, "entry": found}, canonical_json).decode() + "\n")
                    else:
                        why = ": ".join(filter(None, (found.created_by, found.why)))
                        print(
                            line(f"{where} {found.mode} {found.owner} {found.path}  {why or 'its history is silent'}")
                        )


def _check_format(form: str) -> None:
    from imagekit.cli.asking import choice

    choice("--format", form, ("text", "json"))


def _print(document: object) -> None:
    from imagekit.content import readable_json

    sys.stdout.write(json_of(document, readable_json).decode())


def _opened(subject: str, opened: ExitStack, platforms: Sequence[str] | None = None, *, referrers: bool) -> Parcel:
    from imagekit.oci.opening import open_parcel
    from imagekit.oci.words import parse
    from imagekit.platform import Platform

    wanted = [Platform.parse(platform) for platform in platforms or ()]
    parcel = open_parcel(parse(subject), opened, SWITCH, referrers=referrers)
    if not wanted:
        return parcel
    from imagekit.oci.narrowing import only_platforms

    return only_platforms(parcel, wanted)
