"""Where an image is kept in a registry: `host[:port]/repository[:tag][@digest]`, read as docker reads it."""

from __future__ import annotations

import ipaddress
import re
from typing import Self

import msgspec

from imagekit.content import Digest
from imagekit.errors import UsageError

_LIMIT = 512
_NAME_LIMIT = 255
"""Characters of host and repository together (distribution, reference.NameTotalLengthMax)."""

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?P<name>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]{{2,39}}\])(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST_LIKE = re.compile(r"@(?:sha[0-9]{1,3}|md5|blake[0-9a-z]{1,3}):[^@]*\Z", re.ASCII)
LOCAL = "imagekit.local"
"""The host in docker's name of an image that has no repository."""
_HUB, _HUB_API, _HUB_OLD = "docker.io", "registry-1.docker.io", "index.docker.io"


class Reference(msgspec.Struct, frozen=True, order=True):
    """A repository, and in it a tag, a digest, both (the digest counts) or neither."""

    host: str
    repository: str
    tag: str = ""
    digest: Digest = Digest("")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference; raise `UsageError` for anything else.

        As docker has it: what stands before the first slash is a host if it has a dot, a colon or an upper-case letter,
        or is `localhost`; else the host is docker.io, and a repository of one word there is `library/word`.
        """
        if len(text) > _LIMIT or "://" in text:
            raise _refused(text, "write host/repository:tag, without https://")
        rest, at, digest = text.partition("@")
        host, rest = _split_host(rest, text)
        repository, _, tag = rest.partition(":")
        if host == _HUB and "/" not in repository:
            repository = f"library/{repository}"
        if at and not digest.startswith("sha256:") and _DIGEST_LIKE.search(text):
            raise _refused(text, f"only sha256 digests are read, not {digest.partition(':')[0]}: name a tag")
        if (at and not _DIGEST.fullmatch(digest)) or (":" in rest and not _TAG.fullmatch(tag)):
            raise _refused(text, "a tag is at most 128 of [A-Za-z0-9_.-], a digest sha256: and 64 hex digits")
        _check_repository(host, repository, text)
        return cls(host, repository, tag, Digest(digest))

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def name(self) -> str:
        """`host/repository`."""
        return f"{self.host}/{self.repository}"

    @property
    def target(self) -> str:
        """What the registry is asked for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    @property
    def api_host(self) -> str:
        """`host[:port]` that answers the distribution API."""
        return _HUB_API if self.host == _HUB else self.host

    def at(self, digest: Digest) -> Reference:
        """The same repository at a digest: the name that never changes its meaning."""
        return Reference(self.host, self.repository, digest=digest)


def destination(text: str) -> Reference:
    """Where a push goes: a repository, with or without a tag; raise `UsageError` for anything else."""
    to = Reference.parse(text)
    if to.digest:
        raise UsageError(f"--push {text}: a digest is what a push gives, not where it goes", hint="name a tag")
    return to


def is_tag(text: str) -> bool:
    """Whether it can be a tag (distribution spec 1.1, pulling manifests)."""
    return bool(_TAG.fullmatch(text))


def check_tag(tag: str) -> str:
    """`tag`, if it can be one; raise `UsageError` otherwise."""
    if not is_tag(tag):
        raise UsageError(
            f"{tag[:_LIMIT]!r} cannot be a tag", hint="use at most 128 of [A-Za-z0-9_.-], not . or - first"
        )
    return tag


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine by its name alone: `localhost`, 127.0.0.0/8, `[::1]`."""
    name = host_name(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def host_name(host: str) -> str:
    """`host` without port and brackets, in lower case."""
    found = _HOST.fullmatch(host)
    return (found["name"] if found else host).strip("[]").lower()


def _split_host(rest: str, text: str) -> tuple[str, str]:
    first, slash, after = rest.partition("/")
    if not slash or not (first == "localhost" or set(first) & set(".:") or first != first.lower()):
        return _HUB, rest
    found = _HOST.fullmatch(first)
    if not found or (found["port"] and not 0 < int(found["port"]) < 65536):
        raise _refused(text, f"{first[:_LIMIT]!r} is not a host with an optional port")
    return (_HUB if first == _HUB_OLD else first), after


def _check_repository(host: str, repository: str, text: str) -> None:
    if len(host) + 1 + len(repository) > _NAME_LIMIT:
        raise _refused(text, f"host and repository have at most {_NAME_LIMIT} characters")
    if not all(_COMPONENT.fullmatch(part) for part in repository.split("/")):
        raise _refused(text, "a repository is lower-case words with single . _ or - between, divided by slashes")


def without_account(text: str) -> str:
    """`text` for messages: what stands before an `@` that begins no digest may be somebody's password."""
    digest = _DIGEST_LIKE.search(text)
    name, mark = (text[: digest.start()], text[digest.start() :]) if digest else (text, "")
    scheme = next((each for each in ("https://", "http://") if name.startswith(each)), "")
    account, at, host = name.removeprefix(scheme).rpartition("@")
    return f"{scheme}…@{host}{mark}" if at and account else text


def refuse_account(text: str) -> None:
    """Raise `UsageError`, which does not show it, if there is a user or a password in `text`."""
    if without_account(text) != text:
        raise _refused(text, "")


def _refused(text: str, hint: str) -> UsageError:
    shown = without_account(text)
    if shown != text:
        hint = "write it without user and password: `imagekit login` keeps them"
    return UsageError(f"{shown[:_LIMIT]!r} is not an image reference", hint=hint)
