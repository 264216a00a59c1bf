"""Answers of a registry: read within bounds, and turned into errors that say what the registry said."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

from imagekit.content import parse_json
from imagekit.errors import NetworkError
from imagekit.oci.addresses import shown_url
from imagekit.text import line

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another one if asked again."""

PACE = 120.0
"""Seconds that one piece of an answer (a MiB at most) may take: who is slower is left."""
_MESSAGE = 8 << 10
_SHOWN = 300
_OBJECT = re.compile(r"^\w+\(host='[^']*', port=[^)]*\): |\[Errno -?[0-9]+\] ")
_NO_TLS = ("wrong version number", "record layer failure")
"""What OpenSSL says of an answer that is no TLS, by its version."""
_NUMBER = re.compile(r"[0-9]{1,9}")


class PassingError(NetworkError):
    """A failure that may pass: busy, overloaded, reset. `after` is how many seconds the server asks to wait, or 0."""

    def __init__(self, message: str, *, after: float = 0, hint: str = "", where: str = "") -> None:
        """`where` is the request that failed, said before the message."""
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.after, self._said, self._where = after, message, where

    def about(self, what: str) -> PassingError:
        """The same failure, said of `what`; the request is not told a second time where `what` ends with its path."""
        path = what.rpartition(" ")[2]
        said = self._said if self._where.endswith(f"/{path}") else self.message
        return PassingError(said, after=self.after, hint=self.hint, where=what)


class StatusError(NetworkError):
    """An answer of a status that asking again does not change."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status

    def about(self, what: str) -> StatusError:
        """The same failure, said of `what`."""
        return StatusError(f"{what}: {self.message}", status=self.status, hint=self.hint)


def about(error: NetworkError, what: str) -> NetworkError:
    """The same failure, said of `what`; who tells the kinds apart still can."""
    if isinstance(error, (PassingError, StatusError)):
        return error.about(what)
    return NetworkError(f"{what}: {error.message}", hint=error.hint)


@contextmanager
def paced(connection: object, seconds: float | None = None) -> Iterator[None]:
    """While the block runs, whoever watches the connection cuts it when the time is over (`connections.Watch`).

    That is after `PACE` seconds unless another number is given.
    """
    if connection is not None:
        connection.deadline = time.monotonic() + (seconds or PACE)  # type: ignore[attr-defined]  # ours, see connections
    try:
        yield
    finally:
        if connection is not None:
            connection.deadline = None  # type: ignore[attr-defined]


def read_piece(answer: BaseHTTPResponse, size: int | None, what: str) -> bytes:
    """At most `size` bytes (None: all) of an answer as they came, no content coding undone."""
    from urllib3.exceptions import HTTPError

    connection = answer.connection
    try:
        with paced(connection):
            piece = answer.read(size, decode_content=False)
    except (HTTPError, OSError, ValueError) as error:
        answer.close()
        raise translated(error, what, slow=getattr(connection, "was_slow", False)) from error
    if getattr(connection, "was_slow", False):  # an answer without a length looks as if it had ended
        answer.close()
        raise too_slow(what)
    return piece


def drain(answer: BaseHTTPResponse, limit: int = _MESSAGE, what: str = "") -> bytes:
    """At most `limit` bytes of the answer; the connection goes back to the pool if that was all of it.

    Errors say `what` was asked for, else the address.
    """
    what, pieces, left = what or f"the answer of {shown_url(answer.geturl() or '')}", [], limit
    while left and (piece := read_piece(answer, left, what)):
        pieces.append(piece)
        left -= len(piece)
    if left:
        answer.release_conn()
    else:
        answer.close()
    return b"".join(pieces)


class _Message(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Messages(msgspec.Struct):
    errors: list[_Message] = []


def failure(answer: BaseHTTPResponse, what: str) -> NetworkError:
    """The error for an answer that is none of those hoped for: status, the registry's own words, and the way out."""
    try:
        content = drain(answer)
    except NetworkError:
        content = b""
    words = line(_words(content))[:_SHOWN]
    message = f"{what}: status {answer.status}" + (f": {words}" if words else "")
    if answer.status in PASSING:
        return PassingError(message, after=seconds_in(answer.headers.get("Retry-After", "")), hint="try again later")
    return StatusError(message, status=answer.status, hint=_hint(answer.status))


def _words(content: bytes) -> str:
    try:
        found = parse_json(content, _Messages).errors
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return content.decode(errors="replace").strip()
    return "; ".join(f"{each.code} {each.message}".strip() for each in found)


def _hint(status: int) -> str:
    if status in (401, 403):
        return "log in with `imagekit login` or `docker login`, and check that the account may do this here"
    if status == 404:
        return "check the name; some registries want the repository made first"
    return "check the address of the registry" if status < 500 else ""


def seconds_in(text: str) -> float:
    """How long `Retry-After` asks to wait: a number, or a date (RFC 9110 section 10.2.3); 0 for anything else."""
    if _NUMBER.fullmatch(text.strip()):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0


def too_slow(what: str = "") -> PassingError:
    """The error for a connection that we cut ourselves."""
    said = "too slow, it was left"
    return PassingError(f"{what}: {said}" if what else said, hint="try again, or look at what is in between")


def translated(error: Exception, what: str, *, slow: bool = False) -> NetworkError:
    """What urllib3 or the system raised, as one of our errors; `slow` if we cut the connection ourselves."""
    from urllib3 import exceptions

    if isinstance(error, NetworkError):
        return error
    said = line(_plainly(error))[:_SHOWN]
    if slow:
        return too_slow(what)
    if "certificate" in said.lower() and isinstance(error, (exceptions.SSLError, exceptions.ProxyError)):
        hint = "put its authority's certificate into certs.d (docs/registries.md), or name it with SSL_CERT_FILE"
        return NetworkError(f"{what}: TLS failed: {said}", hint=hint)
    if isinstance(error, exceptions.LocationValueError) or not isinstance(error, (exceptions.HTTPError, OSError)):
        return NetworkError(f"{what}: cannot be asked for", hint="check the address of the registry")
    if isinstance(error, exceptions.ProxyError):
        return PassingError(f"the proxy: {said}", hint="check HTTPS_PROXY and NO_PROXY", where=what)
    if isinstance(error, exceptions.NewConnectionError):
        return PassingError(said, hint="check host and port, and that it is running", where=what)
    if isinstance(error, exceptions.SSLError) and any(mark in said.lower() for mark in _NO_TLS):
        hint = "if it speaks http only, say plain_http: true of it in registries.yaml (docs/registries.md)"
        return PassingError(said, hint=hint, where=what)
    return PassingError(said, hint="the connection broke; try again", where=what)


def _plainly(error: BaseException) -> str:
    """What an exception says, without the classes, addresses and numbers that urllib3 puts into it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    inner = [each for each in error.args if isinstance(each, BaseException)]
    said = [_OBJECT.sub("", each).rstrip(".") for each in error.args if isinstance(each, str)]
    return ": ".join(filter(None, (*said, *map(_plainly, inner)))) or str(error)
