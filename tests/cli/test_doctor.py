"""doctor: 0 where a build can run, 3 where something that it needs lacks, and the way out."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
SILENT = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""


def told(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str, str]]:
    return {one["name"]: (one["state"], one["detail"], one["hint"]) for one in json.loads(done.stdout)["checks"]}


def doctor(imagekit, root: Path, *words: str, code: int = 0, **environment: str) -> dict[str, tuple[str, str, str]]:
    done = imagekit("doctor", "--format", "json", *words, cwd=root, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"] == (code == 0)
    if code:
        assert done.stderr.splitlines()[-1].startswith("imagekit: exit 3: a build cannot run here: ")
    return told(done)


def test_all_is_well_where_a_build_runs(choosy, imagekit) -> None:
    found = doctor(imagekit, choosy, "--offline")
    assert [name for name, (state, _, _) in found.items() if state == "missing"] == []
    assert found["configuration"][1] == "imagekit.yaml: 3 targets"
    assert found["go"][1].startswith("go1.")
    assert found["module proxy"][0] == found["checksum database"][0] == "skipped"
    text = imagekit("doctor", "--offline", cwd=choosy)
    assert text.returncode == 0
    assert [row.split()[0] for row in text.stdout.splitlines() if not row.startswith(" ")] == [
        state for state, _, _ in found.values()
    ]


def test_outside_a_project_the_machine_counts(tmp_path, imagekit) -> None:
    assert doctor(imagekit, tmp_path, "--offline")["configuration"][0] == "skipped"


def test_no_go(choosy, imagekit, tmp_path) -> None:
    """A Python without the wheel, and nothing on PATH."""
    done = imagekit("doctor", "--offline", "--format", "json", cwd=choosy, PATH=str(tmp_path))
    state, detail, hint = told(done)["go"]
    if "imagekit[go]" in hint:
        assert (done.returncode, state) == (3, "missing")
        assert "there is no go command" in detail
    else:
        assert detail.startswith("go1."), "the wheel is beside this Python"


def test_a_mistake_in_the_configuration(choosy, imagekit) -> None:
    (choosy / "imagekit.yaml").write_text("version: 1\nbuild: []\n")
    state, detail, _ = doctor(imagekit, choosy, "--offline", code=3)["configuration"]
    assert state == "missing"
    assert "imagekit.yaml" in detail


def test_a_cache_that_cannot_be_written(choosy, imagekit) -> None:
    state, _, hint = doctor(imagekit, choosy, "--offline", "--cache-dir", "go.mod/x", code=3)["cache"]
    assert (state, hint) == ("missing", "name a writable folder: --cache-dir")


@pytest.fixture
def requiring(choosy: Path) -> Path:
    (choosy / "go.mod").write_text("module example.org/choosy\n\ngo 1.21\n\nrequire example.org/none v1.2.3\n")
    return choosy


def test_offline_the_missing_modules_are_named(requiring, imagekit) -> None:
    state, detail, hint = doctor(imagekit, requiring, "--offline", code=3)["modules"]
    assert state == "missing"
    assert "1 of 1 are not in" in detail
    assert detail.endswith(": example.org/none@v1.2.3")
    assert "go mod download" in hint


def test_a_replaced_or_vendored_module_does_not_lack(requiring, imagekit) -> None:
    with (requiring / "go.mod").open("a") as stream:
        stream.write("\nreplace example.org/none => ./registry\n")
    assert doctor(imagekit, requiring, "--offline")["modules"][0] == "ok"


def test_a_silent_proxy_matters_only_if_modules_lack(choosy, imagekit) -> None:
    silent = {"GOPROXY": SILENT, "GOFLAGS": ""}
    found = doctor(imagekit, choosy, **silent)
    assert found["module proxy"][0] == found["checksum database"][0] == "warning"
    (choosy / "go.mod").write_text("module example.org/choosy\n\ngo 1.21\n\nrequire example.org/none v1.2.3\n")
    found = doctor(imagekit, choosy, code=3, **silent)
    assert found["modules"][0] == "absent"
    assert found["module proxy"][0] == "missing"
    assert "refused" in found["module proxy"][1]


def test_a_repository_that_git_cannot_read(choosy, imagekit) -> None:
    (choosy / ".git").mkdir()
    state, detail, hint = doctor(imagekit, choosy, "--offline", code=3)["git"]
    assert state == "missing"
    assert "not a repository" in detail
    assert ".dockerignore" in hint


def test_a_repository_of_another_user(choosy, imagekit, tmp_path) -> None:
    """The state of `safe.directory`, as in a container that mounts a checkout; only root can give files away."""
    subprocess.run(["git", "init", "-q", str(choosy)], check=True)
    assert doctor(imagekit, choosy, "--offline", HOME=str(tmp_path))["git"][2] == "git commit"
    if os.geteuid() == 0:
        for path in (choosy, choosy / ".git"):
            os.chown(path, 12345, 12345)
        state, detail, hint = doctor(imagekit, choosy, "--offline", code=3, HOME=str(tmp_path))["git"]
        assert (state, hint) == ("missing", f"git config --global --add safe.directory {choosy}")
        assert "belongs to another user" in detail


def test_credential_helpers_that_are_named_and_not_there(choosy, imagekit, tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "nowhere", "auths": {}}')
    state, detail, _ = doctor(imagekit, choosy, "--offline", DOCKER_CONFIG=str(tmp_path))["credentials"]
    assert state == "warning"
    assert "docker-credential-nowhere" in detail


def test_a_docker_configuration_that_is_none_is_named(choosy, imagekit, tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"auths": ')
    state, detail, _ = doctor(imagekit, choosy, "--offline", DOCKER_CONFIG=str(tmp_path))["credentials"]
    assert (state, detail) == ("warning", f"{tmp_path}/config.json is not a docker configuration")


def test_an_engine_that_does_not_answer_takes_seconds_not_minutes(choosy, imagekit, tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        start = time.monotonic()
        found = doctor(imagekit, choosy, "--offline", DOCKER_HOST=f"unix://{tmp_path}/s")
    assert found["engine"][:2] == ("warning", "no answer in 5 s")
    assert time.monotonic() - start < 20


def test_zig_is_needed_by_who_asks_for_it(choosy, imagekit) -> None:
    (choosy / "imagekit.yaml").write_text("version: 1\nbuilds: [{id: app, main: ./cmd/app, cgo: static}]\n")
    listed = subprocess.run([sys.executable, "-c", "import ziglang"], capture_output=True)
    found = imagekit("doctor", "--offline", "--format", "json", cwd=choosy)
    assert (told(found)["cgo: static"][0], found.returncode) == (("missing", 3) if listed.returncode else ("ok", 0))
