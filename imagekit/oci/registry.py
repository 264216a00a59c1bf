"""A repository in a registry, as a blob store (OCI distribution spec 1.1). Touches the network through `Transport`.

Where a digest is kept, under `manifests/` or `blobs/`, is learnt from the descriptors and documents that pass.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import urlencode, urlsplit

from imagekit.content import CHUNK, Digest, Readable, digest_of, hash_stream, parse_digest
from imagekit.errors import IntegrityError, NetworkError, UnreadableError
from imagekit.oci.authorization import Authorization
from imagekit.oci.blobs import BlobReader, MissingBlobError, VerifyingReader, read_verified
from imagekit.oci.copy import copy
from imagekit.oci.credentials import find_credentials
from imagekit.oci.documents import (
    DOCUMENT_LIMIT,
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    decode_document,
)
from imagekit.oci.reference import Reference, check_tag, is_loopback
from imagekit.oci.streams import Body, Unclosed, rewinder
from imagekit.oci.transport import PassingError, Transport, drain, failure, moved, origin, shown_url
from imagekit.text import line
from imagekit.workers import Cancellation, Workers

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CONNECTIONS = 4
"""Transfers at a time."""

_ACCEPT = ", ".join(sorted(INDEX_TYPES | MANIFEST_TYPES))
_OCTETS = "application/octet-stream"
_SPOOL = 1 << 20


def push(
    store: BlobReader,
    descriptor: Descriptor,
    reference: Reference,
    tags: Sequence[str] = (),
    *,
    cancellation: Cancellation,
    connections: int = CONNECTIONS,
) -> frozenset[Descriptor]:
    """Put an image or index with all that it needs into a repository, then point `tags` and the reference's tag at it.

    Children go before parents, tags last; what is there already is not sent again. Returns what was sent. Raises
    `NetworkError`, `IntegrityError`, `UnreadableError` for what `store` cannot give, `UsageError` for a tag that cannot
    be one.
    """
    wanted = dict.fromkeys(check_tag(tag) for tag in (*tags, reference.tag) if tag)
    with connected(reference, actions="pull,push", cancellation=cancellation, connections=connections) as repository:
        repository.learn(descriptor)
        sent: frozenset[Descriptor] = frozenset()
        if not repository.has(descriptor.digest):
            sent = copy(store, repository, descriptor, workers=Workers(connections, cancellation))
        raw = read_verified(store, descriptor)
        for tag in wanted:
            repository.tag(tag, raw, descriptor)
    return sent


@contextmanager
def connected(
    reference: Reference, *, cancellation: Cancellation, actions: str = "pull", connections: int = CONNECTIONS
) -> Iterator[Repository]:
    """The repository of `reference`, with permission for `actions` (`pull`, `pull,push`) asked for as it is needed."""
    with Transport(cancellation, connections=connections) as transport:
        yield Repository(
            reference, transport, transport.patiently(lambda: _base(transport, reference.api_host)), actions
        )


def _base(transport: Transport, host: str) -> str:
    """`https://host`; on this machine http if that is what is spoken there."""
    if not is_loopback(host):
        return f"https://{host}"
    try:
        answer = transport.send("GET", f"http://{host}/v2/", {})
        drain(answer)
        if answer.status != 400:
            return f"http://{host}"
    except PassingError as error:
        plain = error
    else:
        plain = PassingError(f"{host} does not answer")
    try:
        drain(transport.send("GET", f"https://{host}/v2/", {}))
    except PassingError:
        raise plain from None
    return f"https://{host}"


class Repository:
    """One repository of one registry; safe for threads."""

    def __init__(self, reference: Reference, transport: Transport, base: str, actions: str) -> None:
        self.reference = reference
        self._transport, self._url = transport, f"{base}/v2/{reference.repository}"
        self._authorization = Authorization(
            transport, base, reference.repository, actions, lambda: find_credentials(reference.host)
        )
        self._documents: dict[Digest, str] = {}
        self._absent: set[Digest] = set()

    def __str__(self) -> str:
        return self.reference.name

    def learn(self, descriptor: Descriptor, /) -> None:
        """Remember that this digest is kept under `manifests/`, if its media type says so (`blobs.Sorting`)."""
        if descriptor.is_document:
            self._documents[descriptor.digest] = descriptor.media_type

    def resolve(self, target: str = "") -> Descriptor:
        """What a tag or digest (none: the reference's own) stands for; raises `MissingBlobError` if it is not there."""
        target = target or self.reference.target
        answer = self._ask("HEAD", f"manifests/{target}", {"Accept": _ACCEPT})
        answer.release_conn()
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        digest, size = answer.headers.get("Docker-Content-Digest", ""), answer.headers.get("Content-Length", "")
        if not (digest and size.isdecimal() and media_type in MANIFEST_TYPES | INDEX_TYPES):
            raw, media_type = self._document(target)
            digest, size = digest_of(raw), str(len(raw))
        if target.startswith("sha256:") and target != digest:
            raise IntegrityError(f"{self}: asked for {target}, the registry has {line(digest)[:80]}")
        found = Descriptor(media_type, parse_digest(digest), int(size))
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
        if digest not in self._documents:
            try:
                answer = self._ask("GET", f"blobs/{digest}", {"Accept-Encoding": "identity"})
                return cast(BinaryIO, Body(answer, f"{self}: blob {digest}"))
            except MissingBlobError:
                pass
        return io.BytesIO(self._document(digest)[0])

    def add(self, stream: Readable, expected: Descriptor | None = None) -> tuple[Digest, int]:
        if expected is None:
            return self._add_unknown(stream)
        self.learn(expected)
        if expected.digest in self._absent or not self.has(expected.digest):
            if expected.is_document:
                self._put_document(expected.digest, _read_document(stream, expected), expected)
            else:
                self._upload(stream, expected)
            self._absent.discard(expected.digest)
        return expected.digest, expected.size

    def tag(self, tag: str, raw: bytes, descriptor: Descriptor) -> None:
        """Point `tag` at the manifest or index `raw`, unless it points there already."""
        try:
            if self.resolve(check_tag(tag)).digest == descriptor.digest:
                return
        except MissingBlobError:
            pass
        self._put_document(tag, raw, descriptor)

    def _document(self, target: str) -> tuple[bytes, str]:
        """Bytes and media type of a manifest or index; what it names is learnt."""
        raw, media_type = self._transport.patiently(lambda: self._fetched(target))
        if len(raw) > DOCUMENT_LIMIT:
            raise UnreadableError(f"{self}: manifest {target} has more than {DOCUMENT_LIMIT} bytes")
        if target.startswith("sha256:") and digest_of(raw) != target:
            raise IntegrityError(f"{self}: asked for {target}, the registry gave {digest_of(raw)}")
        with suppress(UnreadableError):
            for child in decode_document(raw, media_type).children:
                self.learn(child)
        return raw, media_type

    def _fetched(self, target: str) -> tuple[bytes, str]:
        answer = self._try("GET", f"{self._url}/manifests/{target}", {"Accept": _ACCEPT})
        return drain(answer, DOCUMENT_LIMIT + 1), answer.headers.get("Content-Type", "").partition(";")[0].strip()

    def _put_document(self, target: str, raw: bytes, descriptor: Descriptor) -> None:
        url, headers = f"{self._url}/manifests/{target}", {"Content-Type": descriptor.media_type}
        answer = self._transport.patiently(lambda: self._try("PUT", url, headers, raw, wanted=(201, 200, 204)))
        self._check_kept(answer, descriptor)

    def _add_unknown(self, stream: Readable) -> tuple[Digest, int]:
        """The upload ends by naming the digest, so the bytes wait on disk until it is known."""
        with tempfile.SpooledTemporaryFile(_SPOOL) as spool:
            while piece := stream.read(CHUNK):
                spool.write(piece)
            spool.seek(0)
            digest, size = hash_stream(spool)
            spool.seek(0)
            return self.add(spool, Descriptor(_OCTETS, digest, size))

    def _upload(self, stream: Readable, expected: Descriptor) -> None:
        """POST, then PUT in one piece; from the start again after a failure that may pass, if `stream` can go back."""
        rewind = rewinder(stream)

        def action() -> None:
            try:
                self._upload_once(stream, expected)
            except PassingError as error:
                if not rewind():
                    raise NetworkError(error.message, hint=error.hint) from error
                raise

        self._transport.patiently(action)

    def _upload_once(self, stream: Readable, expected: Descriptor) -> None:
        url = f"{self._url}/blobs/uploads/"
        what = f"upload of blob {expected.digest}"
        started = self._try("POST", url, {"Content-Length": "0"}, wanted=(202,), what=what)
        drain(started)
        location = moved(url, started.headers.get("Location", ""))
        target = f"{location}{'&' if urlsplit(location).query else '?'}{urlencode({'digest': expected.digest})}"
        headers = {"Content-Type": _OCTETS, "Content-Length": str(expected.size)}
        with VerifyingReader(Unclosed(stream), expected) as body:
            answer = self._try("PUT", target, headers, body, wanted=(201, 204, 200), what=what)
        self._check_kept(answer, expected)

    def _check_kept(self, answer: BaseHTTPResponse, descriptor: Descriptor) -> None:
        drain(answer)
        said = answer.headers.get("Docker-Content-Digest", descriptor.digest)
        if said != descriptor.digest:
            raise IntegrityError(f"{self}: was sent {descriptor.digest}, says that it keeps {line(said)[:80]}")

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        return self._transport.patiently(lambda: self._try(method, f"{self._url}/{path}", headers))

    def _try(
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
        if answer.status == 404 and method in ("GET", "HEAD"):
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


def _read_document(stream: Readable, expected: Descriptor) -> bytes:
    if expected.size > DOCUMENT_LIMIT:
        raise UnreadableError(f"manifest {expected.digest} has more than {DOCUMENT_LIMIT} bytes")
    return VerifyingReader(stream, expected).read()
