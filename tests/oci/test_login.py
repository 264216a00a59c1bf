"""Logging in: tried first, kept where docker keeps it, and never shown."""

from __future__ import annotations

import base64
import json
import stat
import traceback
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import NetworkError, ToolError, UsageError
from imagekit.oci.credentials import Credentials, find_credentials
from imagekit.oci.login import check_account, forget, keep, registry_host, verify

HOST = "registry.example:5000"
ACCOUNT = Credentials("me", "pa:ss")
OTHER = {"auth": base64.b64encode(b"you:word").decode()}
HELPER = """
case "$1" in
store) cat > "$0.kept" ;;
get) read host; grep -q "$host" "$0.kept" 2>/dev/null && printf '{"Username":"me","Secret":"pa:ss"}' || {
  echo 'credentials not found in native keychain'; exit 1; } ;;
erase) rm -f "$0.kept" ;;
esac
"""


@pytest.fixture
def place(monkeypatch, tmp_path: Path) -> Path:
    """A folder that is docker's configuration, and the only one on PATH but for the system's."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("IMAGEKIT_REGISTRIES", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path


def helper(place: Path, name: str, script: str = HELPER) -> None:
    path = place / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


def config(place: Path) -> dict:
    return json.loads((place / "config.json").read_text())


def test_without_a_helper_it_stands_in_a_file_of_its_owner(place):
    assert keep(HOST, ACCOUNT) == str(place / "config.json")
    assert stat.S_IMODE((place / "config.json").stat().st_mode) == 0o600
    assert find_credentials(HOST) == ACCOUNT


def test_what_else_stands_there_stays(place):
    before = {"auths": {"other.example": OTHER}, "HttpHeaders": {"a": "b"}, "psFormat": "table"}
    (place / "config.json").write_text(json.dumps(before))
    keep(HOST, ACCOUNT)
    assert config(place) == {**before, "auths": {**before["auths"], HOST: config(place)["auths"][HOST]}}
    assert forget(HOST)
    assert config(place) == before


def test_a_link_stays_a_link(place, tmp_path_factory):
    real = tmp_path_factory.mktemp("real") / "config.json"
    real.write_text("{}")
    (place / "config.json").symlink_to(real)
    keep(HOST, ACCOUNT)
    assert (place / "config.json").is_symlink()
    assert HOST in json.loads(real.read_text())["auths"]


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_configured_helper_keeps_it(place, key):
    helper(place, "fake")
    (place / "config.json").write_text(json.dumps({key: "fake" if key == "credsStore" else {HOST: "fake"}}))
    assert keep(HOST, ACCOUNT) == "docker-credential-fake"
    assert "pa:ss" not in (place / "config.json").read_text()
    assert config(place)["auths"] == {HOST: {}}
    assert json.loads((place / "docker-credential-fake.kept").read_text())["Secret"] == "pa:ss"
    assert find_credentials(HOST) == ACCOUNT
    assert forget(HOST)
    assert not (place / "docker-credential-fake.kept").exists()


def test_an_installed_helper_is_preferred_to_the_file(place, monkeypatch):
    helper(place, "pass")
    helper(place, "x")
    (place / "pass").write_text("#!/bin/sh\n")
    (place / "pass").chmod(0o755)
    monkeypatch.setenv("PASSWORD_STORE_DIR", str(place / "store"))
    (place / "store").mkdir()
    assert keep("first.example", ACCOUNT) == str(place / "config.json"), "a store that was never made keeps nothing"
    (place / "store/.gpg-id").write_text("me")
    assert keep(HOST, ACCOUNT) == "docker-credential-pass"
    assert config(place)["credHelpers"] == {HOST: "pass"}
    assert find_credentials(HOST) == ACCOUNT


@pytest.mark.parametrize("name", ["../fake", "/bin/fake", "a/b"])
def test_a_helper_named_by_a_path_is_not_run(place, name):
    helper(place, "fake", f"touch {place}/ran")
    (place / "config.json").write_text(json.dumps({"credHelpers": {HOST: name}}))
    for action in (lambda: keep(HOST, ACCOUNT), lambda: forget(HOST)):
        with pytest.raises(UsageError, match="not a plain name"):
            action()
    assert not (place / "ran").exists()


def test_a_helper_that_fails_shows_nothing(place):
    helper(place, "fake", "cat; exit 1")
    (place / "config.json").write_text('{"credsStore": "fake"}')
    with pytest.raises(ToolError, match="docker-credential-fake could not store") as raised:
        keep(HOST, ACCOUNT)
    assert "pa:ss" not in raised.value.hint + "".join(traceback.format_exception(raised.value))


def test_a_broken_configuration_is_not_overwritten(place):
    (place / "config.json").write_text("{")
    with pytest.raises(UsageError, match="not a docker configuration"):
        keep(HOST, ACCOUNT)
    assert (place / "config.json").read_text() == "{"


def test_nobody_was_logged_in(place):
    assert not forget(HOST)
    assert not (place / "config.json").exists()


@pytest.mark.parametrize("key", ["{}", "https://{}", "http://{}/", "https://{}/v1", "https://{}/v2/", "{}/team/app"])
def test_no_account_that_commands_would_use_stays(place, key):
    auth = {"auth": base64.b64encode(f"{ACCOUNT.username}:{ACCOUNT.password}".encode()).decode()}
    (place / "config.json").write_text(json.dumps({"auths": {key.format(HOST): auth, "other.example": OTHER}}))
    assert find_credentials(HOST) == ACCOUNT
    assert forget(HOST)
    assert not find_credentials(HOST)
    assert config(place)["auths"] == {"other.example": OTHER}


def test_the_hub_has_a_key_of_its_own(place):
    keep("docker.io", ACCOUNT)
    assert list(config(place)["auths"]) == ["https://index.docker.io/v1/"]
    assert find_credentials("docker.io") == ACCOUNT
    assert forget("docker.io")


HOSTS = {"registry.example": "registry.example", "localhost:5000": "localhost:5000", "index.docker.io": "docker.io"}


@pytest.mark.parametrize(("text", "host"), HOSTS.items())
def test_a_registry_is_named_by_its_host(text, host):
    assert registry_host(text) == host


@pytest.mark.parametrize("text", ["", "word", "https://x.example", "x.example/team", "a b", "x.example:99999", "-x.y"])
def test_what_is_no_registry_is_refused(text):
    with pytest.raises(UsageError, match="not a registry"):
        registry_host(text)


@pytest.mark.parametrize("pair", [("", "x"), ("a:b", "x"), ("a\n", "x"), ("me", ""), ("me", "two\nlines")])
def test_what_cannot_be_sent_is_refused(pair):
    with pytest.raises(UsageError):
        check_account(*pair)


# At a registry.


def test_right_and_wrong_passwords(place, little):
    little.want_basic("me", "pa:ss")
    verify(little.host, ACCOUNT, Cancellation())
    with pytest.raises(NetworkError) as raised:
        verify(little.host, Credentials("me", "wrongword"), Cancellation())
    refused = f"login to {little.host}: the registry refused user or password (status 401"
    assert raised.value.message.startswith(refused)
    assert raised.value.hint == "check both; some registries want a token in the place of the password"
    assert "wrongword" not in raised.value.message


def test_a_token_service_is_asked(place, little):
    little.want_token(paid_with="Basic " + base64.b64encode(b"me:pa:ss").decode())
    verify(little.host, ACCOUNT, Cancellation())
    (asked,) = little.calls("GET", "/token")
    assert asked.path == "/token?service=little"
    with pytest.raises(NetworkError, match=r"refused user or password \(a token from .*: status 401"):
        verify(little.host, Credentials("me", "other"), Cancellation())


def test_a_registry_that_sends_us_on_gets_nothing(place, little, little_registry, answers):
    other = little_registry()
    little.fail("GET", "/v2/$", answers.of(307, {"Location": f"{other.url}/v2/"}), times=9)
    with pytest.raises(NetworkError, match="status 307"):
        verify(little.host, ACCOUNT, Cancellation())
    assert not other.seen
