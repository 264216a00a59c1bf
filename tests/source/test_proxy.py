"""HTTP as the checksum database is reached by it: credentials, proxies, bounds."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import IntegrityError, NetworkError, StoppedError, UsageError
from imagekit.source import proxy, sumlog
from imagekit.source.note import VerifierKey


class _Recorder(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]  # the fixture sets it
        match self.path.rpartition("/")[2]:
            case "again":
                self._answer(302, b"", location="/found")
            case "loop":
                self._answer(302, b"", location="/loop")
            case "elsewhere":
                self._answer(302, b"", location="file:///etc/passwd")
            case "stall":
                time.sleep(1)
            case "cut":
                self._answer(200, b"half", length=100)
            case "endless":
                self._endless()
            case _:
                self._answer(200, b"found")

    def _answer(self, status: int, body: bytes, length: int | None = None, location: str = "") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body) if length is None else length))
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


class Server:
    def __init__(self) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _Recorder)
        self.http.daemon_threads = True
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.http.seen = self.seen  # type: ignore[attr-defined]  # read by the handler
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def fetch(url: str, env: dict[str, str] | None = None, limit: int = 100) -> bytes:
    web = proxy.Web(env or {})
    try:
        return web.fetch(url, limit)
    finally:
        web.close()


def test_credentials_in_the_url_are_sent_and_never_shown(server: Server) -> None:
    assert fetch(f"http://me:p%40ss@127.0.0.1:{server.port}/x") == b"found"
    ((path, headers),) = server.seen
    assert path == "/x"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"me:p@ss").decode()
    with pytest.raises(NetworkError) as caught:
        fetch("http://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


def test_netrc_is_for_https_only(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password pw\n")
    env = {"HOME": str(tmp_path)}
    fetch(f"http://127.0.0.1:{server.port}/x", env)
    assert "authorization" not in {name.lower() for name in server.seen[0][1]}
    expected = {"authorization": "Basic " + base64.b64encode(b"me:pw").decode()}
    assert proxy._with_credentials("https://127.0.0.1/x", env) == ("https://127.0.0.1/x", expected)
    assert proxy._with_credentials("https://127.0.0.1/x", {**env, "GOAUTH": "off"}) == ("https://127.0.0.1/x", {})
    (tmp_path / ".netrc").write_text("nonsense 127.0.0.1\n")
    assert proxy._with_credentials("https://127.0.0.1/x", env)[1] == {}


def test_an_http_proxy_of_the_environment_is_used(server: Server) -> None:
    env = {"HTTP_PROXY": f"http://u:p@127.0.0.1:{server.port}"}
    assert fetch("http://modules.test/x", env) == b"found"
    ((path, headers),) = server.seen
    assert path == "http://modules.test/x"
    assert headers["proxy-authorization"] == "Basic " + base64.b64encode(b"u:p").decode()


@pytest.mark.parametrize(
    ("url", "env", "expected"),
    [
        ("https://a.test/x", {"HTTPS_PROXY": "http://p.test:3128"}, "http://p.test:3128"),
        ("https://a.test/x", {"https_proxy": "p.test:3128"}, "http://p.test:3128"),
        ("https://a.test/x", {"HTTP_PROXY": "http://p.test:3128"}, ""),
        ("https://a.test/x", {"HTTPS_PROXY": "p.test", "NO_PROXY": "b.test,a.test"}, ""),
        ("https://sub.a.test/x", {"HTTPS_PROXY": "p.test", "no_proxy": " .a.test:443 "}, ""),
        ("https://ba.test/x", {"HTTPS_PROXY": "p.test", "NO_PROXY": "a.test"}, "http://p.test"),
        ("https://a.test/x", {"HTTPS_PROXY": "p.test", "NO_PROXY": "*"}, ""),
        ("https://localhost/x", {"HTTPS_PROXY": "p.test"}, ""),
        ("http://127.0.0.1/x", {"HTTP_PROXY": "p.test"}, ""),
    ],
)
def test_which_http_proxy(url: str, env: dict[str, str], expected: str) -> None:
    assert proxy._http_proxy(url, env) == expected


def test_redirects_are_followed_but_not_for_ever_and_not_to_files(server: Server) -> None:
    base = f"http://127.0.0.1:{server.port}"
    assert fetch(f"{base}/again") == b"found"
    for path in ("loop", "elsewhere"):
        with pytest.raises(NetworkError):
            fetch(f"{base}/{path}")
    assert len(server.seen) < 10


def test_an_endless_answer_is_not_read_to_its_end(server: Server) -> None:
    with pytest.raises(IntegrityError, match="larger than 100 bytes"):
        fetch(f"http://127.0.0.1:{server.port}/endless")


def test_a_cut_answer_is_no_answer(server: Server) -> None:
    with pytest.raises(NetworkError):
        fetch(f"http://127.0.0.1:{server.port}/cut")


def test_a_stalled_answer_and_a_deadline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "_READ_SECONDS", 0.1)
    with pytest.raises(proxy.SilentError):
        fetch(f"http://127.0.0.1:{server.port}/stall")
    web = proxy.Web({})
    web.limit_time(0)
    with pytest.raises(proxy.SilentError, match="no time left"):
        web.fetch(f"http://127.0.0.1:{server.port}/x", 100)


@pytest.mark.parametrize("url", ["ftp://a.test/x", "http:///x", "http://[::1/x", "nothing"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(UsageError):
        fetch(url)


def test_files_are_bounded_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(bytes(101))
    with pytest.raises(IntegrityError):
        fetch((tmp_path / "a b").as_uri())
    with pytest.raises(proxy.MissingError):
        fetch((tmp_path / "none").as_uri())
    with pytest.raises(NetworkError):
        fetch(tmp_path.as_uri())


def test_a_stopped_run_asks_nobody(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.stop(StoppedError("timeout", exit_code=124))
    asked: list[str] = []

    def ask(path: str, _: int) -> bytes:
        asked.append(path)
        return b""

    key = VerifierKey("sums.test", b"1234", bytes(32), "")
    client = sumlog.Client(tmp_path, key, ask, cancellation=cancellation)
    with pytest.raises(StoppedError):
        client.verify([("a.test/b", "v1.0.0")])
    assert asked == []
