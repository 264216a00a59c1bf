"""What is written on an image: the `org.opencontainers.image.*` keys and imagekit's own, as labels and annotations."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import msgspec

from imagekit.content import Digest
from imagekit.errors import ConfigError
from imagekit.image.recipe import Recipe

_OCI = "org.opencontainers.image."
MODULE = "imagekit.module"
MODULE_VERSION = "imagekit.module.version"
MODULE_SUM = "imagekit.module.h1"
"""For a published module: Go's build info says `(devel)` there, so the image says what was built."""

_LATEST = 253402300799
"""9999-12-31T23:59:59Z, the last second that RFC 3339 can spell."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the programs of an image come from; '' for what is not known."""

    version: str = ""
    revision: str = ""
    source: str = ""
    module: str = ""
    module_version: str = ""
    module_sum: str = ""


def timestamp(epoch: int) -> str:
    """Seconds since 1970 in RFC 3339, UTC; raises `ConfigError` for a year that it cannot spell."""
    if not 0 <= epoch <= _LATEST:
        raise ConfigError(f"{epoch} is not a time between 1970 and 9999", hint="look at SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def source_date_epoch(text: str | None) -> int | None:
    """What SOURCE_DATE_EPOCH says, in seconds since 1970 (reproducible-builds.org/specs/source-date-epoch).

    None where it is not set, or empty; raises `ConfigError` for what is no number.
    """
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH={text!r} is not a number of seconds", hint="unset it, or write e.g. 1700000000"
        )
    return int(text)


def annotations_of(recipe: Recipe, name: str, origin: Origin, created: int) -> dict[str, str]:
    """Annotations for the index and for every manifest; the recipe's own win."""
    return _known(name, origin, created) | recipe.annotations


def labels_of(recipe: Recipe, name: str, origin: Origin, created: int) -> dict[str, str]:
    """The same for the configuration, where engines show them; the recipe's own win."""
    return _known(name, origin, created) | recipe.labels


def _known(name: str, origin: Origin, created: int) -> dict[str, str]:
    said = {
        _OCI + "created": timestamp(created),
        _OCI + "title": name,
        _OCI + "version": origin.version,
        _OCI + "revision": origin.revision,
        _OCI + "source": without_credentials(origin.source),
        MODULE: origin.module,
        MODULE_VERSION: origin.module_version,
        MODULE_SUM: origin.module_sum,
    }
    return {key: value for key, value in sorted(said.items()) if value}


def based_on(name: str, digest: Digest) -> dict[str, str]:
    """What a manifest says of its base (image-spec annotations.md): `digest` is that of the manifest below it.

    `name` is a registry's reference, '' for a base that has none.
    """
    return {_OCI + "base.digest": digest} | ({_OCI + "base.name": name} if name else {})


def without_credentials(source: str) -> str:
    """A repository's address without user name and password: images are read by people who must not have them."""
    try:
        parts = urlsplit(source)
    except ValueError:
        return ""
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return source
    kept = f"{user.partition(':')[0]}@{host}" if "ssh" in parts.scheme else host
    return urlunsplit(parts._replace(netloc=kept))
