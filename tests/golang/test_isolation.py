"""A compile that has no network: shown by a server that cannot be reached from there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.golang.isolation import isolation

ASK = "import socket,sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"


@pytest.mark.real
def test_not_even_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = [sys.executable, "-c", ASK, str(server.getsockname()[1])]
        subprocess.run(argv, check=True)
        done = subprocess.run([*isolation(Cancellation()), *argv], check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "OSError" in done.stderr or "refused" in done.stderr or "unreachable" in done.stderr


@pytest.mark.real
def test_an_ordinary_user_is_isolated_by_a_user_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = "/usr/bin/unshare"
    program = tmp_path / "unshare"
    program.write_text(f'#!/bin/sh\n[ "$1" = --net ] && {{ echo not permitted >&2; exit 1; }}\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert isolation(Cancellation()) == ("unshare", "--user", "--map-current-user", "--net")


def test_where_nothing_isolates_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ToolError, match="Operation not permitted") as caught:
        isolation(Cancellation())
    assert "--allow network" in caught.value.hint
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ToolError, match="cannot start unshare"):
        isolation(Cancellation())
