"""Git state of real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagekit.errors import ToolError
from imagekit.source import git

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.test",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.test",
    "GIT_AUTHOR_DATE": "1700000000 +0100",
    "GIT_COMMITTER_DATE": "1700000001 +0100",
}
Git = Callable[..., str]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home)}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "main")
    (folder / "a.txt").write_text("a")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "-q", "-m", "first")
    return folder


def run_git(folder: Path, *words: str) -> str:
    answer = subprocess.run(["git", *words], cwd=folder, env=ENV, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def read(folder: Path, env: dict[str, str]) -> git.GitState:
    state = git.read_state(folder, env=env)
    assert state is not None
    return state


def test_a_clean_commit(repository: Path, env: dict[str, str]) -> None:
    (repository / "sub").mkdir()
    state = read(repository / "sub", env)
    assert state == git.GitState(
        root=repository,
        commit=run_git(repository, "rev-parse", "HEAD"),
        short=run_git(repository, "rev-parse", "--short", "HEAD"),
        branch="main",
        tag="",
        dirty=False,
        dirty_paths=(),
        commit_time=1700000001,
        remote="",
    )


def wrapped(tmp_path: Path, line: str) -> str:
    """A PATH whose git does something before it is git."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{line}\nexec {shutil.which("git")} "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def test_it_takes_three_processes_and_little_time(repository: Path, env: dict[str, str], tmp_path: Path) -> None:
    read(repository, {**env, "PATH": wrapped(tmp_path, f"echo x >>{tmp_path}/count")})
    assert (tmp_path / "count").read_text() == "x\nx\nx\n"
    times = []
    for _ in range(10):
        started = time.perf_counter()
        read(repository, env)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.05  # 3 to 7 ms where nobody else computes


def test_changed_deleted_untracked_and_renamed_files_make_it_dirty(repository: Path, env: dict[str, str]) -> None:
    for name in ("b.txt", "c.txt", "d d\nd.txt"):
        (repository / name).write_text(name * 50)
    run_git(repository, "add", ".")
    run_git(repository, "commit", "-q", "-m", "second")
    (repository / "a.txt").write_text("changed")
    (repository / "b.txt").unlink()
    (repository / "d d\nd.txt").rename(repository / "e.txt")
    run_git(repository, "add", "-A", "e.txt")
    (repository / "new").mkdir()
    (repository / "new" / "x").touch()
    state = read(repository, env)
    assert state.dirty
    assert state.dirty_paths == ("a.txt", "b.txt", "d d\nd.txt", "e.txt", "new/")


def test_a_conflict_is_dirty(repository: Path, env: dict[str, str]) -> None:
    run_git(repository, "checkout", "-q", "-b", "other")
    (repository / "a.txt").write_text("other")
    run_git(repository, "commit", "-q", "-a", "-m", "other")
    run_git(repository, "checkout", "-q", "main")
    (repository / "a.txt").write_text("main")
    run_git(repository, "commit", "-q", "-a", "-m", "main")
    with pytest.raises(subprocess.CalledProcessError):
        run_git(repository, "merge", "other")
    assert read(repository, env).dirty_paths == ("a.txt",)


def test_ignored_files_do_not_count(repository: Path, env: dict[str, str]) -> None:
    (repository / ".gitignore").write_text("*.out\n.gitignore\n")
    (repository / "x.out").touch()
    assert not read(repository, env).dirty


def test_dirty_paths_are_limited(repository: Path, env: dict[str, str]) -> None:
    for number in range(git.DIRTY_LIMIT + 10):
        (repository / f"{number:03d}").touch()
    assert len(read(repository, env).dirty_paths) == git.DIRTY_LIMIT


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ((), ""),
        (("v1.9.0", "v1.10.0", "v1.10.0-rc.1", "latest"), "v1.10.0"),
        (("nightly", "stable"), "stable"),
        (("app/v1.0.0",), "app/v1.0.0"),
    ],
)
def test_the_tag_of_the_commit(tags: tuple[str, ...], expected: str, repository: Path, env: dict[str, str]) -> None:
    for tag in tags:
        run_git(repository, "tag", tag)
    assert read(repository, env).tag == expected


def test_annotated_tags_count_and_those_of_other_commits_do_not(repository: Path, env: dict[str, str]) -> None:
    run_git(repository, "tag", "-a", "-m", "x", "v1.0.0")
    assert read(repository, env).tag == "v1.0.0"
    run_git(repository, "commit", "-q", "--allow-empty", "-m", "next")
    assert read(repository, env).tag == ""


def test_a_detached_head_has_no_branch(repository: Path, env: dict[str, str]) -> None:
    run_git(repository, "checkout", "-q", "--detach")
    assert read(repository, env).branch == ""


def test_before_the_first_commit(tmp_path: Path, env: dict[str, str]) -> None:
    run_git(tmp_path, "init", "-q", "-b", "main", "new")
    (tmp_path / "new" / "x").touch()
    state = read(tmp_path / "new", env)
    assert (state.commit, state.branch, state.dirty, state.commit_time) == ("", "main", True, 0)


def test_no_repository(tmp_path: Path, env: dict[str, str]) -> None:
    assert git.read_state(tmp_path, env=env) is None


def test_a_shallow_clone_is_fine(repository: Path, env: dict[str, str], tmp_path: Path) -> None:
    run_git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    run_git(tmp_path, "clone", "-q", "--depth", "1", repository.as_uri(), "shallow")
    state = read(tmp_path / "shallow", env)
    assert state.commit == run_git(repository, "rev-parse", "HEAD")
    assert state.remote == ""


