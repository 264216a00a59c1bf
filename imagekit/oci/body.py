"""A blob as a registry gives it: read on from where it broke off. Touches the network through `Endpoint`."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from imagekit.content import CHUNK, Digest
from imagekit.oci.answers import PassingError, StatusError, read_piece
from imagekit.oci.endpoint import Endpoint
from imagekit.oci.streams import Movable

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_BREAKS = 4
"""How often a blob is asked for again without a MiB of progress in between."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(?:\d{1,19}|\*)")


class Body(Movable):
    """A blob's bytes as they come, asked for again from where they broke off; closed early, it ends the connection."""

    _answer: BaseHTTPResponse | None = None
    _ended = False

    def __init__(self, endpoint: Endpoint, digest: Digest, start: int = 0, size: int = 0) -> None:
        """Asks at once, from byte `start` on, which needs the blob's `size`; raises what `Endpoint.send` raises."""
        self._endpoint, self._url, self._what = endpoint, f"{endpoint.url}/blobs/{digest}", f"{endpoint}: blob {digest}"
        self._offset, self._breaks, self._seen, self._surplus = start, 0, start, 0
        self._last = str(size - 1) if size else ""
        self._answer = self._rest()
        length = self._answer.headers.get("Content-Length", "")
        if not start and length.isdecimal() and len(length) < 16:
            self._last = str(int(length) - 1)

    @property
    def origin(self) -> str:
        return str(self._endpoint)

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, all for a negative one; raises `NetworkError` for what breaks off for good."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while True:
            answer = self._answer = self._answer or self._rest()  # patient enough by itself
            try:
                while self._surplus and (piece := read_piece(answer, min(self._surplus, CHUNK), self._what)):
                    self._surplus -= len(piece)
                piece = read_piece(answer, size, self._what)
            except PassingError as error:
                self._count(error)
                continue
            self._offset += len(piece)
            self._ended = not piece and size != 0
            return piece

    def _count(self, error: PassingError) -> None:
        """Count a break; raise it after too many that brought nothing. A thrown cancellation looks like one."""
        self._endpoint.cancellation.check()
        self._answer = None
        self._breaks = 1 if self._offset >= self._seen + CHUNK else self._breaks + 1
        self._seen = self._offset
        if self._breaks > _BREAKS:
            raise error

    def _rest(self) -> BaseHTTPResponse:
        """The bytes from the offset on: by a range, else all of them, of which `_surplus` are still to be passed over.

        The range is closed, since some registries know no other.
        """
        self._surplus = 0
        if self._offset:
            with suppress(StatusError):
                answer = self._ask((200, 206, 416), Range=f"bytes={self._offset}-{self._last}")
                if answer.status == 206 and _first(answer) == self._offset:
                    return answer
                if answer.status == 200:
                    self._surplus = self._offset
                    return answer
                answer.close()
        self._surplus = self._offset
        return self._ask((200,))

    def _ask(self, wanted: tuple[int, ...], **headers: str) -> BaseHTTPResponse:
        headers["Accept-Encoding"] = "identity"
        return self._endpoint.patiently(lambda: self._endpoint.send("GET", self._url, headers, wanted=wanted))

    def _leave(self) -> None:
        if self._answer is not None:
            (self._answer.release_conn if self._ended else self._answer.close)()
        self._answer, self._ended = None, False


def _first(answer: BaseHTTPResponse) -> int:
    """The offset at which a part of a blob begins; -1 if the answer does not say."""
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1
