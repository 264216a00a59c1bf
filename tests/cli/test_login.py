"""`imagekit login` and `logout`, as a user calls them."""

from __future__ import annotations

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from imagekit.cli.main import main


@pytest.fixture(autouse=True)
def docker_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path


class _Open(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def free_registry():
    """`127.0.0.1:port` of a registry that lets everybody in."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Open) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def typed(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))


def test_a_password_comes_from_standard_input(monkeypatch, tmp_path, capsys, free_registry):
    typed(monkeypatch, b"secret-word\n")
    assert main(["login", free_registry, "--username", "me", "--password-stdin"]) == 0
    kept = json.loads((tmp_path / "config.json").read_text())["auths"][free_registry]["auth"]
    assert base64.b64decode(kept) == b"me:secret-word"
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"logged in to {free_registry}" in shown.err
    assert "secret-word" not in shown.err
    assert main(["logout", free_registry]) == 0
    assert json.loads((tmp_path / "config.json").read_text()) == {"auths": {}}


REFUSED = {
    "no password": (["login", "r.example", "--username", "me"], b"", "no terminal"),
    "an empty one": (["login", "r.example", "--username", "me", "--password-stdin"], b"\n", "password is empty"),
    "a long one": (["login", "r.example", "--username", "me", "--password-stdin"], b"x" * (1 << 17), "too long"),
    "no user": (["login", "r.example", "--password-stdin"], b"x", "user's name"),
    "no registry": (["login", "https://r.example", "--password-stdin"], b"x", "not a registry"),
    "on the command line": (["login", "r.example", "--password", "secret"], b"", "No such option"),
}


@pytest.mark.parametrize(("words", "content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(monkeypatch, capsys, words, content, message):
    typed(monkeypatch, content)
    assert main(words) == 2
    assert message in capsys.readouterr().err
