"""urllib3's pools, with connections that are judged when they stand, and cut when they are too slow. Touches sockets.

urllib3's own time limits are per `recv`, so a peer that sends a byte a minute could hold us for ever. Here every
connect, every answer's head and every piece of a body has a time of its own, and one thread looks at the clock.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from imagekit.cancellation import Cancellation
from imagekit.content import CHUNK
from imagekit.oci import answers

if TYPE_CHECKING:
    import ssl

    from urllib3 import PoolManager

    from imagekit.oci.proxies import Proxy

CONNECT = 10.0
"""Seconds to connect, for each address of a name."""
_HANDSHAKE = 60.0
"""Seconds until a connection stands: all addresses, the proxy's tunnel and TLS."""
_TICK = 0.1
Judge = Callable[[str, int, str], None]
"""Called with host, port and the address that was reached, before a byte is sent; raises if it must not be used."""


class Watch:
    """Cuts connections whose `deadline` is over, and all of them once the cancellation is thrown."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._live: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._started = False

    def add(self, connection: Any) -> None:
        with self._lock:
            self._live.add(connection)
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, daemon=True, name="registry-watch").start()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        """Goes on after the switch was thrown: a connection may stand only then."""
        while not self._closed.wait(_TICK):
            stopped, now = self._cancellation.stopped, time.monotonic()
            with self._lock:
                connections = list(self._live)
            for connection in connections:
                deadline = connection.deadline  # once: its own thread changes it
                slow = deadline is not None and now > deadline
                connection.was_slow = connection.was_slow or slow
                if stopped or slow:
                    _shut(connection.sock or connection.reached)


def new_pools(
    watch: Watch,
    judge: Judge,
    connections: int,
    *,
    tls: ssl.SSLContext | None = None,
    proxy: Proxy | None = None,
    proxy_tls: ssl.SSLContext | None = None,
) -> PoolManager:
    """Pools for hosts that are reached in the same way; `tls` is for https."""
    from urllib3 import PoolManager, ProxyManager, make_headers

    options: dict[str, Any] = {"num_pools": 8, "maxsize": connections, "blocksize": CHUNK, "retries": False}
    if tls is not None:
        options["ssl_context"] = tls
    made: PoolManager
    if proxy is None:
        made = PoolManager(**options)
    else:
        headers = make_headers(proxy_basic_auth=proxy.account) if proxy.account else None
        made = ProxyManager(proxy.url, proxy_headers=headers, proxy_ssl_context=proxy_tls, **options)
    made.pool_classes_by_scheme = _classes(watch, judge)
    return made


def _classes(watch: Watch, judge: Judge) -> dict[str, Any]:
    """Pools whose connections are watched and judged."""
    from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        deadline: float | None = None
        was_slow = False
        reached: socket.socket | None = None  # `sock` is gone while an answer without a length is still read

        def connect(self) -> None:
            self.was_slow = False
            watch.add(self)
            with answers.paced(self, _HANDSHAKE):
                super().connect()
            self.reached = self.sock

        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            try:
                if not self.proxy:
                    judge(self.host, self.port, made.getpeername()[0])
            except BaseException:
                made.close()
                raise
            self.reached = made
            return made

        def send(self, data: Any) -> None:
            if self.sock is None:
                super().send(data)
                return
            if self.deadline is not None:  # `connect` asks a proxy for a tunnel, and has a time for all of it
                self.sock.settimeout(_HANDSHAKE)
                super().send(data)
                return
            self.sock.settimeout(None)  # urllib3 leaves the one for connecting
            with answers.paced(self):
                super().send(data)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
            """The head; one that we cut off would else be taken for a whole one."""
            try:
                with answers.paced(self):
                    made = super().getresponse()
            except (OSError, HTTPException) as error:
                if not self.was_slow:
                    raise
                raise answers.too_slow() from error
            if self.was_slow:
                raise answers.too_slow()
            return made

    class Encrypted(Plain, HTTPSConnection):
        """The same, `connect` of HTTPSConnection included: it comes after `Plain` in the order of resolution."""

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _shut(connection: Any) -> None:
    """End a conversation under whoever waits in it; the TLS layer is not asked, it belongs to the waiting thread.

    TLS within a proxy's TLS is no socket, but has one.
    """
    if connection is not None:
        with suppress(OSError):
            socket.socket.shutdown(getattr(connection, "socket", connection), socket.SHUT_RDWR)
