"""A commit checked out anew, from real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError, UnreadableError
from imagekit.source import git
from imagekit.source.checkout import Wanted, check_out, holds

ENV = {
    **os.environ,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.test",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.test",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}


def run_git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, env=ENV, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Three commits; v0.1.0 at the first, v0.2.0 (annotated) and sub/v1.0.0 at the second, v0.3.0-rc.1 at the third."""
    folder = tmp_path / "repository"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "main")
    for number, tags in ((1, ["v0.1.0"]), (2, ["sub/v1.0.0"]), (3, ["v0.3.0-rc.1", "nightly"])):
        (folder / "a.txt").write_text(f"{number}\r\n")
        run_git(folder, "add", ".")
        run_git(folder, "commit", "-qm", str(number))
        for tag in tags:
            run_git(folder, "tag", tag)
        if number == 2:
            run_git(folder, "tag", "-a", "v0.2.0", "-m", "two")
    return folder


def state(folder: Path) -> git.GitState:
    found = git.read_state(folder, env=os.environ)
    assert found is not None
    return found


def wanted(seen: git.GitState) -> Wanted:
    return Wanted(seen.commit, seen.branch, seen.short, seen.remote, seen.tags)


def test_the_state_is_what_it_was_after_the_repository_moved_on(repository: Path, tmp_path: Path) -> None:
    run_git(repository, "config", "core.abbrev", "9")
    run_git(repository, "remote", "add", "origin", "https://git.example/app")
    before = state(repository)
    assert before.tags == {
        "nightly": before.commit,
        "sub/v1.0.0": run_git(repository, "rev-parse", "HEAD~1"),
        "v0.2.0": run_git(repository, "rev-parse", "HEAD~1"),
        "v0.3.0-rc.1": before.commit,
    }
    run_git(repository, "tag", "-d", "nightly", "v0.2.0")
    run_git(repository, "tag", "v0.9.0")
    (repository / "a.txt").write_text("4")
    run_git(repository, "commit", "-qam", "four")
    place = tmp_path / "again"
    check_out(repository, wanted(before), place, env=os.environ, cancellation=Cancellation())
    again = state(place)
    assert (place / "a.txt").read_bytes() == b"3\r\n"
    for name in ("commit", "short", "branch", "tag", "dirty", "commit_time", "remote", "tags"):
        assert getattr(again, name) == getattr(before, name), name


def test_a_detached_head_stays_one(repository: Path, tmp_path: Path) -> None:
    run_git(repository, "checkout", "-q", "--detach", "HEAD~2")
    before = state(repository)
    check_out(repository, wanted(before), tmp_path / "again", env=os.environ, cancellation=Cancellation())
    assert state(tmp_path / "again").branch == ""
    assert state(tmp_path / "again").tags == {"v0.1.0": before.commit}


def test_a_shallow_clone_has_its_commit(repository: Path, tmp_path: Path) -> None:
    """A CI job's clone has no parents to give; the checkout is as shallow."""
    run_git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), "shallow")
    before = state(tmp_path / "shallow")
    place = tmp_path / "again"
    check_out(tmp_path / "shallow", wanted(before), place, env=os.environ, cancellation=Cancellation())
    again = state(place)
    assert (again.commit, again.tags, again.dirty) == (before.commit, before.tags, False)


def test_a_worktree_has_its_repository_elsewhere_again(repository: Path, tmp_path: Path) -> None:
    """Go stamps no commit where `.git` is a file."""
    seen = msgspec.structs.replace(wanted(state(repository)), linked=True)
    place = tmp_path / "again"
    check_out(repository, seen, place, env=os.environ, cancellation=Cancellation())
    again = state(place)
    assert (place / ".git").is_file()
    assert (again.commit, again.branch, again.dirty, again.root) == (seen.commit, seen.branch, False, place.resolve())


def test_a_repository_with_sha256_names(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "main", "--object-format=sha256")
    (folder / "a").touch()
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-qm", "one")
    check_out(folder, wanted(state(folder)), tmp_path / "again", env=os.environ, cancellation=Cancellation())
    assert state(tmp_path / "again").commit == state(folder).commit


def test_no_hook_of_the_user_or_the_source_runs(repository: Path, tmp_path: Path) -> None:
    for hook in ("post-checkout", "reference-transaction", "post-update"):
        program = repository / ".git/hooks" / hook
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        program.chmod(0o755)
    environment = {**os.environ, "GIT_TEMPLATE_DIR": str(repository / ".git")}
    check_out(repository, wanted(state(repository)), tmp_path / "again", env=environment, cancellation=Cancellation())
    assert not (tmp_path / "ran").exists()


REFUSED = {
    "no commit id": (Wanted("HEAD"), UnreadableError, "not the id of a commit"),
    "an option": (Wanted("--upload-pack=touch /tmp/x" + "0" * 20), UnreadableError, "not the id of a commit"),
    "a tag that leaves": (Wanted("", tags={"../../config": "0" * 40}), ToolError, "cannot be had"),
    "a tag at nothing": (Wanted("", tags={"v1.0.0": "1" * 40}), ToolError, "cannot be had"),
    "a tag at no commit": (Wanted("", tags={"v1.0.0": "main"}), UnreadableError, "not the id of a commit"),
    "a branch that is an option": (Wanted("", branch="--orphan"), ToolError, "cannot be had"),
    "a commit that is not there": (Wanted("2" * 40), ToolError, "cannot be had"),
}


@pytest.mark.parametrize(("asked", "error", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_asked_for_wrongly_is_an_error(
    repository: Path, tmp_path: Path, asked: Wanted, error: type[Exception], why: str
) -> None:
    commit = asked.commit or state(repository).commit
    order = Wanted(commit, asked.branch, asked.short, asked.remote, asked.tags)
    with pytest.raises(error, match=why):
        check_out(repository, order, tmp_path / "again", env=os.environ, cancellation=Cancellation())


@pytest.mark.parametrize("address", ["ext::sh -c true", "file:///etc", "http://127.0.0.1:9/x", "-oProxyCommand=x"])
def test_an_address_is_reached_by_https_or_ssh_alone(repository: Path, tmp_path: Path, address: str) -> None:
    with pytest.raises(ToolError, match=r"not allowed|cannot be had"):
        check_out(address, wanted(state(repository)), tmp_path / "again", env=os.environ, cancellation=Cancellation())


def test_which_repository_has_a_commit(repository: Path) -> None:
    assert holds(repository, state(repository).commit, Cancellation())
    assert not holds(repository, "3" * 40, Cancellation())
