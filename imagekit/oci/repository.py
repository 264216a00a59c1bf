"""A repository in a registry, as a blob store (OCI distribution spec 1.1). Touches the network through `Endpoint`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO, cast
from urllib.parse import urlencode

from imagekit.content import CHUNK, Digest, Readable, digest_of, hash_stream, parse_digest
from imagekit.errors import NetworkError, UnreadableError
from imagekit.oci import lists
from imagekit.oci.answers import drain
from imagekit.oci.blobs import MissingBlobError, VerifyingReader
from imagekit.oci.body import Body
from imagekit.oci.documents import DOCUMENT_LIMIT, OCTETS, Descriptor
from imagekit.oci.endpoint import Endpoint
from imagekit.oci.manifests import Manifests
from imagekit.oci.mirrors import Mirrors
from imagekit.oci.reference import check_tag

_SPOOL = 1 << 20


class Repository:
    """One repository of one registry; safe for threads. Mirrors are asked first for what is read, while they answer."""

    def __init__(self, endpoint: Endpoint, mirrors: Sequence[Repository] = ()) -> None:
        self.reference = endpoint.reference
        self.endpoint = endpoint
        self._mirrors = Mirrors(mirrors)
        self._manifests = Manifests(endpoint)
        self._referrers = lists.Referrers(endpoint, self._manifests)
        self._absent: set[Digest] = set()
        self._begun: dict[Digest, str] = {}

    def __str__(self) -> str:
        return str(self.endpoint)

    # What it holds.

    def learn(self, descriptor: Descriptor, /) -> None:
        """Remember that this digest is kept under `manifests/`, if its media type says so (`blobs.Sorting`)."""
        self._manifests.learn(descriptor)
        self._mirrors.learn(descriptor)

    def resolve(self, target: str = "") -> Descriptor:
        """What a tag or digest (none: the reference's own) stands for; raises `MissingBlobError` if it is not there."""
        target = target or self.reference.target
        found = self._mirrors.ask(lambda mirror: mirror._manifests.resolve(target)) or self._resolved(target)
        self.learn(found)
        return found

    def fetch(self) -> Descriptor:
        """`resolve` of the reference's own target by reading it: whoever opens it next does not ask a second time."""
        target = self.reference.target
        found = self._mirrors.ask(lambda mirror: mirror._manifests.fetch(target)) or self._manifests.fetch(target)
        self.learn(found)
        return found

    def find(self, tag: str) -> Descriptor | None:
        """`resolve` of a tag that need not be there: None then."""
        with suppress(MissingBlobError):
            found = self._mirrors.ask(lambda mirror: mirror._manifests.resolve(tag)) or self._manifests.resolve(tag)
            self.learn(found)
            return found
        return None

    def has(self, digest: Digest, /) -> bool:
        """Whether it is there; a manifest is not if the registry says that what it has has another digest.

        go-containerregistry's registry keeps what arrived of a manifest whose sender was killed (seen in 0.22.1).
        """
        kind = self._manifests.kind(digest)
        path = f"manifests/{digest}" if kind else f"blobs/{digest}"
        try:
            answer = self.endpoint.ask("HEAD", path, {"Accept": kind or "*/*"})
        except MissingBlobError:
            self._absent.add(digest)
            return False
        answer.release_conn()
        said = answer.headers.get("Docker-Content-Digest", "")
        if kind and said.startswith("sha256:") and said != digest:
            self._absent.add(digest)
            return False
        return True

    def open(self, digest: Digest, /) -> BinaryIO:
        """The blob's bytes; a connection that breaks off is taken up again where it did (`Range`)."""
        return self._opened_anywhere(digest, 0, 0)

    def open_rest(self, blob: Descriptor, start: int, /) -> BinaryIO:
        """The blob's bytes from `start` on (`blobs.Ranged`)."""
        return self._opened_anywhere(blob.digest, start, blob.size)

    def tags(self) -> tuple[str, ...]:
        """All tags, in the registry's order; raises `MissingBlobError` for a repository that is not there."""
        return lists.tags(self.endpoint)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """The manifests that have `digest` as their subject; none is no error.

        From the referrers API, else from the fallback tag. Their descriptors are what the registry says: check what
        they name before it is believed.
        """
        return self._referrers.of(digest)

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
        if not isinstance(source, Repository) or not self.endpoint.is_beside(source.endpoint) or blob.is_document:
            return False
        self.endpoint.read_also(source.endpoint)
        uploads, neighbour = self.endpoint.uploads, source.reference.repository
        url = f"{uploads}?{urlencode({'mount': blob.digest, 'from': neighbour})}"
        what = f"mount of blob {blob.digest} from {neighbour}"
        try:
            answer = self.endpoint.send("POST", url, {"Content-Length": "0"}, wanted=(201, 202), what=what)
        except NetworkError:
            return False
        drain(answer)
        if answer.status == 202:
            if location := answer.headers.get("Location", ""):
                self._begun[blob.digest] = self.endpoint.moved(uploads, location, what)
            return False
        self._absent.discard(blob.digest)
        return True

    def tag(self, tag: str, raw: bytes, descriptor: Descriptor) -> None:
        """Point `tag` at the manifest or index `raw`, unless it points there already."""
        with suppress(MissingBlobError, UnreadableError):
            if self._manifests.resolve(check_tag(tag)).digest == descriptor.digest:
                return
        self._manifests.put(tag, raw, descriptor)

    def list_referrer(self, raw: bytes, descriptor: Descriptor) -> None:
        """Make sure that a referrer that is there is listed too: on a registry without the API, under the fallback tag.

        `add` does so for what it puts; this is for what was there already, perhaps since a push that was cut short.
        """
        self._referrers.enter(raw, descriptor)

    def delete(self, target: str) -> None:
        """Take a manifest or index (by digest) or a tag away; raises `MissingBlobError` if it is not there.

        A referrer leaves the list under the fallback tag too.
        """
        if not target.startswith("sha256:"):
            self._manifests.delete(target)
            return
        raw, media_type = self._manifests.read(target)
        self._manifests.delete(target)
        self._referrers.strike(raw, Descriptor(media_type, parse_digest(target), len(raw)))

    def _resolved(self, target: str) -> Descriptor:
        """By HEAD; what is not there is asked for by GET too, which alone brings the registry's own words."""
        try:
            return self._manifests.resolve(target)
        except MissingBlobError:
            raw, media_type = self._manifests.read(target)
            return Descriptor(media_type, digest_of(raw), len(raw))

    def _opened_anywhere(self, digest: Digest, start: int, size: int) -> BinaryIO:
        """From a mirror, else from the registry itself; the `size` of the blob is needed behind its start alone."""
        found = self._mirrors.open(
            start,
            lambda mirror: mirror._opened(digest, start, size),
            lambda offset: self._opened_anywhere(digest, offset, size),
        )
        return found or self._opened(digest, start, size)

    def _opened(self, digest: Digest, start: int, size: int) -> BinaryIO:
        if self._manifests.kind(digest):
            return self._opened_document(digest, start)
        try:
            return cast(BinaryIO, Body(self.endpoint, digest, start, size))
        except MissingBlobError as error:
            with suppress(MissingBlobError):
                return self._opened_document(digest, start)
            raise error

    def _opened_document(self, digest: Digest, start: int) -> BinaryIO:
        return io.BytesIO(self._manifests.read(digest)[0][start:])

    def _add_document(self, raw: bytes, descriptor: Descriptor) -> None:
        """Put it under its digest; list it under the fallback tag if the registry does not (no `OCI-Subject`)."""
        answer = self._manifests.put(descriptor.digest, raw, descriptor)
        if "OCI-Subject" not in answer.headers:
            self._referrers.enter(raw, descriptor)

    def _add_unknown(self, stream: Readable) -> tuple[Digest, int]:
        """The upload ends by naming the digest, so the bytes wait on disk until it is known."""
        from tempfile import SpooledTemporaryFile

        with SpooledTemporaryFile(_SPOOL) as spool:
            while piece := stream.read(CHUNK):
                spool.write(piece)
            spool.seek(0)
            digest, size = hash_stream(spool)
            spool.seek(0)
            return self.add(spool, Descriptor(OCTETS, digest, size))

    def _upload(self, stream: Readable, expected: Descriptor) -> None:
        from imagekit.oci.uploads import Upload

        upload = Upload(self.endpoint, stream, expected, begun_at=self._begun.pop(expected.digest, ""))
        self.endpoint.check_kept(self.endpoint.patiently(upload.attempt), expected)


def _read_document(stream: Readable, expected: Descriptor) -> bytes:
    if expected.size > DOCUMENT_LIMIT:
        raise UnreadableError(f"manifest {expected.digest} has more than {DOCUMENT_LIMIT} bytes")
    return VerifyingReader(stream, expected).read()
