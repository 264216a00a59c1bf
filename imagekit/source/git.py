"""What git says of the source: commit, tag, branch, time, and whether the tree was changed. Runs git; reads its files.

Three git processes side by side. The environment is built from nothing but PATH, HOME and where git keeps the user's
settings (safe.directory must count); no hook, file-system monitor, pager, prompt, index refresh or lazy fetch runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.errors import ToolError
from imagekit.processes import Completed, run
from imagekit.source.modpath import is_version, version_key

STEERING = frozenset(
    ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_COMMON_DIR")
)
"""Variables that point git at one repository (a hook sets them)."""
DIRTY_LIMIT = 20
"""How many changed paths are named."""
_CONFIG_LIMIT = 1 << 20
_KEPT = ("PATH", "HOME", "XDG_CONFIG_HOME", "SYSTEMROOT")
_SETTINGS = (
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "log.showSignature=false",
    "status.submoduleSummary=false",
)
_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--no-renames")
_LOG = (
    *("log", "-1", "--no-color", "--no-show-signature", "--decorate=full", "--decorate-refs=refs/tags/*"),
    *("--format=%H%x00%h%x00%ct%x00%D", "HEAD", "--"),
)


_TAGS = ("for-each-ref", "--merged=HEAD", "--format=%(refname:strip=2)%00%(objectname)%00%(*objectname)", "refs/tags")


class GitState(msgspec.Struct, frozen=True):
    """The repository around a folder. `commit` is '' before the first one; `commit_time` in seconds since 1970.

    `tag` is the highest version among the tags that point at the commit, else the last of them by name, else ''.
    `branch` is '' for a detached HEAD. `dirty` counts untracked files, as Go's own VCS stamp does. `remote` has no
    credentials, and is '' for a repository that was cloned from a folder: its path says nothing elsewhere.
    `tags` are those that decide what version Go stamps: all that point at the commit, and of each folder
    (`sub/v1.2.3`) and major version the highest that can be reached from it; tag -> commit.
    """

    root: Path
    commit: str
    short: str
    branch: str
    tag: str
    dirty: bool
    dirty_paths: tuple[str, ...]
    commit_time: int
    remote: str
    tags: dict[str, str] = {}


def read_state(directory: Path, *, env: Mapping[str, str], cancellation: Cancellation | None = None) -> GitState | None:
    """The state of the repository that `directory` is in; None where there is none.

    Raises `ToolError` that says why, if there is one but git is missing or cannot or may not read it.
    """
    root = find_root(directory)
    if root is None:
        return None
    clean = _environment(env, root)
    with ThreadPoolExecutor(3) as pool:
        status, log, tags = pool.map(lambda words: git(words, root, clean, cancellation), (_STATUS, _LOG, _TAGS))
    if status.returncode != 0:
        raise _explained(status, root)
    headers, paths = _parse_status(status.stdout)
    commit, short, seconds, tag = _parse_log(log, headers.get("branch.oid", ""), root)
    head = headers.get("branch.head", "")
    return GitState(
        root=root,
        commit=commit,
        short=short,
        branch="" if head == "(detached)" else head,
        tag=tag,
        dirty=bool(paths),
        dirty_paths=tuple(sorted(paths)[:DIRTY_LIMIT]),
        commit_time=seconds,
        remote=read_remote(root),
        tags=_parse_tags(tags, commit),
    )


def find_root(directory: Path) -> Path | None:
    """The nearest folder from `directory` upward that has a `.git` (a file in worktrees, submodules)."""
    absolute = directory.resolve()
    return next((folder for folder in (absolute, *absolute.parents) if (folder / ".git").exists()), None)


def _environment(env: Mapping[str, str], root: Path) -> dict[str, str]:
    return {
        **{name: env[name] for name in _KEPT if name in env},
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_CEILING_DIRECTORIES": str(root.parent),
        "LC_ALL": "C",
    }


def git(words: Sequence[str], root: Path, env: Mapping[str, str], cancellation: Cancellation | None) -> Completed:
    """One git command that starts no hook, monitor or pager of the repository's; its answer, whatever its status."""
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    return run(["git", *settings, *words], env=env, cwd=root, cancellation=cancellation)


def _parse_status(output: bytes) -> tuple[dict[str, str], list[str]]:
    """The `# key value` headers and the changed or untracked paths (git-status, porcelain format version 2)."""
    headers: dict[str, str] = {}
    paths: list[str] = []
    for raw in output.split(b"\0"):
        entry = raw.decode("utf-8", "backslashreplace")
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            key, _, headers[key] = rest.partition(" ")
        elif kind in ("?", "1", "u"):
            paths.append(rest if kind == "?" else entry.split(" ", 8 if kind == "1" else 10)[-1])
    return headers, paths


