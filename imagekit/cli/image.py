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
from imagekit.text import line

if TYPE_CHECKING:
    from imagekit.oci.opening import Parcel

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
    timeout: Timeout = None,
) -> None:
    """Copy an image, its digest kept, with what refers to it; what is there already is not moved again.

    Prints the word for it there, with its digest; for an engine, the engine's id.
    """
    from imagekit.oci.sending import send
    from imagekit.oci.words import parse

    limit_time(timeout)
    with ExitStack() as opened:
        parcel = _opened(source, opened, platform, referrers=referrers)
        for sent in send(parcel, parse(to), SWITCH):
            print(line(sent.where))


def inspect(subject: Source, referrers: Referrers = True, timeout: Timeout = None) -> None:
    """Print an image's manifests, configurations, layers and referrers as JSON; no layer is read."""
    from imagekit.content import readable_json
    from imagekit.oci.looking import inspect

    limit_time(timeout)
    with ExitStack() as opened:
        sys.stdout.write(readable_json(inspect(_opened(subject, opened, referrers=referrers))).decode())


def validate(subject: Source, referrers: Referrers = True, timeout: Timeout = None) -> None:
    """Read an image whole: every digest, every layer's diff id, every platform. Exit 5: a promise is not kept."""
    from imagekit.oci.looking import validate

    limit_time(timeout)
    with ExitStack() as opened:
        broken = list(validate(_opened(subject, opened, referrers=referrers), SWITCH))
    for sentence in broken:
        print(line(sentence), file=sys.stderr)
    if broken:
        raise IntegrityError(f"{line(subject)} breaks {len(broken)} promises", hint="make it or fetch it again")


def list_(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="oci:DIR, oci-archive:FILE, bundle:FILE, HOST/REPO.")],
    timeout: Timeout = None,
) -> None:
    """List the images of a layout or archive (name and digest), or the tags of a repository."""
    from imagekit.oci.words import Kind, parse

    limit_time(timeout)
    word = parse(place)
    if word.kind is Kind.REGISTRY:
        from imagekit.oci.reference import Reference
        from imagekit.oci.registry import connected

        with connected(Reference.parse(place), cancellation=SWITCH) as repository:
            for tag in repository.tags():
                print(line(tag))
        return
    with ExitStack() as opened:
        for image in _opened(place, opened, referrers=False).images:
            print(line(f"{image.ref_name} {image.descriptor.digest}"))


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
    from imagekit.cli.asking import choice
    from imagekit.content import canonical_json
    from imagekit.oci.looking import explain, layered

    limit_time(timeout)
    choice("--format", form, ("text", "json"))
    with ExitStack() as opened:
        parcel = _opened(subject, opened, platform, referrers=False)
        for image in parcel.images:
            for one in layered(parcel.store, image.descriptor):
                for found in explain(parcel.store, one):
                    SWITCH.check()
                    where = f"{image.ref_name}:{one.config.platform}"
                    if form == "json":
                        sys.stdout.write(canonical_json({"image": where, "entry": found}).decode() + "\n")
                    else:
                        why = ": ".join(filter(None, (found.created_by, found.why)))
                        print(
                            line(f"{where} {found.mode} {found.owner} {found.path}  {why or 'its history is silent'}")
                        )


def _opened(subject: str, opened: ExitStack, platforms: Sequence[str] | None = None, *, referrers: bool) -> Parcel:
    from imagekit.oci.narrowing import only_platforms
    from imagekit.oci.opening import open_parcel
    from imagekit.oci.words import parse
    from imagekit.platform import Platform

    wanted = [Platform.parse(platform) for platform in platforms or ()]
    return only_platforms(open_parcel(parse(subject), opened, SWITCH, referrers=referrers), wanted)
