"""HTTP to one registry: connections, TLS, patience, redirects, and what may be sent where. Touches the network.

Plain HTTP is spoken to this machine only. A redirect is followed to https, or on this machine; never with credentials
to another host. A thrown cancellation shuts the sockets, so that nobody waits for a slow peer.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import urljoin, urlsplit
from weakref import WeakSet

import msgspec

from imagekit.content import CHUNK, Readable
from imagekit.errors import NetworkError
from imagekit.oci.reference import is_loopback
from imagekit.text import line
from imagekit.workers import Cancellation

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

T = TypeVar("T")
_ATTEMPTS = 5
_CONNECT, _READ = 10.0, 120.0
"""Seconds to connect, and between two pieces of an answer: a registry hashes a whole blob before it answers a PUT."""
_BACKOFF, _LONGEST = 0.2, 30.0
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_MESSAGE = 8 << 10
_SHOWN = 300


class PassingError(NetworkError):
    """A failure that may pass: busy, overloaded, reset. `after` is how many seconds the server asks to wait, or 0."""

    def __init__(self, message: str, *, after: float = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.after = after

    def about(self, what: str) -> PassingError:
        """The same failure, said of `what`."""
        return PassingError(f"{what}: {self.message}", after=self.after, hint=self.hint)


class Transport:
    """Requests with patience; closes its connections when it is left."""

    def __init__(self, cancellation: Cancellation, *, connections: int = 4) -> None:
        self.cancellation = cancellation
        self._connections = connections
        self._live: WeakSet[Any] = WeakSet()
        self._closed = threading.Event()
        self._pool: PoolManager | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._pool is not None:
            self._pool.clear()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Readable | bytes | None = None
    ) -> BaseHTTPResponse:
        """One request and its answer, whatever its status, unread; the caller drains or closes it.

        Raises `PassingError` where there is no answer; `NetworkError` where asking again cannot help.
        """
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        self.cancellation.check()
        check_plain(url)
        try:
            return self._pools().request(
                method,
                url,
                headers=headers,
                body=cast("BinaryIO | bytes | None", body),  # urllib3 calls `read` alone
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=Timeout(connect=_CONNECT, read=_READ),
            )
        except (HTTPError, OSError, ValueError) as error:
            self.cancellation.check()
            raise _translated(error, f"{method} {shown_url(url)}") from error

    def follow(self, method: str, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """`send` for what has no body, through at most five redirects; another host never sees `Authorization`."""
        for _ in range(_HOPS):
            answer = self.send(method, url, headers)
            if answer.status not in _REDIRECTS:
                return answer
            answer.close()
            new = moved(url, answer.headers.get("Location", ""))
            if origin(new) != origin(url):
                headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
            url = new
        raise NetworkError(f"{method} {shown_url(url)}: more than {_HOPS} redirects")

    def patiently(self, action: Callable[[], T]) -> T:
        """What `action` gives, tried five times while it raises `PassingError`, with growing pauses between."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return action()
            except PassingError as error:
                pause = _BACKOFF * 2**attempt * (0.5 + random.random())  # noqa: S311 - jitter, not a secret
                self.cancellation.wait(min(max(pause, error.after), _LONGEST))
                self.cancellation.check()
        return action()

    def _pools(self) -> PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = self._new_pool()
                threading.Thread(target=self._watch, daemon=True, name="registry-stop").start()
            return self._pool

    def _new_pool(self) -> PoolManager:
        from urllib3 import PoolManager

        pool = PoolManager(num_pools=8, maxsize=self._connections, ssl_context=_tls(), blocksize=CHUNK, retries=False)
        pool.pool_classes_by_scheme = _tracked_pools(self._live)
        return pool

    def _watch(self) -> None:
        while not self._closed.is_set():
            if self.cancellation.wait(0.1):
                for connection in list(self._live):
                    _shut(connection.sock)
                return


