"""What went wrong on the way to a registry is said once, without names of classes, objects and system calls."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from email.utils import formatdate

import pytest
from urllib3 import HTTPConnectionPool, exceptions
from urllib3.connection import HTTPConnection

from imagekit.cancellation import Cancellation
from imagekit.errors import UsageError
from imagekit.oci.answers import PassingError, seconds_in, translated
from imagekit.oci.reference import Reference
from imagekit.oci.registry import connected
from imagekit.oci.transport import Transport


class Plain(HTTPConnection):
    """Shows itself as ours does."""


THERE = Plain("127.0.0.1", 1)
REFUSED = OSError(errno.ECONNREFUSED, "Connection refused")
RESET = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
WHERE = "HEAD https://127.0.0.1:1/v2/a/b/manifests/x"
SAID = {
    "refused": (
        exceptions.NewConnectionError(THERE, f"Failed to establish a new connection: {REFUSED}"),
        "Failed to establish a new connection: Connection refused",
    ),
    "no such name": (
        exceptions.NameResolutionError("nowhere", THERE, socket.gaierror(-2, "Name or service not known")),
        "Failed to resolve 'nowhere' (Name or service not known)",
    ),
    "reset": (exceptions.ProtocolError("Connection aborted.", RESET), "Connection aborted: Connection reset by peer"),
    "too slow": (
        exceptions.ReadTimeoutError(HTTPConnectionPool("127.0.0.1", 1), "/", "Read timed out. (read timeout=1)"),
        "Read timed out. (read timeout=1)",
    ),
    "proxy": (
        exceptions.ProxyError("Unable to connect to proxy", exceptions.NewConnectionError(THERE, str(REFUSED))),
        "the proxy: Unable to connect to proxy: Connection refused",
    ),
    "TLS": (exceptions.SSLError(ssl.SSLError(1, "[SSL] wrong version number")), "[SSL] wrong version number"),
    "system": (RESET, "Connection reset by peer"),
    "nothing to say": (exceptions.HTTPError(), ""),
}


@pytest.mark.parametrize("name", SAID)
def test_an_error_is_said_in_words(name):
    error, said = SAID[name]
    found = translated(error, WHERE)
    assert isinstance(found, PassingError)
    assert found.message == f"{WHERE}: {said}"


def test_a_registry_that_speaks_http_only_is_told_from_a_broken_connection(little):
    with Transport(Cancellation(), attempts=1) as transport:
        transport.trust(little.host)
        with pytest.raises(PassingError) as raised:
            transport.send("GET", f"https://{little.host}/v2/", {})
    assert "plain_http: true" in raised.value.hint


def test_the_request_is_not_told_twice():
    error = translated(SAID["reset"][0], WHERE)
    assert error.about("127.0.0.1:1/a/b: HEAD manifests/x").message == (
        "127.0.0.1:1/a/b: HEAD manifests/x: Connection aborted: Connection reset by peer"
    )


def test_another_address_than_was_asked_for_is_told():
    error = translated(SAID["reset"][0], "GET https://cdn.example/data")
    assert error.about("127.0.0.1:1/a/b: GET blobs/x").message == (
        "127.0.0.1:1/a/b: GET blobs/x: GET https://cdn.example/data: Connection aborted: Connection reset by peer"
    )


def test_a_closed_port_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(PassingError) as raised,
            connected(Reference.parse(f"{host}/a/b"), cancellation=Cancellation()),
        ):
            pass
    reason = "Failed to establish a new connection: Connection refused"
    assert raised.value.message == f"{host}/a/b: GET http://{host}/v2/: {reason}"
    assert raised.value.hint == "check host and port, and that it is running"


@pytest.mark.parametrize("algorithm", ["sha512", "sha384", "blake3"])
def test_a_digest_of_another_algorithm_is_said_to_be(algorithm):
    with pytest.raises(UsageError) as raised:
        Reference.parse(f"registry.example/a@{algorithm}:{'a' * 128}")
    assert raised.value.hint == f"only sha256 digests are read, not {algorithm}: name a tag"


WAITS = {"7": 7, " 7 ": 7, "": 0, "soon": 0, "-1": 0, "1e9": 0, "9" * 40: 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0}


@pytest.mark.parametrize(("text", "seconds"), WAITS.items())
def test_retry_after(text, seconds):
    assert seconds_in(text) == seconds


def test_retry_after_a_date():
    assert 50 < seconds_in(formatdate(time.time() + 60, usegmt=True)) <= 60
