"""How a checksum database is reached: through the module proxy that speaks for it, else directly.

Touches the network (https, http), or files for `file://` proxies. Every answer is bounded in size and time.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from imagekit.errors import IntegrityError, NetworkError, UsageError

if TYPE_CHECKING:
    from ssl import SSLContext

    from urllib3 import PoolManager
    from urllib3.response import BaseHTTPResponse

CONNECTIONS = 24
"""At a time; answers take 30 to 130 ms each, so that 100 modules take about a second."""
_CONNECT_SECONDS = 4.0
_READ_SECONDS = 10.0
_ANSWER_SECONDS = 20.0
_RETRIED = (429, 500, 502, 503, 504)

Fetch = Callable[[str, int], bytes]
"""(path, limit) -> the bytes at that path.

Raises `MissingError` for 404 and 410, `SilentError` for no answer, `NetworkError` for another status, `IntegrityError`
for more than `limit` bytes.
"""


class MissingError(NetworkError):
    """The server answered that it has no such thing."""


class SilentError(NetworkError):
    """Nobody answered in time: no route, no name, no connection."""


class Entry:
    """One element of GOPROXY; `forgiving` (it was followed by `|`) goes on to the next after any error."""

    def __init__(self, text: str, forgiving: bool) -> None:
        self.text, self.forgiving = text, forgiving


def entries(goproxy: str) -> Iterator[Entry]:
    """The elements of GOPROXY in order, as Go reads them; nothing stands after `direct` or `off`."""
    rest = goproxy
    while rest:
        ends = [at for at in (rest.find(","), rest.find("|")) if at >= 0]
        end = min(ends, default=len(rest))
        text, separator, rest = rest[:end].strip(), rest[end : end + 1], rest[end + 1 :]
        if not text:
            continue
        if any(c in text for c in ".:/") and ":/" not in text and not text.startswith("/"):
            text = f"https://{text}"
        yield Entry(text, separator == "|")
        if text in ("off", "direct"):
            return


def database_base(goproxy: str, name: str, url: str, fetch: Callable[[str, int], bytes]) -> str:
    """The URL under which the database `name` answers: `url` if GOSUMDB has one, else a proxy's, else its own.

    `fetch` gets whole URLs. Raises `NetworkError` if a proxy does not answer (and is not followed by `|`), and for
    `GOPROXY=off`, which asks for no network at all.
    """
    if url:
        return url.rstrip("/")
    for entry in entries(goproxy):
        if entry.text == "off":
            raise SilentError("GOPROXY=off allows no request")
        if entry.text == "direct":
            break
        base = f"{entry.text.rstrip('/')}/sumdb/{name}"
        try:
            fetch(f"{base}/supported", 1 << 16)
        except MissingError:
            continue
        except NetworkError:
            if not entry.forgiving:
                raise
            continue
        return base
    return f"https://{name}"


class Web:
    """Reads URLs with a pool of connections; safe to use from many threads; `close` it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._pools: dict[str, PoolManager] = {}
        self._deadline: float | None = None

    def limit_time(self, seconds: float) -> None:
        """From now on no request outlives this many seconds, and none begins after them."""
        self._deadline = time.monotonic() + seconds

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()

    def fetch(self, url: str, limit: int) -> bytes:
        """The bytes at `url`, as `Fetch` promises."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise _no_url(url) from None
        if parts.scheme == "file":
            return _read_file(Path(unquote(parts.path)), limit)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise _no_url(_shown(url))
        return self._request(url, limit)

    def _request(self, url: str, limit: int) -> bytes:
        from urllib3.exceptions import HTTPError

        bare, headers = _with_credentials(url, self._env)
        until = time.monotonic() + _ANSWER_SECONDS
        until = until if self._deadline is None else min(until, self._deadline)
        if time.monotonic() >= until:
            raise SilentError(f"{_shown(url)}: no time left")
        try:
            response = self._pool(bare).request("GET", bare, headers=headers, preload_content=False)
            try:
                return _body(response, url, limit, until)
            finally:
                response.release_conn()
        except HTTPError as error:
            raise SilentError(f"{_shown(url)}: {_reason(error)}") from error

    def _pool(self, url: str) -> PoolManager:
        """The pool for this host: one for all that are reached directly, one for each HTTP proxy."""
        proxy = _http_proxy(url, self._env)
        if proxy not in self._pools:
            self._pools[proxy] = _new_pool(proxy)
        return self._pools[proxy]


def _new_pool(proxy: str) -> PoolManager:
    from urllib3 import PoolManager, ProxyManager, Retry, Timeout

    retries = Retry(total=2, connect=0, read=1, redirect=3, status=2, status_forcelist=_RETRIED, backoff_factor=0.2)
    retries.respect_retry_after_header = False
    retries.raise_on_status = False
    timeout = Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    context = _trust()
    if not proxy:
        return PoolManager(maxsize=CONNECTIONS, retries=retries, timeout=timeout, ssl_context=context)
    bare, headers = _basic(proxy)
    spoken = {f"proxy-{name}": value for name, value in headers.items()}
    return ProxyManager(
        bare, maxsize=CONNECTIONS, retries=retries, timeout=timeout, ssl_context=context, proxy_headers=spoken
    )


def _trust() -> SSLContext:
    """The system's certificates and certifi's: TLS only keeps the questions private, the answers prove themselves."""
    import ssl

    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _body(response: BaseHTTPResponse, url: str, limit: int, until: float) -> bytes:
    if response.status in (404, 410):
        response.drain_conn()
        raise MissingError(f"{_shown(url)}: there is no such thing ({response.status})")
    if response.status != 200:
        raise NetworkError(f"{_shown(url)}: the server answered {response.status}")
    pieces, size = [], 0
    while piece := response.read1(1 << 16):
        size += len(piece)
        if size > limit:
            response.close()
            raise IntegrityError(f"{_shown(url)}: the answer is larger than {limit} bytes, which none may be")
        if time.monotonic() > until:
            response.close()
            raise SilentError(f"{_shown(url)}: the answer took too long")
        pieces.append(piece)
    return b"".join(pieces)


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError(f"{path}: there is no such file") from None
    except OSError as error:
        raise NetworkError(f"{path}: {error.strerror}") from error
    if len(content) > limit:
        raise IntegrityError(f"{path} is larger than {limit} bytes, which no answer may be")
    return content


def _with_credentials(url: str, env: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The URL without user and password, and the header that says them: from the URL, else from .netrc (https only)."""
    bare, headers = _basic(url)
    if headers or not url.startswith("https:"):
        return bare, headers
    return bare, _netrc(urlsplit(url).hostname or "", env)


