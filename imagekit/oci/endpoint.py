"""Where a repository is in a registry's API: one request, with permission, and the error that says what came of it.

Touches the network through `Transport`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from imagekit.content import Readable
from imagekit.errors import IntegrityError, NetworkError
from imagekit.oci.addresses import origin, shown_url
from imagekit.oci.answers import PASSING, PassingError, about, drain, failure
from imagekit.oci.authorization import Authorization
from imagekit.oci.blobs import MissingBlobError
from imagekit.oci.documents import Descriptor
from imagekit.oci.reference import Reference
from imagekit.oci.transport import Transport
from imagekit.text import line

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from imagekit.oci.credentials import Credentials

T = TypeVar("T")
_READING = frozenset({"GET", "HEAD", "DELETE"})
"""Where 404 says that what was asked about is not there."""


class Endpoint:
    """One repository's addresses in the API of the registry at `base`; safe for threads."""

    def __init__(self, reference: Reference, transport: Transport, base: str, actions: str) -> None:
        self.reference = reference
        self.url = f"{base}/v2/{reference.repository}"
        self.uploads = f"{self.url}/blobs/uploads/"
        self.cancellation = transport.cancellation
        self._transport, self._base = transport, base
        self._authorization = Authorization(
            transport,
            base,
            reference.repository,
            actions,
            self._credentials,
            transport.registries.host(reference.host).token_hosts,
        )

    def __str__(self) -> str:
        return self.reference.name

    def _credentials(self) -> Credentials:
        from imagekit.oci.credentials import find_credentials

        return find_credentials(self.reference.host, self.cancellation)

    def is_beside(self, other: Endpoint) -> bool:
        """Whether both are in one registry."""
        return self._base == other._base

    def read_also(self, other: Endpoint) -> None:
        """Ask for permission to read a neighbour too, with the next token."""
        self._authorization.also(other.reference.repository)

    def patiently(self, action: Callable[[], T]) -> T:
        """`Transport.patiently`."""
        return self._transport.patiently(action)

    def moved(self, url: str, location: str, what: str) -> str:
        """`Transport.moved`; an error says `what` was tried, and where."""
        try:
            return self._transport.moved(url, location)
        except NetworkError as error:
            raise about(error, f"{self}: {what}") from error

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], *, wanted: tuple[int, ...] = (200,)
    ) -> BaseHTTPResponse:
        """`send` to a path under the repository, without a body, and with patience."""
        return self.patiently(lambda: self.send(method, f"{self.url}/{path}", headers, wanted=wanted))

    def send(
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

        Raises `MissingBlobError` for 404 where something is read, `PassingError` or `NetworkError` for other statuses,
        with the registry's own words; those of a 404 to HEAD, which is an answer too, are not asked for.
        """
        what = f"{self}: {what or f'{method} {shown_url(url).removeprefix(self.url)[1:]}'}"
        try:
            answer = self._authorized(method, url, headers, body)
            if answer.status in wanted:
                return answer
            if answer.status == 404 and method in _READING:
                raise self._missing(answer, what, url)
            answer = self._with_words(method, url, headers, answer)
        except NetworkError as error:
            raise about(error, what) from error
        raise failure(answer, what)

    def check_kept(self, answer: BaseHTTPResponse, sent: Descriptor) -> None:
        """Raise `IntegrityError` if the registry says that it keeps what was sent under another digest."""
        drain(answer, what=f"{self}: the answer to {sent.digest}")
        said = answer.headers.get("Docker-Content-Digest", sent.digest)
        if said != sent.digest:
            raise IntegrityError(f"{self}: was sent {sent.digest}, says that it keeps {line(said)[:80]}")

    def _missing(self, answer: BaseHTTPResponse, what: str, url: str) -> MissingBlobError:
        said = failure(answer, f"{what}: not there")
        if url.startswith(f"{self.url}/manifests/"):
            said.hint = f"check the name; `imagekit image list {self}` shows the tags that are there"
        elif url.startswith(f"{self.url}/blobs/"):
            said.hint = "an image there that names it is broken: push that again"
        return MissingBlobError(said.message, hint=said.hint)

    def _with_words(
        self, method: str, url: str, headers: Mapping[str, str], answer: BaseHTTPResponse
    ) -> BaseHTTPResponse:
        """The same refusal, asked for by GET, once, where it was of a HEAD: such an answer has no words."""
        if method != "HEAD" or answer.status in PASSING:
            return answer
        with suppress(NetworkError):
            again = self._once("GET", url, {**headers, **self._authorization.headers_for(url)}, None)
            refused, left = (again, answer) if again.status == answer.status else (answer, again)
            left.close()
            return refused
        return answer

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
        return origin(url) == origin(self.url) and self._authorization.answer(answer, sent.get("Authorization", ""))
