"""What a registry lists: tags, and what refers to an image, page by page. Touches the network.

Referrers stand in the referrers API, else in the list under the fallback tag, which is kept here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from urllib.parse import urlencode

import msgspec

from imagekit.content import Digest, digest_of, parse_json
from imagekit.errors import NetworkError, UnreadableError
from imagekit.oci import referrers
from imagekit.oci.addresses import origin, shown_url
from imagekit.oci.answers import StatusError, drain
from imagekit.oci.blobs import MissingBlobError
from imagekit.oci.documents import DOCUMENT_LIMIT, INDEX, Descriptor, Index, encode
from imagekit.oci.endpoint import Endpoint
from imagekit.oci.manifests import Manifests
from imagekit.oci.reference import is_tag
from imagekit.text import line

_PAGES = 1000
_PAGE = 1000
_NEXT = re.compile(r'<([^<>]{1,4096})>\s*;[^<,]*\brel="?next"?', re.IGNORECASE)
_NO_API = (400, 404, 405, 501)
_ATTEMPTS = 5


def tags(endpoint: Endpoint) -> tuple[str, ...]:
    """All tags, in the registry's order; raises `MissingBlobError` for a repository that is not there."""
    found: list[str] = []
    for raw, _ in _pages(endpoint, f"tags/list?{urlencode({'n': _PAGE})}", "the list of tags"):
        try:
            found += parse_json(raw, _Tags).tags or ()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableError(f"{endpoint}: the list of tags: {line(str(error))[:200]}") from error
    return tuple(dict.fromkeys(filter(is_tag, found)))


class Referrers:
    """The lists of what refers to the images of a repository."""

    def __init__(self, endpoint: Endpoint, manifests: Manifests) -> None:
        self._endpoint, self._manifests = endpoint, manifests

    def of(self, digest: Digest) -> tuple[Descriptor, ...]:
        """What has `digest` as its subject, each once; it is learnt where each is kept."""
        entries = self._listed(digest)
        if entries is None:
            entries = self._fallback(digest)
        for each in entries:
            self._manifests.learn(each)
        return tuple({each.digest: each for each in entries}.values())

    def enter(self, raw: bytes, descriptor: Descriptor) -> None:
        """List a referrer under the fallback tag, if the registry has no API; nothing for what has no subject."""
        found = referrers.entry_of(raw, descriptor)
        if found is not None and self._listed(found[0].digest) is None:
            subject, shown = found
            self._change(subject.digest, lambda entries: referrers.added(entries, shown), descriptor.digest, True)

    def strike(self, raw: bytes, descriptor: Descriptor) -> None:
        """The opposite of `enter`."""
        found = referrers.entry_of(raw, descriptor)
        if found is not None and self._listed(found[0].digest) is None:
            digest = descriptor.digest
            self._change(found[0].digest, lambda entries: referrers.removed(entries, digest), digest, False)

    def _listed(self, digest: Digest) -> tuple[Descriptor, ...] | None:
        """What the referrers API lists; None where there is none."""
        entries: list[Descriptor] = []
        try:
            for raw, headers in _pages(self._endpoint, f"referrers/{digest}", f"the referrers of {digest}"):
                if headers.get("Content-Type", "").partition(";")[0].strip() != INDEX:
                    return None
                entries += referrers.read_list(raw)
                if len(entries) > referrers.LIMIT:
                    raise UnreadableError(f"{self._endpoint}: {digest} has more than {referrers.LIMIT} referrers")
        except MissingBlobError:
            return None
        except StatusError as error:
            if error.status in _NO_API:
                return None
            raise
        return tuple(entries)

    def _fallback(self, digest: Digest) -> tuple[Descriptor, ...]:
        tag = referrers.fallback_tag(digest)
        try:
            raw, media_type = self._manifests.read(tag)
        except MissingBlobError:
            return ()
        if media_type != INDEX:
            raise UnreadableError(f"{self._endpoint}: {tag} is {media_type}, not a list of referrers")
        return referrers.read_list(raw)

    def _change(
        self, subject: Digest, change: Callable[[tuple[Descriptor, ...]], Index], digest: Digest, there: bool
    ) -> None:
        """Write the list under the fallback tag anew until `digest` is in it (or is not): others may write it too."""
        tag = referrers.fallback_tag(subject)
        for _ in range(_ATTEMPTS):
            entries = self._fallback(subject)
            if (digest in {each.digest for each in entries}) is there:
                return
            raw = encode(change(entries))
            self._manifests.put(tag, raw, Descriptor(INDEX, digest_of(raw), len(raw)))
        raise NetworkError(
            f"{self._endpoint}: the list of referrers under {tag} is being changed by others too",
            hint="run the same command again",
        )


def _pages(endpoint: Endpoint, path: str, what: str) -> Iterator[tuple[bytes, Mapping[str, str]]]:
    """The bodies and headers of a list that goes on under `Link`; bounded in pages and bytes."""
    url, seen, left = f"{endpoint.url}/{path}", set[str](), 8 * DOCUMENT_LIMIT
    while url not in seen and len(seen) < _PAGES and left > 0:
        seen.add(url)
        raw, headers = endpoint.patiently(partial(_page, endpoint, url, what))
        if len(raw) > DOCUMENT_LIMIT:
            raise UnreadableError(f"{endpoint}: {what} has a page of more than {DOCUMENT_LIMIT} bytes")
        left -= len(raw)
        yield raw, headers
        found = _NEXT.search(headers.get("Link", ""))
        if found is None:
            return
        following = endpoint.moved(url, found[1], what)
        if origin(following) != origin(endpoint.url):
            raise NetworkError(f"{endpoint}: {what} goes on at {shown_url(following)}, which is another host")
        url = following
    raise UnreadableError(f"{endpoint}: {what} does not end")


def _page(endpoint: Endpoint, url: str, what: str) -> tuple[bytes, Mapping[str, str]]:
    answer = endpoint.send("GET", url, {"Accept": f"{INDEX}, application/json"}, what=what)
    return drain(answer, DOCUMENT_LIMIT + 1, f"{endpoint}: {what}"), answer.headers


class _Tags(msgspec.Struct):
    tags: list[str] | None = None
