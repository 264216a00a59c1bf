"""Which repository Go stamps into a build, and why that can fail.

Touches disk; starts `git` only to explain a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.processes import run
from imagekit.text import line

_MARKERS = ((".git", "git"), (".hg", "hg"), (".svn", "svn"), (".bzr", "bzr"), (".fslckout", "fossil"))
"""The entry that makes a folder a working copy, and the program Go asks (cmd/go/internal/vcs)."""
FAILED = "error obtaining VCS status"


class Repository(msgspec.Struct, frozen=True):
    """A working copy: its root folder, and the program that knows its state."""

    root: Path
    program: str


def repository_of(directory: Path) -> Repository | None:
    """The nearest working copy around a folder."""
    for folder in (directory, *directory.parents):
        for marker, program in _MARKERS:
            if (folder / marker).exists():
                return Repository(folder, program)
    return None


def is_stamped(directory: Path) -> bool:
    """Whether Go stamps the nearest working copy into what it builds in a folder.

    Where `.git` is a file, as in git's worktrees and submodules, it does not: it would pass over that folder and stamp
    the repository around it, if there is one (cmd/go/internal/vcs, isVCSRoot).
    """
    repository = repository_of(directory)
    return repository is not None and (repository.program != "git" or (repository.root / ".git").is_dir())


def explain(directory: Path, env: Mapping[str, str], cancellation: Cancellation | None = None) -> ToolError:
    """Why Go could not read the version-control state of `directory`, in the version-control program's own words.

    Go itself says only `exit status 128`. `env` is the environment that the build had.
    """
    repository = repository_of(directory)
    if repository is None:
        return ToolError(f"{directory}: Go found a repository that is no longer there", hint="run the build again")
    if repository.program != "git":
        return ToolError(
            f"{repository.root}: {repository.program} did not tell the state of the working copy",
            hint=f"install {repository.program}, or try `{repository.program} status` there",
        )
    try:
        answer = run(["git", "status", "--porcelain"], env=env, cwd=directory, cancellation=cancellation)
        said = answer.stderr.decode(errors="replace").strip()
        if not answer.returncode:
            answer = run(["git", "rev-parse", "HEAD"], env=env, cwd=directory, cancellation=cancellation)
            said = answer.stderr.decode(errors="replace").strip()
    except ToolError:
        return ToolError(
            f"{repository.root} is a git repository, and there is no git to read its state with",
            hint="install git, or build from a folder without .git",
        )
    first = said.splitlines()[0] if said else f"git status ended with {answer.returncode}"
    return ToolError(f"git cannot read the state of {repository.root}: {line(first)}", hint=_way_out(said, repository))


def _way_out(said: str, repository: Repository) -> str:
    if "dubious ownership" in said:
        return f"its files belong to another user: git config --global --add safe.directory {repository.root}"
    if "not a git repository" in said:
        return "parts of .git are missing (a .dockerignore? a worktree or submodule without its parent?); copy it whole"
    if "unknown revision" in said or "ambiguous argument" in said:
        return "the repository has no commit yet: git commit"
    if "shallow" in said or "promisor" in said or "unable to read" in said:
        return "the clone is shallow or partial: git fetch --unshallow"
    return f"run `git status` in {repository.root}"
