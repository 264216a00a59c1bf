"""`imagekit login` and `logout`, as a user calls them."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pty
import sys
import termios
import threading
import time
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


def typed_at_a_terminal(words: list[str], keys: bytes) -> tuple[int, str, bool]:
    """Run `imagekit …` on a terminal of its own, type when it asks; exit code, the screen, whether keys are shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "imagekit", *words])  # noqa: S606 - that is what is wanted
    screen = b""
    with contextlib.suppress(OSError):  # the end of the terminal's other side
        while piece := os.read(terminal, 4096):
            screen += piece
            if b"password: " in screen and keys:
                time.sleep(0.1)  # what is typed before the prompt is thrown away
                os.write(terminal, keys)
                keys = b""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shown = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
    os.close(terminal)
    return code, screen.decode(), shown


def test_a_password_is_asked_for_at_a_terminal(tmp_path, free_registry):
    code, screen, shown = typed_at_a_terminal(["login", free_registry, "--username", "me"], b"secret-word\n")
    assert (code, shown) == (0, True)
    assert "secret-word" not in screen
    kept = json.loads((tmp_path / "config.json").read_text())["auths"][free_registry]["auth"]
    assert base64.b64decode(kept) == b"me:secret-word"


def test_ctrl_c_at_the_prompt_ends_it_and_keys_are_shown_again(tmp_path, free_registry):
    code, screen, shown = typed_at_a_terminal(["login", free_registry, "--username", "me"], b"half a\x03")
    assert (code, shown) == (130, True)
    assert "half a" not in screen
    assert "imagekit: exit 130: interrupted (SIGINT)" in screen
    assert not (tmp_path / "config.json").exists()