def read_piece(answer: BaseHTTPResponse, size: int | None, what: str) -> bytes:
    """At most `size` bytes (None: all) of an answer as they came, no content coding undone."""
    from urllib3.exceptions import HTTPError

    try:
        return answer.read(size, decode_content=False)
    except (HTTPError, OSError, ValueError) as error:
        answer.close()
        raise _translated(error, what) from error


def drain(answer: BaseHTTPResponse, limit: int = _MESSAGE) -> bytes:
    """At most `limit` bytes of the answer; the connection goes back to the pool if that was all of it."""
    what, content = f"the answer of {shown_url(answer.geturl() or '')}", b""
    while len(content) < limit and (piece := read_piece(answer, limit - len(content), what)):
        content += piece
    if len(content) < limit:
        answer.release_conn()
    else:
        answer.close()
    return content


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
    if answer.status in _PASSING:
        return PassingError(message, after=_seconds(answer.headers.get("Retry-After", "")), hint="try again later")
    return NetworkError(message, hint=_hint(answer.status))


def _words(content: bytes) -> str:
    try:
        found = msgspec.json.decode(content, type=_Messages).errors
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return content.decode(errors="replace").strip()
    return "; ".join(f"{each.code} {each.message}".strip() for each in found)


def _hint(status: int) -> str:
    if status in (401, 403):
        return "log in with `docker login`, and check that the account may write to this repository"
    if status == 404:
        return "check the name; some registries want the repository made first"
    return "check the address of the registry" if status < 500 else ""


def _seconds(text: str) -> float:
    """`Retry-After` as a number; a date is not waited for."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what credentials are bound to."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def check_plain(url: str) -> None:
    """Raise `NetworkError` unless `url` is https, or http on this machine."""
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        scheme = host = ""
    if not host or (scheme != "https" and not (scheme == "http" and is_loopback(host))):
        raise NetworkError(
            f"{shown_url(url)} would not be encrypted",
            hint="serve it over https; plain http is spoken to localhost only",
        )


def moved(url: str, location: str) -> str:
    """Where `Location` of an answer from `url` leads; raises `NetworkError` for where it may not lead."""
    try:
        new = urljoin(url, location)
    except ValueError:
        new = ""
    check_plain(new)
    if is_loopback(origin(new)[1]) and not is_loopback(origin(url)[1]):
        raise NetworkError(f"{shown_url(url)} sends us to {shown_url(new)}, which is this machine")
    return new


def shown_url(url: str) -> str:
    """`url` for messages: without its query, where uploads and signed addresses keep their secrets."""
    return line(url.partition("?")[0])[:_SHOWN]


def _translated(error: Exception, what: str) -> NetworkError:
    from urllib3 import exceptions

    if isinstance(error, exceptions.SSLError) and "certificate" in str(error).lower():
        return NetworkError(
            f"{what}: TLS failed: {line(str(error))[:_SHOWN]}",
            hint="name the file of the authority that signed the registry's certificate with SSL_CERT_FILE",
        )
    if isinstance(error, exceptions.LocationValueError) or not isinstance(error, (exceptions.HTTPError, OSError)):
        return NetworkError(f"{what}: cannot be asked for", hint="check the address of the registry")
    if isinstance(error, exceptions.NewConnectionError):
        return PassingError(f"{what}: {line(str(error))[:_SHOWN]}", hint="check host and port, and that it is running")
    return PassingError(f"{what}: {line(str(error))[:_SHOWN]}", hint="the connection broke; try again")


def _tls() -> ssl.SSLContext:
    """The system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` honoured); certifi's where a system has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    folder = Path(paths.capath) if paths.capath else None
    if paths.cafile is None and not (folder and any(folder.iterdir())):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _tracked_pools(live: WeakSet[Any]) -> dict[str, Any]:
    """urllib3's pools, whose connections enter `live` once they stand."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            live.add(self)

    class Encrypted(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            live.add(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _shut(connection: socket.socket | None) -> None:
    """End a conversation under whoever waits in it; the TLS layer is not asked, it belongs to the waiting thread."""
    if connection is not None:
        try:
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
        except OSError:
            return