def _parse_log(log: Completed, oid: str, root: Path) -> tuple[str, str, int, str]:
    """(commit, short, time, tag); empty before the first commit."""
    if oid == "(initial)":
        return "", "", 0, ""
    if log.returncode != 0:
        raise _explained(log, root)
    fields = log.stdout.decode("utf-8", "backslashreplace").rstrip("\n").split("\0")
    if len(fields) != 4 or not fields[2].isdigit():
        raise ToolError(f"git log said something unexpected in {root}", hint="run `git log -1` there")
    return fields[0], fields[1], int(fields[2]), _best_tag(fields[3])


def _parse_tags(answer: Completed, commit: str) -> dict[str, str]:
    """The tags that decide a version, sorted by name; {} where git lists none (no commit yet)."""
    kept: dict[str, str] = {}
    below: dict[tuple[str, str], list[str]] = {}
    places: dict[str, str] = {}
    for raw in answer.stdout.decode("utf-8", "backslashreplace").splitlines():
        tag, _, objects = raw.partition("\0")
        own, _, peeled = objects.partition("\0")
        places[tag] = peeled or own
        folder, _, version = tag.rpartition("/")
        if places[tag] == commit:
            kept[tag] = commit
        elif is_version(version):
            below.setdefault((folder, version.partition(".")[0]), []).append(tag)
    for tags in below.values():
        best = max(tags, key=lambda tag: version_key(tag.rpartition("/")[2]))
        kept[best] = places[best]
    return dict(sorted(kept.items()))


def _best_tag(decorations: str) -> str:
    tags = [name.removeprefix("tag: refs/tags/") for name in decorations.split(", ") if name.startswith("tag: ")]
    versions = [tag for tag in tags if is_version(tag)]
    return max(versions, key=version_key) if versions else max(tags, default="")


def _explained(failed: Completed, root: Path) -> ToolError:
    """Why git refused, and the way out."""
    said = failed.stderr.decode("utf-8", "backslashreplace").strip()
    first = said.partition("\n")[0].removeprefix("fatal: ")
    if "dubious ownership" in said:
        return ToolError(
            f"git does not read {root}: it belongs to another user",
            hint=f"git config --global --add safe.directory {root}",
        )
    if "not a git repository" in said:
        return ToolError(
            f"{root}/.git is there, but is not a repository: {first}",
            hint="was it cut by a .dockerignore or a sparse copy? Copy it whole, or remove it",
        )
    return ToolError(f"git failed in {root}: {first or failed.returncode}", hint=f"run `git -C {root} status`")


def read_remote(root: Path) -> str:
    """The URL of the remote `origin`, else of the only remote, without credentials; '' if there is none to tell."""
    path = _config_path(root)
    try:
        with path.open("rb") as stream:
            text = stream.read(_CONFIG_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
    remotes = _remotes(text)
    only = next(iter(remotes.values())) if len(remotes) == 1 else ""
    return public_url(remotes.get("origin", only))


def _config_path(root: Path) -> Path:
    """The repository's own config; a worktree's `.git` file leads there through `commondir`."""
    folder = root / ".git"
    if folder.is_file():
        pointed = folder.read_text("utf-8", "replace").partition("gitdir:")[2].strip()
        folder = (root / pointed).resolve()
        common = folder / "commondir"
        if common.is_file():
            folder = (folder / common.read_text("utf-8", "replace").strip()).resolve()
    return folder / "config"


def _remotes(text: str) -> dict[str, str]:
    """name -> first `url` of each `[remote "name"]` (git-config, CONFIGURATION FILE)."""
    remotes: dict[str, str] = {}
    name = ""
    for raw in text.splitlines():
        line = raw.strip()
        section = re.match(r'\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]', line)
        if section:
            name = re.sub(r"\\(.)", r"\1", section[2] or "") if section[1].lower() == "remote" else ""
        setting = re.match(r"url\s*=\s*(.*)", line[section.end() :].strip() if section else line, re.IGNORECASE)
        if setting and name:
            remotes.setdefault(name, _value(setting[1]))
    return remotes


def _value(text: str) -> str:
    """A config value: comments outside of quotes go, quotes and escapes are undone."""
    out, quoted = [], False
    for piece in re.findall(r"\\.|.", text):
        if piece == '"':
            quoted = not quoted
        elif piece in "#;" and not quoted:
            break
        else:
            out.append(piece[-1])
    return "".join(out).strip()


def public_url(url: str) -> str:
    """The URL that may be published: no user, password, query or fragment; '' for a folder of this machine.

    Of ssh URLs the user name stays, since it is part of the address.
    """
    if "://" not in url:
        scp = re.fullmatch(r"(?:[^/@:]+@)?[\w.-]+:(?!\\)[^\s]+", url)
        return url if scp and not re.match(r"[A-Za-z]:", url) else ""
    parts = urlsplit(url)
    if parts.scheme == "file" or not parts.netloc:
        return ""
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme in ("ssh", "git+ssh") and at:
        host = f"{user.partition(':')[0]}@{host}"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
