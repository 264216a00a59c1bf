"""SUBJECT: where an argument says that a file or image is (docs/copying.md). Looks at the disk for paths only."""

from __future__ import annotations

import os
from enum import StrEnum

import msgspec

from imagekit.errors import UnreadableError, UsageError


class Kind(StrEnum):
    """Where a subject is."""

    PATH = "path"
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"
    BUNDLE = "bundle"
    DOCKER_ARCHIVE = "docker-archive"
    DOCKER = "docker"
    PODMAN = "podman"
    REGISTRY = "registry"


class Word(msgspec.Struct, frozen=True):
    """One argument: its kind, and what stands behind the colon (all of it for a path or a registry reference)."""

    kind: Kind
    rest: str
    text: str


_PREFIXED = tuple(kind for kind in Kind if kind not in (Kind.PATH, Kind.REGISTRY))
_KINDS = (
    "a path, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], bundle:FILE[:NAME], docker:REF, "
    "podman:REF, HOST/REPO:TAG"
)


def parse(text: str) -> Word:
    """What the argument means; raises `UsageError` for none of the kinds, `UnreadableError` for a path not there.

    A prefix wins; then what is on the disk is a path; then what begins with a host (a dot, a colon, `localhost`) is a
    reference to a registry. A file called `oci:x` is `./oci:x`.
    """
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _PREFIXED:
        if not rest:
            raise UsageError(f"{text!r} names nothing behind the colon", hint=f"write {_KINDS}")
        if prefix in (Kind.DOCKER, Kind.PODMAN):
            _check_account(rest)
        return Word(Kind(prefix), rest, text)
    if not text or os.path.lexists(text):
        return _path(text)
    if _begins_with_host(text):
        _check_reference(text)
        return Word(Kind.REGISTRY, text, text)
    if ":" in text.partition("@")[0]:  # a path may have an @, as Go's modules do
        _check_account(text)
    raise UnreadableError(f"{text!r} is not there", hint=f"{_on_the_hub(text)}a subject is {_KINDS}")


def _on_the_hub(text: str) -> str:
    """The whole name of an image that docker would look for at its own registry, for what has a tag or a digest."""
    from imagekit.oci.reference import Reference

    try:
        named = Reference.parse(text)
    except UsageError:
        return ""
    return f"if it is an image of Docker's registry, write {named}; " if named.tag or named.digest else ""


def _path(text: str) -> Word:
    if not text:
        raise UsageError("a subject is empty", hint=f"write {_KINDS}")
    return Word(Kind.PATH, text, text)


def _check_account(text: str) -> None:
    from imagekit.oci.reference import refuse_account

    refuse_account(text)


def _check_reference(text: str) -> None:
    from imagekit.oci.reference import Reference

    Reference.parse(text)


def _begins_with_host(text: str) -> bool:
    first, slash, _ = text.partition("/")
    return bool(slash) and not first.startswith(".") and (first == "localhost" or bool(set(first) & set(".:")))
