"""A repository in a registry, as a blob store (OCI distribution spec 1.1). Touches the network through `Transport`.

Where a digest is kept, under `manifests/` or `blobs/`, is learnt from the descriptors and documents that pass.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from imagekit.content import CHUNK, Digest, Readable, digest_of, hash_stream, parse_digest
from imagekit.errors import IntegrityError, NetworkError, UnreadableError
from imagekit.oci import referrers as lists
from imagekit.oci.addresses import origin, shown_url
from imagekit.oci.answers import PassingError, StatusError, drain, failure
from imagekit.oci.authorization import Authorization
from imagekit.oci.blobs import MissingBlobError, VerifyingReader
from imagekit.oci.credentials import find_credentials
from imagekit.oci.documents import (
    DOCUMENT_LIMIT,
    INDEX,
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Index,
    decode_document,
    encode,
)
from imagekit.oci.reference import Reference, check_tag
from imagekit.oci.streams import Body
from imagekit.oci.transport import Transport
from imagekit.oci.uploads import OCTETS, Upload
from imagekit.text import line

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")
_TYPES = MANIFEST_TYPES | INDEX_TYPES
_ACCEPT = ", ".join(sorted(_TYPES))
_SPOOL = 1 << 20
_PAGES = 1000
_PAGE = 1000
_NEXT = re.compile(r'<([^<>]{1,4096})>\s*;[^<,]*\brel="?next"?', re.IGNORECASE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SIZE = re.compile(r"[0-9]{1,15}")
_LIST_ATTEMPTS = 5


class Repository:
    """One repository of one registry; safe for threads. Mirrors are asked first for what is read, while they answer."""

    def __init__(
        self, reference: Reference, transport: Transport, base: str, actions: str, mirrors: Sequence[Repository] = ()
    ) -> None:
        self.reference = reference
        self._transport, self._base, self._url = transport, base, f"{base}/v2/{reference.repository}"
        self._authorization = Authorization(
            transport,
            base,
            reference.repository,
            actions,
            lambda: find_credentials(reference.host),
            transport.registries.host(reference.host).token_hosts,
        )
        self._mirrors = list(mirrors)
        self._documents: dict[Digest, str] = {}
        self._absent: set[Digest] = set()
        self._uploads = f"{self._url}/blobs/uploads/"
        self._begun: dict[Digest, str] = {}

    def __str__(self) -> str:
        return self.reference.name

    # What it holds.

    def learn(self, descriptor: Descriptor, /) -> None:
        """Remember that this digest is kept under `manifests/`, if its media type says so (`blobs.Sorting`)."""
        if descriptor.is_document:
            self._documents[descriptor.digest] = descriptor.media_type
            for mirror in self._mirrors:
                mirror.learn(descriptor)

    def resolve(self, target: str = "") -> Descriptor:
        """What a tag or digest (none: the reference's own) stands for; raises `MissingBlobError` if it is not there."""
        target = target or self.reference.target
        found = self._mirrored(lambda mirror: mirror.resolve(target)) or self._resolved(target)
        self.learn(found)
        return found

    def has(self, digest: Digest, /) -> bool:
        where = "manifests" if digest in self._documents else "blobs"
        try:
            self._ask("HEAD", f"{where}/{digest}", {"Accept": self._documents.get(digest, "*/*")}).release_conn()
        except MissingBlobError:
            self._absent.add(digest)
            return False
        return True

    def open(self, digest: Digest, /) -> BinaryIO:
        """The blob's bytes; a connection that breaks off is taken up again where it did (`Range`)."""
        if found := self._mirrored(lambda mirror: mirror.open(digest)):
            return found
        if digest not in self._documents:
            with suppress(MissingBlobError):
                return self._body(digest)
        return io.BytesIO(self._document(digest)[0])

    def tags(self) -> tuple[str, ...]:
        """All tags, in the registry's order; raises `MissingBlobError` for a repository that is not there."""
        found: list[str] = []
        for raw, _ in self._pages(f"{self._url}/tags/list?{urlencode({'n': _PAGE})}", "the list of tags"):
            found += _read_json(raw, _Tags, f"{self}: the list of tags").tags or ()
        return tuple(dict.fromkeys(tag for tag in found if _can_be_tag(tag)))

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """The manifests that have `digest` as their subject, of one artifact type or of all; none is no error.

        From the referrers API, else from the fallback tag. Their descriptors are what the registry says: check what
        they name before it is believed.
        """
        entries = self._listed(digest, artifact_type)
        if entries is None:
            entries = self._fallback(digest)
        for each in entries:
            self.learn(each)
        return lists.chosen(entries, artifact_type)

    # What is put into it, and taken away.

    def add(self, stream: Readable, expected: Descriptor | None = None) -> tuple[Digest, int]:
        if expected is None:
            return self._add_unknown(stream)
        self.learn(expected)
        if expected.digest in self._absent or not self.has(expected.digest):
            if expected.is_document:
                self._add_document(_read_document(stream, expected), expected)
            else:
                self._upload(stream, expected)
            self._absent.discard(expected.digest)
        return expected.digest, expected.size

    def mount(self, source: object, blob: Descriptor, /) -> bool:
        """Whether the registry took the blob over from another repository of its own (`blobs.Mounting`).

        If it begins an upload instead, `add` goes on with that one.
        """
        if not isinstance(source, Repository) or source._base != self._base or blob.is_document:
            return False
        self._authorization.also(source.reference.repository)
        query = urlencode({"mount": blob.digest, "from": source.reference.repository})
        what = f"mount of blob {blob.digest} from {source.reference.repository}"
        try:
            answer = self._send(
                "POST", f"{self._uploads}?{query}", {"Content-Length": "0"}, wanted=(201, 202), what=what
            )
        except NetworkError:
            return False
        drain(answer)
        if answer.status == 202:
            if location := answer.headers.get("Location", ""):
                self._begun[blob.digest] = self._transport.moved(self._uploads, location)
            return False
        self._absent.discard(blob.digest)
        return True

    def tag(self, tag: str, raw: bytes, descriptor: Descriptor) -> None:
        """Point `tag` at the manifest or index `raw`, unless it points there already."""
        try:
            if self._resolved(check_tag(tag)).digest == descriptor.digest:
                return
        except (MissingBlobError, UnreadableError):
            pass
        self._put_document(tag, raw, descriptor)

    def list_referrer(self, raw: bytes, descriptor: Descriptor) -> None:
        """Make sure that a referrer that is there is listed too: on a registry without the API, under the fallback tag.

        `add` does so for what it puts; this is for what was there already, perhaps since a push that was cut short.
        """
        found = lists.entry_of(raw, descriptor)
        if found is None:
            return
        subject, shown = found
        entries = self._listed(subject.digest, "")
        if entries is None:
            self._change_list(subject.digest, lambda entries: lists.added(entries, shown), descriptor.digest, True)

    def delete(self, target: str) -> None:
        """Take a manifest or index (by digest) or a tag away; raises `MissingBlobError` if it is not there.

        A referrer leaves the list under the fallback tag too.
        """
        found = None
        if target.startswith("sha256:"):
            raw, media_type = self._document(target)
            found = lists.entry_of(raw, Descriptor(media_type, parse_digest(target), len(raw)))
        drain(self._ask("DELETE", f"manifests/{target}", {}, wanted=(202, 200, 204)))
        if found is not None and self._listed(found[0].digest, "") is None:
            digest = parse_digest(target)
            self._change_list(found[0].digest, lambda entries: lists.removed(entries, digest), digest, False)

    # Reading.

    def _mirrored(self, ask: Callable[[Repository], T]) -> T | None:
        """What the first mirror says that has it; one that does not answer is not asked again."""
        for mirror in tuple(self._mirrors):
            try:
                return ask(mirror)
            except MissingBlobError:
                continue
            except (NetworkError, UnreadableError, IntegrityError):
                with suppress(ValueError):
                    self._mirrors.remove(mirror)
        return None

    def _resolved(self, target: str) -> Descriptor:
        answer = self._ask("HEAD", f"manifests/{target}", {"Accept": _ACCEPT})
        answer.release_conn()
        media_type = _media_type(answer)
        digest, size = answer.headers.get("Docker-Content-Digest", ""), answer.headers.get("Content-Length", "")
        if not (_DIGEST.fullmatch(digest) and _SIZE.fullmatch(size) and media_type in _TYPES):
            raw, media_type = self._document(target)
            digest, size = digest_of(raw), str(len(raw))
        if target.startswith("sha256:") and target != digest:
            raise IntegrityError(f"{self}: asked for {target}, the registry has {line(digest)[:80]}")
        return Descriptor(media_type, parse_digest(digest), int(size))

    def _body(self, digest: Digest) -> BinaryIO:
        what = f"{self}: blob {digest}"

        def ask(wanted: str) -> BaseHTTPResponse:
            headers = {"Accept-Encoding": "identity"} | ({"Range": wanted} if wanted else {})
            statuses = (200, 206, 416) if wanted else (200,)
            return self._send("GET", f"{self._url}/blobs/{digest}", headers, wanted=statuses)

        return cast(BinaryIO, Body(ask, what, self._transport.patiently))

    def _document(self, target: str) -> tuple[bytes, str]:
        """Bytes and media type of a manifest or index; what it names is learnt."""
        raw, media_type = self._transport.patiently(lambda: self._fetched(target))
        if len(raw) > DOCUMENT_LIMIT:
            raise UnreadableError(f"{self}: manifest {target} has more than {DOCUMENT_LIMIT} bytes")
        if target.startswith("sha256:") and digest_of(raw) != target:
            raise IntegrityError(f"{self}: asked for {target}, the registry gave {digest_of(raw)}")
        media_type = self._documents.get(digest_of(raw)) or self._true_type(target, raw, media_type)
        try:
            children = decode_document(raw, media_type).children
        except UnreadableError as error:
            raise UnreadableError(f"{self}: {target}: {error.message}", hint=error.hint) from error
        for child in children:
            self.learn(child)
        return raw, media_type

    def _true_type(self, target: str, raw: bytes, said: str) -> str:
        """The media type that the registry says, else the one that the document has in itself."""
        if said in _TYPES:
            return said
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if (own := msgspec.json.decode(raw, type=_Typed).media_type) in _TYPES:
                return own
        raise UnreadableError(
            f"{self}: {target} is {line(said)[:80] or 'of no content type'}, no image manifest or index",
            hint="is this the address of a registry? A page of a proxy looks so too; old schema 1 images are not read",
        )

    def _fetched(self, target: str) -> tuple[bytes, str]:
        answer = self._send("GET", f"{self._url}/manifests/{target}", {"Accept": _ACCEPT})
        return drain(answer, DOCUMENT_LIMIT + 1), _media_type(answer)

    def _pages(self, url: str, what: str) -> Iterator[tuple[bytes, Mapping[str, str]]]:
        """The bodies and headers of a list that goes on under `Link`; bounded in pages and bytes."""
        seen: set[str] = set()
        left = 8 * DOCUMENT_LIMIT
        while url not in seen and len(seen) < _PAGES and left > 0:
            seen.add(url)
            raw, headers = self._transport.patiently(partial(self._page, url, what))
            if len(raw) > DOCUMENT_LIMIT:
                raise UnreadableError(f"{self}: {what} has a page of more than {DOCUMENT_LIMIT} bytes")
            left -= len(raw)
            yield raw, headers
            found = _NEXT.search(headers.get("Link", ""))
            if found is None:
                return
            following = self._transport.moved(url, found[1])
            if origin(following) != origin(self._url):
                raise NetworkError(f"{self}: {what} goes on at {shown_url(following)}, which is another host")
            url = following
        raise UnreadableError(f"{self}: {what} does not end")

    def _page(self, url: str, what: str) -> tuple[bytes, Mapping[str, str]]:
        answer = self._send("GET", url, {"Accept": f"{INDEX}, application/json"}, what=what)
        return drain(answer, DOCUMENT_LIMIT + 1), answer.headers

    def _listed(self, digest: Digest, artifact_type: str) -> tuple[Descriptor, ...] | None:
        """What the referrers API lists; None where there is none. Whether it filtered is for the caller to see to."""
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        entries: list[Descriptor] = []
        try:
            for raw, headers in self._pages(f"{self._url}/referrers/{digest}{query}", f"the referrers of {digest}"):
                if headers.get("Content-Type", "").partition(";")[0].strip() != INDEX:
                    return None
                entries += lists.read_list(raw)
                if len(entries) > lists.LIMIT:
                    raise UnreadableError(f"{self}: {digest} has more than {lists.LIMIT} referrers")
        except MissingBlobError:
            return None
        except StatusError as error:
            if error.status in (400, 404, 405, 501):
                return None
            raise
        return tuple(entries)

    def _fallback(self, digest: Digest) -> tuple[Descriptor, ...]:
        try:
            raw, media_type = self._document(lists.fallback_tag(digest))
        except MissingBlobError:
            return ()
        if media_type != INDEX:
            raise UnreadableError(f"{self}: {lists.fallback_tag(digest)} is {media_type}, not a list of referrers")
        return lists.read_list(raw)

    # Writing.

    def _add_document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Put it under its digest; list it under the fallback tag if the registry does not (no `OCI-Subject`)."""
        answer = self._put_document(descriptor.digest, raw, descriptor)
        if "OCI-Subject" not in answer.headers:
            self.list_referrer(raw, descriptor)

    def _put_document(self, target: str, raw: bytes, descriptor: Descriptor) -> BaseHTTPResponse:
        url, headers = f"{self._url}/manifests/{target}", {"Content-Type": descriptor.media_type}
        answer = self._transport.patiently(lambda: self._send("PUT", url, headers, raw, wanted=(201, 200, 204)))
        self._check_kept(answer, descriptor)
        return answer

    def _change_list(
        self, subject: Digest, change: Callable[[tuple[Descriptor, ...]], Index], digest: Digest, there: bool
    ) -> None:
        """Write the list under the fallback tag anew until `digest` is in it (or is not): others may write it too."""
        for _ in range(_LIST_ATTEMPTS):
            entries = self._fallback(subject)
            if (digest in {each.digest for each in entries}) is there:
                return
            raw = encode(change(entries))
            self._put_document(lists.fallback_tag(subject), raw, Descriptor(INDEX, digest_of(raw), len(raw)))
        raise NetworkError(
            f"{self}: the list of referrers under {lists.fallback_tag(subject)} is being changed by others too",
            hint="run the same command again",
        )

    def _add_unknown(self, stream: Readable) -> tuple[Digest, int]:
        """The upload ends by naming the digest, so the bytes wait on disk until it is known."""
        with tempfile.SpooledTemporaryFile(_SPOOL) as spool:
            while piece := stream.read(CHUNK):
                spool.write(piece)
            spool.seek(0)
            digest, size = hash_stream(spool)
            spool.seek(0)
            return self.add(spool, Descriptor(OCTETS, digest, size))

    def _upload(self, stream: Readable, expected: Descriptor) -> None:
        begun_at = self._begun.pop(expected.digest, "")
        upload = Upload(self._send, self._transport.moved, self._uploads, stream, expected, begun_at=begun_at)
        self._check_kept(self._transport.patiently(upload.attempt), expected)

    def _check_kept(self, answer: BaseHTTPResponse, descriptor: Descriptor) -> None:
        drain(answer)
        said = answer.headers.get("Docker-Content-Digest", descriptor.digest)
        if said != descriptor.digest:
            raise IntegrityError(f"{self}: was sent {descriptor.digest}, says that it keeps {line(said)[:80]}")

    # One request.

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], *, wanted: tuple[int, ...] = (200,)
    ) -> BaseHTTPResponse:
        return self._transport.patiently(lambda: self._send(method, f"{self._url}/{path}", headers, wanted=wanted))

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Readable | bytes | None = None,
        *,
        wanted: tuple[int, ...] = (200,),
        what: str = "",
    ) -> BaseHTTPResponse:
        """One answer of a wanted status, unread; 401 is answered once. Errors say `what` was tried, and where.

        Raises `MissingBlobError` for 404 where something is read, `PassingError` or `NetworkError` for other statuses.
        """
        what = f"{self}: {what or f'{method} {shown_url(url).removeprefix(self._url)[1:]}'}"
        try:
            answer = self._authorized(method, url, headers, body)
        except PassingError as error:
            raise error.about(what) from error
        if answer.status in wanted:
            return answer
        if answer.status == 404 and method in ("GET", "HEAD", "DELETE"):
            drain(answer)
            raise MissingBlobError(f"{what}: not there")
        raise failure(answer, what)

    def _authorized(
        self, method: str, url: str, headers: Mapping[str, str], body: Readable | bytes | None
    ) -> BaseHTTPResponse:
        sent = self._authorization.headers_for(url)
        answer = self._once(method, url, {**headers, **sent}, body)
        if answer.status != 401 or not self._may_retry(answer, url, sent):
            return answer
        drain(answer)
        if body is not None and not isinstance(body, bytes):
            raise PassingError("permission ran out meanwhile")
        return self._once(method, url, {**headers, **self._authorization.headers_for(url)}, body)

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: Readable | bytes | None
    ) -> BaseHTTPResponse:
        if method in ("GET", "HEAD"):
            return self._transport.follow(method, url, headers)
        return self._transport.send(method, url, headers, body)

    def _may_retry(self, answer: BaseHTTPResponse, url: str, sent: Mapping[str, str]) -> bool:
        return origin(url) == origin(self._url) and self._authorization.answer(answer, sent.get("Authorization", ""))


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class _Typed(msgspec.Struct, rename="camel"):
    media_type: str = ""


def _media_type(answer: BaseHTTPResponse) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def _can_be_tag(tag: str) -> bool:
    with suppress(Exception):
        return bool(check_tag(tag))
    return False


def _read_json(raw: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"{what}: {line(str(error))[:200]}") from error


def _read_document(stream: Readable, expected: Descriptor) -> bytes:
    if expected.size > DOCUMENT_LIMIT:
        raise UnreadableError(f"manifest {expected.digest} has more than {DOCUMENT_LIMIT} bytes")
    return VerifyingReader(stream, expected).read()
