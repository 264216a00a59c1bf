"""Which proxy a request goes through, and what a proxy sees."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import NetworkError, UsageError
from imagekit.oci.answers import PassingError
from imagekit.oci.proxies import Proxy, find_proxy
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected, push
from imagekit.oci.store import Memory
from imagekit.oci.transport import Transport

pytestmark = pytest.mark.usefixtures("alone")
PROXIES = {
    "none": ({}, "https", "r.example", None),
    "upper case": ({"HTTPS_PROXY": "http://p.example:3128"}, "https", "r.example", Proxy("http://p.example:3128")),
    "lower case": ({"https_proxy": "http://p.example:3128"}, "https", "r.example", Proxy("http://p.example:3128")),
    "without a scheme": ({"HTTPS_PROXY": "p.example:3128"}, "https", "r.example", Proxy("http://p.example:3128")),
    "for http": ({"HTTPS_PROXY": "http://p.example:3128"}, "http", "r.example", None),
    "with an account": (
        {"HTTPS_PROXY": "http://me:p%40ss@p.example"},
        "https",
        "r.example",
        Proxy("http://p.example:80", "me:p@ss"),
    ),
    "this machine": ({"HTTPS_PROXY": "http://p.example"}, "https", "127.0.0.1", None),
    "excepted": ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": "a.example, r.example"}, "https", "r.example", None),
    "a domain": ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": ".example"}, "https", "r.example", None),
    "a parent": ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": "example"}, "https", "r.example", None),
    "no parent": (
        {"HTTPS_PROXY": "http://p.example", "NO_PROXY": "ample"},
        "https",
        "r.example",
        Proxy("http://p.example:80"),
    ),
    "another port": (
        {"HTTPS_PROXY": "http://p.example", "NO_PROXY": "r.example:5000"},
        "https",
        "r.example",
        Proxy("http://p.example:80"),
    ),
    "a network": ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": "10.0.0.0/8"}, "https", "10.1.2.3", None),
    "everything": ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": "*"}, "https", "r.example", None),
}


@pytest.mark.parametrize(("variables", "scheme", "host", "wanted"), PROXIES.values(), ids=PROXIES)
def test_which_proxy(monkeypatch, variables, scheme, host, wanted):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(scheme, host, 443) == wanted


@pytest.mark.parametrize("value", ["socks5://me:secret@p.example", "http://", "http://p.example:port"])
def test_a_proxy_that_is_none_is_not_quoted(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(UsageError, match="HTTPS_PROXY") as raised:
        find_proxy("https", "r.example", 443)
    assert "secret" not in raised.value.message
    assert "me:p@ss" not in repr(Proxy("http://p.example:80", "me:p@ss"))


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that sees `CONNECT` and leads everything to this machine; its address and the heads that it saw."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_proxying, args=(server, heads), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", heads


def _proxying(server: socket.socket, heads: list[bytes]) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_tunnel, args=(client, heads), daemon=True).start()


def _tunnel(client: socket.socket, heads: list[bytes]) -> None:
    head = b""
    while b"\r\n\r\n" not in head and (piece := client.recv(4096)):
        head += piece
    heads.append(head)
    port = int(head.split()[1].rpartition(b":")[2])
    beyond = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
    threading.Thread(target=_pump, args=(beyond, client), daemon=True).start()
    _pump(client, beyond)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)


def test_a_registry_behind_a_proxy(account, monkeypatch, proxy, little_registry, certificate, build_image):
    """By the proxy's tunnel, with TLS to the registry in it; the account of the proxy is for the proxy alone."""
    address, heads = proxy
    secure = little_registry(certificate)
    port = secure.host.rpartition(":")[2]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:proxysecret@{address}")
    account(f"registry.test:{port}")
    secure.want_basic("me", "secret")
    store = Memory()
    image = build_image(store, "linux/amd64")
    push(store, image, Reference.parse(f"registry.test:{port}/team/app:1.0"), cancellation=Cancellation())
    assert "1.0" in secure.manifests
    assert heads[0].startswith(f"CONNECT registry.test:{port} HTTP/1.".encode())
    assert b"Proxy-Authorization: Basic " in heads[0] or b"proxy-authorization: Basic " in heads[0]
    assert base64.b64encode(b"me:secret") not in b"".join(heads)
    assert not any("proxy" in key.lower() for seen in secure.seen for key in seen.headers)


def test_a_proxy_that_is_not_there_is_named_without_its_account(monkeypatch, free_port):
    monkeypatch.setattr("imagekit.oci.transport._ATTEMPTS", 2)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:proxysecret@127.0.0.1:{free_port}")
    with (
        connected(Reference.parse("registry.test/team/app:1"), cancellation=Cancellation()) as repository,
        pytest.raises(NetworkError, match="the proxy") as raised,
    ):
        repository.resolve()
    assert "proxysecret" not in raised.value.message


def dripping(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    with suppress(OSError):
        while True:
            client.sendall(b"X")
            time.sleep(0.02)


SLOW_PROXIES = {
    "one that never answers": lambda _: time.sleep(30),
    "one whose head does not end": dripping,
    "one behind which nobody speaks TLS": lambda client: (client.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), time.sleep(30)),
}


@pytest.mark.parametrize("answer", SLOW_PROXIES.values(), ids=SLOW_PROXIES)
def test_a_proxy_is_not_waited_for_without_end(monkeypatch, answer):
    monkeypatch.setattr("imagekit.oci.connections._HANDSHAKE", 0.3)

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server, Transport(Cancellation(), attempts=1) as transport:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.getsockname()[1]}")
        transport.trust("registry.test")
        with pytest.raises(PassingError, match=r"registry\.test/v2/"):
            transport.send("GET", "https://registry.test/v2/", {})


def test_a_registry_behind_an_encrypted_proxy_is_not_waited_for_without_end(
    monkeypatch, proxy, little_registry, certificate, answers
):
    """TLS within TLS is cut as any connection is, and whoever cuts it lives on for the others."""
    address, _ = proxy
    secure = little_registry(certificate)
    secure.fail("GET", "/v2/", lambda _: time.sleep(30), 2)
    monkeypatch.setattr("imagekit.oci.answers.PACE", 0.5)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with encrypted(address, certificate) as outside, Transport(Cancellation(), attempts=1) as transport:
        monkeypatch.setenv("HTTPS_PROXY", f"https://{outside}")
        where = f"registry.test:{secure.host.rpartition(':')[2]}"
        transport.trust(where)
        for _ in range(2):
            with pytest.raises(PassingError, match="too slow"):
                transport.send("GET", f"https://{where}/v2/", {})
        assert transport.send("GET", f"https://{where}/v2/", {}).status == 200


@contextmanager
def encrypted(address: str, certificate: tuple[Path, Path]) -> Iterator[str]:
    """Where `address` can be reached over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    host, _, port = address.partition(":")

    def serve(client: socket.socket) -> None:
        with suppress(OSError):
            outside, inside = context.wrap_socket(client, server_side=True), socket.create_connection((host, int(port)))
            threading.Thread(target=_pump, args=(inside, outside), daemon=True).start()
            _pump(outside, inside)

    def accept(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, args=(server,), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
