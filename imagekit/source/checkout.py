"""A commit, checked out anew as the repository that was built from. Runs git; touches disk, and a network for a URL.

Git names everything by digest and computes each again as it arrives, so the tree is the commit's or there is none. What
else of a repository reaches a program's version is set to what it was: branch, tags, remote, length of a short commit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError, UnreadableError
from imagekit.source.git import STEERING, git
from imagekit.text import line, plain

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PROTOCOLS = "https:ssh"
"""What git may speak to an address that a document names; `ext::` and the like start programs."""
_SHOWN = 5


class Wanted(msgspec.Struct, frozen=True):
    """A commit, and the state of the repository that was built in (`git.GitState`)."""

    commit: str
    branch: str = ""
    short: str = ""
    remote: str = ""
    tags: dict[str, str] = {}
    linked: bool = False
    """Whether `.git` was a file that leads to the repository, as in a worktree: Go stamps no commit there."""


def check_out(
    origin: str | Path, wanted: Wanted, place: Path, *, env: Mapping[str, str], cancellation: Cancellation
) -> None:
    """Make `place`, which must not be there yet, a repository that stands at the commit; `origin` has it.

    `origin` is a folder that the user named, or an address, which git reaches with the user's `env`. Raises
    `UnreadableError` for what is no commit id or tag, `ToolError`, with git's words, for a commit that is not there.
    """
    for oid in (wanted.commit, *wanted.tags.values()):
        if not _COMMIT.fullmatch(oid):
            raise UnreadableError(f"{line(oid)[:80]!r} is not the id of a commit")
    clean = {name: value for name, value in env.items() if name not in STEERING}
    clean |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
    if isinstance(origin, Path):
        address = str(origin.absolute())
    else:
        address, clean["GIT_ALLOW_PROTOCOL"] = origin, _PROTOCOLS
    place.mkdir(parents=True)

    def do(*words: str, hint: str = "") -> bytes:
        done = git(words, place, clean, cancellation)
        if done.returncode:
            said = plain(done.stderr.decode(errors="replace").strip()).splitlines()[:_SHOWN]
            raise ToolError(
                "\n".join([f"commit {wanted.commit} cannot be had from {line(address)}:", *said]), hint=hint
            )
        return done.stdout

    own = place.with_name(f"{place.name}.git") if wanted.linked else place / ".git"
    form = "sha256" if len(wanted.commit) == 64 else "sha1"
    do(
        "init",
        "-q",
        "--template=",
        f"--object-format={form}",
        *([f"--separate-git-dir={own}"] if wanted.linked else []),
    )
    do(
        *("fetch", "-q", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--update-shallow"),
        *("--", address, f"+{wanted.commit}:refs/imagekit/wanted"),
        hint="name a clone that has it with --source DIR",
    )
    for words in _settings(wanted):
        do(*words)
    for tag, commit in wanted.tags.items():
        do("update-ref", "--", f"refs/tags/{tag}", commit, hint="does the clone have its history?")
    do("update-ref", "-d", "refs/imagekit/wanted")
    if do("rev-parse", "HEAD").decode().strip() != wanted.commit:
        raise ToolError(f"git checked out another commit than {wanted.commit}", hint="run the command again")
    (own / "FETCH_HEAD").unlink(missing_ok=True)


def _settings(wanted: Wanted) -> Sequence[Sequence[str]]:
    where = ("-B", wanted.branch, wanted.commit) if wanted.branch else ("--detach", wanted.commit)
    words: list[Sequence[str]] = [("config", "core.autocrlf", "false")]
    if wanted.short:
        words.append(("config", "core.abbrev", str(len(wanted.short))))
    if wanted.remote:
        words.append(("config", "remote.origin.url", wanted.remote))
    return [*words, ("checkout", "-q", *where, "--")]


def holds(folder: Path, commit: str, cancellation: Cancellation) -> bool:
    """Whether the repository around a folder has a commit."""
    clean = {name: value for name, value in os.environ.items() if name not in STEERING}
    return git(("cat-file", "-e", f"{commit}^{{commit}}"), folder, clean, cancellation).returncode == 0