def _basic(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, {}
    user, _, host = parts.netloc.rpartition("@")
    token = base64.b64encode(unquote(user if ":" in user else user + ":").encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"authorization": f"Basic {token}"}


def _netrc(host: str, env: Mapping[str, str]) -> dict[str, str]:
    """What Go's default `GOAUTH=netrc` would send; nothing where there is no such file or it cannot be read."""
    if "netrc" not in env.get("GOAUTH", "netrc"):
        return {}
    path = Path(env.get("NETRC") or Path(env.get("HOME", "/nonexistent")) / ".netrc")
    if not path.is_file():
        return {}
    import netrc

    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        return {}
    if found is None or not found[2]:
        return {}
    token = base64.b64encode(f"{found[0]}:{found[2]}".encode()).decode()
    return {"authorization": f"Basic {token}"}


def _http_proxy(url: str, env: Mapping[str, str]) -> str:
    """The HTTP proxy that the environment names for this URL, '' for none (loopback never has one, as in Go)."""
    parts = urlsplit(url)
    if parts.hostname in (None, "localhost", "127.0.0.1", "::1") or _bypassed(parts.hostname or "", env):
        return ""
    name = f"{parts.scheme}_proxy"
    proxy = env.get(name) or env.get(name.upper(), "")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _bypassed(host: str, env: Mapping[str, str]) -> bool:
    """Whether NO_PROXY covers the host: `*`, the name itself, or a domain above it."""
    names = (env.get("no_proxy") or env.get("NO_PROXY") or "").split(",")
    bare = [name.strip().lstrip(".").partition(":")[0] for name in names]
    return any(name == "*" or (name and (host == name or host.endswith(f".{name}"))) for name in bare)


def _no_url(text: str) -> UsageError:
    return UsageError(f"{text!r} is not a URL that modules come from", hint="look at `go env GOPROXY GOSUMDB`")


def _reason(error: Exception) -> str:
    """The last cause: `Connection refused`, not the pool that met it."""
    reason = getattr(error, "reason", None)
    return str(reason if isinstance(reason, Exception) else error).rpartition(": ")[2] or type(error).__name__


def _shown(url: str) -> str:
    """The URL without its credentials."""
    return _basic(url)[0]
