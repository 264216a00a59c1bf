"""HTTP to registries: patience, redirects, and what may be sent where. Touches the network through `connections`.

Plain HTTP is spoken to this machine and to hosts that the user named for it. Whoever was named may be anywhere; where
an answer sends us on must be public, or of the same kind as the registry's own address. A redirect never takes
credentials to another host. A thrown cancellation shuts the sockets, so that nobody waits for a slow peer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

import imagekit
from imagekit.cancellation import Cancellation
from imagekit.content import Readable
from imagekit.errors import NetworkError
from imagekit.oci.addresses import Kind, authority, joined, kind_of, may_lead, origin, shown_url, unencrypted
from imagekit.oci.answers import PassingError, translated
from imagekit.oci.connections import CONNECT, Watch, new_pools
from imagekit.oci.hosts import Registries
from imagekit.oci.reference import is_loopback

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

    from imagekit.oci.addresses import Origin

T = TypeVar("T")
CONNECTIONS = 4
"""To one registry at a time."""
_ATTEMPTS = 5
_BACKOFF, _LONGEST = 0.2, 60.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
_AGENT = f"imagekit/{imagekit.__version__}"


class Transport:
    """Requests with patience; closes its connections when it is left."""

    def __init__(
        self,
        cancellation: Cancellation,
        *,
        registries: Registries | None = None,
        attempts: int | None = None,
    ) -> None:
        self.cancellation = cancellation
        self._attempts = attempts or _ATTEMPTS
        self.registries = registries or Registries()
        self._watch = Watch(cancellation)
        self._pools: dict[object, PoolManager] = {}
        self._ways: dict[Origin, PoolManager] = {}
        self._named: dict[tuple[str, int | None], bool] = {}
        self._homes: set[Kind] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.close()
        for pool in self._pools.values():
            pool.clear()

    def trust(self, host: str, *, home: bool = True) -> None:
        """The user named `host[:port]`: a `home` may have any address, and send us to its own kind.

        Another may be sent to wherever it is, but for link-local addresses.
        """
        for scheme in ("https", "http"):
            self._named[origin(f"{scheme}://{host}")[1:]] = home
        kind = kind_of(origin(f"https://{host}")[1])
        if home and kind is not None:
            self._homes.add(kind)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Readable | bytes | None = None
    ) -> BaseHTTPResponse:
        """One request and its answer, whatever its status, unread; the caller drains or closes it.

        Raises `PassingError` where there is no answer; `NetworkError` where asking again cannot help.
        """
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        self.cancellation.check()
        self.check(url)
        try:
            answer = self._way(url).request(
                method,
                url,
                headers={"User-Agent": _AGENT, **headers},
                body=cast("BinaryIO | bytes | None", body),  # urllib3 calls `read` alone
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=Timeout(connect=CONNECT, read=None),
            )
            answer.url = url  # urllib3 keeps the path alone, and errors name the host
            return answer
        except (HTTPError, OSError, ValueError) as error:
            self.cancellation.check()
            raise translated(error, f"{method} {shown_url(url)}") from error

    def follow(self, method: str, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """`send` for what has no body, through at most five redirects; another host never sees `Authorization`."""
        for _ in range(_HOPS):
            answer = self.send(method, url, headers)
            if answer.status not in _REDIRECTS:
                return answer
            answer.close()
            new = self.moved(url, answer.headers.get("Location", ""))
            if origin(new) != origin(url):
                headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
            url = new
        raise NetworkError(f"{method} {shown_url(url)}: more than {_HOPS} redirects")

    def moved(self, url: str, location: str, *, setting: str = "storage_hosts") -> str:
        """Where `location` in an answer from `url` leads; raises `NetworkError` for where it may not lead.

        `setting` is the key of registries.yaml that would allow it.
        """
        new = joined(url, location)
        if not new or not self._is_allowed(new):
            raise unencrypted(new or location, url)
        _, host, port = origin(new)
        kind = kind_of(host)
        if kind is not None and not self._may_go(host, port, kind):
            said = f"{shown_url(url)} sends us to {shown_url(new)}, which is {kind.value}"
            raise NetworkError(said, hint=_how_to_allow(kind, authority(new), setting))
        return new

    def _may_go(self, host: str, port: int | None, kind: Kind) -> bool:
        """Whether we may go to an address of this kind under that name."""
        home = self._named.get((host, port))
        return bool(home) or may_lead(kind, self._homes) or (home is False and kind is not Kind.LINK)

    def check(self, url: str) -> None:
        """Raise `NetworkError` unless `url` is https, or http to where plain http may be spoken."""
        if not self._is_allowed(url):
            raise unencrypted(url)

    def _is_allowed(self, url: str) -> bool:
        try:
            scheme, host, port = origin(url)
        except ValueError:
            return False
        return bool(host) and (scheme == "https" or (scheme == "http" and self.may_be_plain(host, port)))

    def may_be_plain(self, host: str, port: int | None) -> bool:
        """Whether http may be spoken to a host: this machine, or one that registries.yaml names for it."""
        name = f"[{host}]" if ":" in host else host
        names = (f"{name}:{port}", name) if port in (80, None) else (f"{name}:{port}",)
        return is_loopback(host) or any(self.registries.host(each).plain_http for each in names)

    def patiently(self, action: Callable[[], T]) -> T:
        """What `action` gives, tried a few times while it raises `PassingError`, with growing pauses between.

        Five times, unless this transport was made for another number.
        """
        for attempt in range(self._attempts - 1):
            try:
                return action()
            except PassingError as error:
                if error.after > _LONGEST:
                    asked = f"{error.message}; it asks us to come back in {error.after:.0f} s"
                    raise NetworkError(
                        asked, hint="run the same command then; what arrived is not sent again"
                    ) from error
                import random

                pause = _BACKOFF * 2**attempt * (0.5 + random.random())  # noqa: S311 - jitter, not a secret
                self.cancellation.wait(max(pause, error.after))
                self.cancellation.check()
        return action()

    def _way(self, url: str) -> PoolManager:
        """The pools through which `url` is reached: straight or by a proxy, with the certificates for its host."""
        where = origin(url)
        with self._lock:
            if where not in self._ways:
                self._ways[where] = self._new_way(*where)
            return self._ways[where]

    def _new_way(self, scheme: str, host: str, port: int | None) -> PoolManager:
        from imagekit.oci import tls
        from imagekit.oci.proxies import find_proxy

        encrypted, proxy = scheme == "https", find_proxy(scheme, host, port)
        folder = tls.certificates_folder(host, port) if encrypted else None
        key = (encrypted, proxy, folder)
        if key not in self._pools:
            behind = tls.context(None) if proxy and proxy.url.startswith("https:") else None
            own = tls.context(folder) if encrypted else None
            self._pools[key] = new_pools(self._watch, self._judge, CONNECTIONS, tls=own, proxy=proxy, proxy_tls=behind)
        return self._pools[key]

    def _judge(self, host: str, port: int, address: str) -> None:
        """A name may lead anywhere, so the address that was reached is what counts (DNS rebinding)."""
        kind, name = kind_of(address) or Kind.LINK, host.strip("[]").lower()
        if not self._may_go(name, port, kind):
            where = authority(f"https://{f'[{name}]' if ':' in name else name}:{port}")
            raise NetworkError(
                f"a registry sends us to {shown_url(host)}, which is {kind.value} ({address})",
                hint=_how_to_allow(kind, where, "storage_hosts"),
            )
        if self._named.get((name, port)):
            self._homes.add(kind)


def _how_to_allow(kind: Kind, host: str, setting: str) -> str:
    if kind is Kind.LINK:
        return "no registry may send us there"
    return f'if that is right, name it in registries.yaml: {setting}: ["{host}"]'