def test_a_worktree_has_the_remote_of_its_repository(repository: Path, env: dict[str, str], tmp_path: Path) -> None:
    run_git(repository, "remote", "add", "origin", "https://user:secret@git.example/team/app.git")
    run_git(repository, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    state = read(tmp_path / "side", env)
    assert (state.root, state.branch) == (tmp_path / "side", "side")
    assert state.remote == "https://git.example/team/app.git"


def test_another_repository_in_the_environment_is_not_read(
    repository: Path, env: dict[str, str], tmp_path: Path
) -> None:
    run_git(tmp_path, "init", "-q", "other")
    state = read(repository, {**env, "GIT_DIR": str(tmp_path / "other" / ".git"), "GIT_WORK_TREE": "/"})
    assert state.commit == run_git(repository, "rev-parse", "HEAD")


def test_nothing_of_the_repository_is_run_or_written(repository: Path, env: dict[str, str], tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    run_git(repository, "config", "core.fsmonitor", str(hook))
    run_git(repository, "config", "core.pager", str(hook))
    run_git(repository, "config", "pager.log", "true")
    run_git(repository, "config", "log.showSignature", "true")
    run_git(repository, "config", "gpg.program", str(hook))
    run_git(repository, "config", "core.hooksPath", str(tmp_path))
    for name in ("post-index-change", "fsmonitor-watchman"):
        (tmp_path / name).write_bytes(hook.read_bytes())
        (tmp_path / name).chmod(0o755)
    os.utime(repository / "a.txt", (1, 1))
    index = (repository / ".git" / "index").read_bytes()
    read(repository, env)
    assert not (tmp_path / "ran").exists()
    assert (repository / ".git" / "index").read_bytes() == index


def test_settings_of_the_user_that_change_the_output_do_not_matter(repository: Path, env: dict[str, str]) -> None:
    run_git(repository, "tag", "v1.0.0")
    (Path(env["HOME"]) / ".gitconfig").write_text(
        "[status]\nshowUntrackedFiles=no\nrelativePaths=true\nbranch=true\nshort=true\n[log]\ndecorate=short\n"
        "excludeDecoration=refs/tags/*\ndate=relative\nshowRoot=false\n[color]\nui=always\n[core]\nabbrev=12\n"
    )
    (repository / "new").touch()
    state = read(repository, env)
    assert (state.tag, state.dirty_paths, len(state.short)) == ("v1.0.0", ("new",), 12)


def test_a_repository_of_somebody_else_says_what_to_do(repository: Path, env: dict[str, str], tmp_path: Path) -> None:
    env["PATH"] = wrapped(tmp_path, "export GIT_TEST_ASSUME_DIFFERENT_OWNER=1")  # git's own switch for this
    with pytest.raises(ToolError, match="belongs to another user") as caught:
        git.read_state(repository, env=env)
    assert caught.value.hint == f"git config --global --add safe.directory {repository}"
    (Path(env["HOME"]) / ".gitconfig").write_text(f"[safe]\ndirectory = {repository}\n")
    assert read(repository, env).branch == "main"


def test_a_broken_repository_is_not_that_of_the_folder_above(repository: Path, env: dict[str, str]) -> None:
    (repository / "sub" / ".git").mkdir(parents=True)
    with pytest.raises(ToolError, match="is not a repository") as caught:
        git.read_state(repository / "sub", env=env)
    assert ".dockerignore" in caught.value.hint


def test_no_git(repository: Path, env: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot start git"):
        git.read_state(repository, env={**env, "PATH": str(tmp_path)})


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://user:token@git.example/a/b.git", "https://git.example/a/b.git"),
        ("https://token@git.example:8443/a?private_token=x#y", "https://git.example:8443/a"),
        ("https://git.example/a", "https://git.example/a"),
        ("ssh://git:pw@git.example:22/a", "ssh://git@git.example:22/a"),
        ("git@git.example:team/app.git", "git@git.example:team/app.git"),
        ("git.example:team/app.git", "git.example:team/app.git"),
        ("git://git.example/a", "git://git.example/a"),
        ("file:///home/me/app", ""),
        ("/home/me/app", ""),
        ("../app", ""),
        ("C:\\me\\app", ""),
        ("C:/me/app", ""),
        ("", ""),
    ],
)
def test_what_may_be_published_of_a_url(url: str, public: str) -> None:
    assert git.public_url(url) == public


@pytest.mark.parametrize(
    ("config", "remote"),
    [
        ('[remote "origin"]\n\turl = https://a.example/x ; comment\n', "https://a.example/x"),
        ('[remote "up"]\n\tURL="https://a.example/x#y" # comment\n', "https://a.example/x"),
        ('[remote "a"]\nurl=https://a.example/a\n[remote "origin"] url=https://a.example/o\n', "https://a.example/o"),
        ('[remote "a"]\nurl=https://a.example/a\n[remote "b"]\nurl=https://a.example/b\n', ""),
        ('[remote "origin"]\nurl=https://a.example/1\nurl=https://a.example/2\n', "https://a.example/1"),
        ('[url "https://x:y@b.example"]\ninsteadOf=https://a.example\n', ""),
        ('[remote "origin"]\n;url=https://a.example/x\n[core]\nurl = https://no.example\n', ""),
    ],
)
def test_the_remote_in_a_config(config: str, remote: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text(config)
    assert git.read_remote(tmp_path) == remote
