"""One blob's way into a repository: one PUT, or PATCHes of a piece each, taken up where they broke off.

Distribution spec 1.1, "Pushing a blob". A blob is sent whole at first, because that costs the fewest requests and some
registries know no other way. In pieces it goes where the whole was too large for what stands in front of the registry,
or broke off.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from imagekit.content import Readable
from imagekit.errors import NetworkError
from imagekit.oci.answers import PassingError, StatusError, drain
from imagekit.oci.blobs import MissingBlobError, VerifyingReader
from imagekit.oci.documents import OCTETS, Descriptor
from imagekit.oci.endpoint import Endpoint
from imagekit.oci.streams import Limited, Unclosed, rewinder, skip

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

PIECE = 32 << 20
"""Bytes of a PATCH: a third of what common proxies let through; the registry may ask for more."""
_LARGEST_PIECE = 1 << 30
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_NO_PIECES = frozenset({400, 404, 405, 411, 415, 501})
_TOO_LARGE = 413
_NOT_NEXT = 416
"""What it says of a piece that does not begin where it stands: it is asked where that is."""


class Upload:
    """A blob that is being sent; `attempt` again after a `PassingError` goes on where the registry says it is."""

    def __init__(self, endpoint: Endpoint, stream: Readable, blob: Descriptor, *, begun_at: str = "") -> None:
        """`begun_at` is the address of an upload that was begun before."""
        self._endpoint = endpoint
        self._stream, self._blob, self._rewind = stream, blob, rewinder(stream)
        what = f"upload of blob {blob.digest}"
        self._what, self._ask = f"{endpoint}: {what}", partial(endpoint.send, what=what)
        self._moved = partial(endpoint.moved, what=what)
        self._place, self._piece = "", 0
        self._begun, self._begun_at = False, begun_at

    def attempt(self) -> BaseHTTPResponse:
        """Send what is not there yet; the answer to the last request. Raises as `Endpoint.send` does.

        The failure of a stream that cannot go back is no `PassingError` any more.
        """
        if self._begun and not self._rewind():
            raise NetworkError(f"{self._what}: broke off, and its source cannot be read again")
        self._begun = True
        try:
            return self._tried()
        except PassingError as error:
            if not self._rewind():
                raise NetworkError(error.message, hint=error.hint) from error
            if self._blob.size > PIECE:
                self._piece = self._piece or PIECE
            raise

    def _tried(self) -> BaseHTTPResponse:
        offset = self._there() if self._place else 0
        if not offset:
            self._begin()
        if not self._piece and not offset:
            return self._whole()
        try:
            return self._pieces(offset)
        except StatusError as error:
            if error.status not in _NO_PIECES or not self._piece or not self._rewind():
                raise
        self._begin()
        return self._put(VerifyingReader(Unclosed(self._stream), self._blob), self._blob.size)

    def _begin(self) -> None:
        if self._begun_at:
            self._place, self._begun_at = self._begun_at, ""
            return
        answer = self._ask("POST", self._endpoint.uploads, {"Content-Length": "0"}, wanted=(202,))
        drain(answer, what=self._what)
        location = answer.headers.get("Location", "")
        if not location:
            raise NetworkError(f"{self._what}: the registry does not say where to (no Location)")
        self._place = self._moved(self._endpoint.uploads, location)
        if self._piece:
            asked = answer.headers.get("OCI-Chunk-Min-Length", "")
            self._piece = max(self._piece, int(asked)) if asked.isdecimal() and len(asked) < 12 else self._piece
            self._piece = min(self._piece, _LARGEST_PIECE)

    def _whole(self) -> BaseHTTPResponse:
        """One PUT; after 413, which says that it is too large for one, in pieces."""
        try:
            return self._put(VerifyingReader(Unclosed(self._stream), self._blob), self._blob.size)
        except StatusError as error:
            if error.status != _TOO_LARGE or self._blob.size <= PIECE or not self._rewind():
                raise
        self._piece = PIECE
        self._begin()
        return self._pieces(0)

    def _there(self) -> int:
        """How many bytes the registry has of the upload that broke off; 0 if it does not know it any more."""
        try:
            answer = self._ask("GET", self._place, {}, wanted=(204, 202, 200))
        except (NetworkError, MissingBlobError):
            return self._forget()
        drain(answer, what=self._what)
        got = _received(answer)
        if got > self._blob.size:
            return self._forget()
        self._place = self._moved(self._place, answer.headers.get("Location") or self._place)
        return got

    def _forget(self) -> int:
        self._place = ""
        return 0

    def _pieces(self, offset: int) -> BaseHTTPResponse:
        """PATCHes from `offset` on, then an empty PUT. All of the blob is hashed, also what is there already."""
        body = VerifyingReader(Unclosed(self._stream), self._blob)
        skip(body, offset)
        while offset < self._blob.size:
            end = min(offset + (self._piece or PIECE), self._blob.size)
            headers = {
                "Content-Type": OCTETS,
                "Content-Length": str(end - offset),
                "Content-Range": f"{offset}-{end - 1}",
            }
            answer = self._ask(
                "PATCH", self._place, headers, Limited(body, end - offset), wanted=(202, 201, 204, _NOT_NEXT)
            )
            drain(answer, what=self._what)
            if answer.status == _NOT_NEXT:
                raise PassingError(f"{self._what}: status {_NOT_NEXT}: byte {offset} is not the next for the registry")
            if answer.headers.get("Range") and _received(answer) != end:
                raise PassingError(f"{self._what}: the registry kept {_received(answer)} bytes of {end}")
            self._place, offset = self._moved(self._place, answer.headers.get("Location") or self._place), end
        return self._put(b"", 0)

    def _put(self, body: Readable | bytes, size: int) -> BaseHTTPResponse:
        target = f"{self._place}{'&' if urlsplit(self._place).query else '?'}{urlencode({'digest': self._blob.digest})}"
        headers = {"Content-Type": OCTETS, "Content-Length": str(size)}
        return self._ask("PUT", target, headers, body, wanted=(201, 204, 200))


def _received(answer: BaseHTTPResponse) -> int:
    """The bytes that `Range: 0-N` of an upload's state stands for; `0-0` is what registries say of none."""
    found = _RANGE.fullmatch(answer.headers.get("Range", ""))
    return int(found[1]) + 1 if found and int(found[1]) else 0
