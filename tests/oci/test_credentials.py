"""Docker's configuration and helpers: what is found, what is refused, and what never shows a secret."""

from __future__ import annotations

import base64
import json
import resource
import threading
import traceback
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import StoppedError, ToolError, UsageError
from imagekit.oci import credential_helper
from imagekit.oci.credentials import Credentials, find_credentials

HOST = "registry.example:5000"
PAIR = base64.b64encode(b"me:pa:ss").decode()
FROM_FILE = {
    "the host": ({"auths": {HOST: {"auth": PAIR}}}, Credentials("me", "pa:ss")),
    "an old address": ({"auths": {f"https://{HOST}/v2/": {"auth": PAIR}}}, Credentials("me", "pa:ss")),
    "an identity token": (
        {"auths": {HOST: {"auth": PAIR, "identitytoken": "t"}}},
        Credentials(identity_token="t"),
    ),
    "another host": ({"auths": {"other.example": {"auth": PAIR}}}, Credentials()),
    "an empty entry": ({"auths": {HOST: {}}}, Credentials()),
    "nothing": ({}, Credentials()),
    "no accounts": ({"currentContext": "x", "HttpHeaders": {"a": "b"}}, Credentials()),
}


@pytest.fixture
def configuration(monkeypatch, tmp_path: Path):
    """Write docker's configuration, and programs beside it on PATH."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def write(value: object, **programs: str) -> Path:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        (tmp_path / "config.json").write_bytes(content)
        for name, text in programs.items():
            path = tmp_path / f"docker-credential-{name}"
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        return tmp_path

    return write


@pytest.mark.parametrize(("value", "wanted"), FROM_FILE.values(), ids=FROM_FILE)
def test_what_the_file_says(configuration, value, wanted):
    configuration(value)
    assert find_credentials(HOST) == wanted


def test_without_a_file_there_is_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    assert not find_credentials(HOST)


GIVES = 'read host; echo "{\\"Username\\":\\"$host\\",\\"Secret\\":\\"s\\"}"'
TOKEN = 'read host; echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"s\\"}"'


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_helper_is_asked_for_the_host(configuration, key):
    configuration({key: "fake" if key == "credsStore" else {HOST: "fake"}}, fake=GIVES)
    assert find_credentials(HOST) == Credentials(HOST, "s")


def test_a_helper_may_give_a_token(configuration):
    configuration({"credsStore": "fake"}, fake=TOKEN)
    assert find_credentials(HOST) == Credentials(identity_token="s")


def test_a_helper_that_knows_nothing_leaves_the_file(configuration):
    unknown = "echo 'credentials not found in native keychain'; exit 1"
    configuration({"credsStore": "fake", "auths": {HOST: {"auth": PAIR}}}, fake=unknown)
    assert find_credentials(HOST) == Credentials("me", "pa:ss")


@pytest.mark.parametrize("name", ["../fake", "/bin/fake", "a/b", "-x", "a b", ".", "a\nb"])
def test_a_helper_named_by_a_path_is_refused(configuration, name):
    place = configuration({"credHelpers": {HOST: name}}, fake=f"touch {Path('/tmp')}/never")
    with pytest.raises(UsageError, match="not a plain name") as raised:
        find_credentials(HOST)
    assert str(place) in raised.value.message


FAILS = {
    "fails": "echo secret; exit 1",
    "fails and says why": "echo secret >&2; exit 1",
    "no JSON": "echo secret",
    "other keys": 'echo \'{"Secret":"secret"}\'',
    "a list": "echo '[\"secret\"]'",
    "another type": 'echo \'{"Username":"me","Secret":["secret"]}\'',
    "no text": "printf '\\377secret'",
}


def raised_by(helper: str, configuration) -> ToolError:
    configuration({"credsStore": "fake"}, fake=helper)
    with pytest.raises(ToolError, match="docker-credential-fake ") as raised:
        find_credentials(HOST)
    assert "secret" not in "".join(traceback.format_exception(raised.value)).replace("find_credentials", "")
    return raised.value


@pytest.mark.parametrize("helper", FAILS.values(), ids=FAILS)
def test_a_helper_that_fails_is_named_and_not_quoted(configuration, helper):
    error = raised_by(helper, configuration)
    assert error.message == f"docker-credential-fake gave nothing for {HOST}"
    assert f"echo {HOST} | docker-credential-fake get" in error.hint
    assert "config.json" in error.hint


def test_a_helper_that_is_not_there_is_said_to_lack(configuration):
    place = configuration({"credsStore": "missing"})
    with pytest.raises(ToolError, match=r"docker-credential-missing, which .* is not on PATH") as raised:
        find_credentials(HOST)
    assert str(place / "config.json") in raised.value.message
    assert raised.value.hint == f"install it, or take it out of {place}/config.json"


def test_a_helper_that_never_answers_is_not_waited_for(configuration, monkeypatch):
    monkeypatch.setattr(credential_helper, "SECONDS", 1.0)
    error = raised_by("echo secret; sleep 600", configuration)
    assert error.message == f"docker-credential-fake get for {HOST} did not end within 1 s"


@pytest.mark.parametrize("to", ["", ">&2"])
def test_a_helper_that_never_stops_talking_is_not_listened_to(configuration, to):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = raised_by(f"exec yes secret {to}", configuration)
    assert error.message == f"docker-credential-fake get for {HOST} printed more than 64 KiB"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_stop_ends_a_helper(configuration):
    switch = Cancellation()
    threading.Timer(0.3, switch.stop, [StoppedError("enough", exit_code=130)]).start()
    configuration({"credsStore": "fake"}, fake="sleep 600")
    with pytest.raises(StoppedError, match="enough"):
        find_credentials(HOST, switch)


BROKEN = {
    "no JSON": b"{",
    "a list": b"[]",
    "not base64": {"auths": {HOST: {"auth": "!"}}},
    "no colon": {"auths": {HOST: {"auth": base64.b64encode(b"secret").decode()}}},
    "auths is a list": {"auths": ["x"]},
    "an entry is text": {"auths": {HOST: "secret"}},
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_and_not_quoted(configuration, value):
    place = configuration(value)
    with pytest.raises(UsageError, match="not a docker configuration") as raised:
        find_credentials(HOST)
    assert str(place) in raised.value.message
    assert raised.value.__suppress_context__


def test_a_secret_is_not_shown():
    assert "word" not in repr(Credentials("me", "pass-word", "token-word"))
