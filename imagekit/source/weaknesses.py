"""What weakens the trust in the source: settings, replacements, missing sums, a dirty tree. Computes only.

The rule ids and their severities are the policy's; here is what was seen, who caused it, and the way out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from imagekit.source.git import GitState
from imagekit.source.gomod import Replace
from imagekit.source.gosum import GoSum
from imagekit.source.modpath import covered
from imagekit.source.weakness import Weakness

_NAMED = 5


def weaknesses(
    settings: Mapping[str, str],
    *,
    ambient: Mapping[str, str],
    file: Mapping[str, str],
    modules: Sequence[str] = (),
    replaces: Iterable[tuple[Path, Replace]] = (),
    needed: Iterable[tuple[str, str]] = (),
    go_sum: GoSum | None = None,
    git: GitState | None = None,
) -> tuple[Weakness, ...]:
    """All of them, in the order of this signature.

    `settings` as `go env` resolved them, `ambient` the process environment, `file` what `go env -w` set: they tell who
    set a value. `modules`: paths in the build. `replaces`: each with the go.mod or go.work that it stands in.
    `needed`: (module, version) whose packages are compiled; those without a zip hash in `go_sum` are named.
    """
    found = [*sumdb_off(settings, ambient, file, modules), *local_replaces(replaces)]
    if go_sum is not None:
        found += missing_sums(needed, go_sum)
    if git is not None:
        found += dirty_tree(git)
    return tuple(found)


def sumdb_off(
    settings: Mapping[str, str], ambient: Mapping[str, str], file: Mapping[str, str], modules: Sequence[str]
) -> Iterator[Weakness]:
    """Settings that keep modules from being checked, or fetched over an authenticated connection."""
    if settings.get("GOSUMDB") == "off":
        yield Weakness(
            "sumdb-off",
            f"no module is checked against a checksum database: GOSUMDB=off, {_by('GOSUMDB', ambient, file)}",
            "GOSUMDB",
            _undo("GOSUMDB", ambient),
        )
    for name in _pattern_settings(settings, ambient, file):
        patterns = settings[name]
        what = "fetched without checking certificates" if name == "GOINSECURE" else "not checked against the database"
        yield Weakness(
            "sumdb-off",
            f"modules that {name}={patterns} covers are {what}: {_covered(patterns, modules)}; "
            f"{_by(name, ambient, file)}",
            name,
            f"keep its patterns to modules that really are private, or {_undo(name, ambient)}",
        )
    if any(flag.lstrip("-").partition("=")[0] == "insecure" for flag in settings.get("GOFLAGS", "").split()):
        yield Weakness(
            "sumdb-off",
            f"GOFLAGS asks for -insecure, {_by('GOFLAGS', ambient, file)}",
            "GOFLAGS",
            _undo("GOFLAGS", ambient),
        )


def _pattern_settings(
    settings: Mapping[str, str], ambient: Mapping[str, str], file: Mapping[str, str]
) -> Iterator[str]:
    """GONOSUMDB unless it only repeats GOPRIVATE, whose value it has by default; GOINSECURE; GOPRIVATE."""
    if settings.get("GONOSUMDB") and (
        settings["GONOSUMDB"] != settings.get("GOPRIVATE") or ambient.get("GONOSUMDB") or file.get("GONOSUMDB")
    ):
        yield "GONOSUMDB"
    for name in ("GOINSECURE", "GOPRIVATE"):
        if settings.get(name):
            yield name


def _by(name: str, ambient: Mapping[str, str], file: Mapping[str, str]) -> str:
    """Who set it."""
    if ambient.get(name):
        return "set by the environment"
    if name in file:
        return "set by `go env -w`"
    return "set by the Go installation's go.env"


def _undo(name: str, ambient: Mapping[str, str]) -> str:
    return f"`unset {name}`" if ambient.get(name) else f"`go env -u {name}`"


def _covered(patterns: str, modules: Sequence[str]) -> str:
    hit = sorted({module for module in modules if covered(patterns, module)})
    return f"in this build {_listed(hit)}" if hit else "none in this build"


def local_replaces(replaces: Iterable[tuple[Path, Replace]]) -> Iterator[Weakness]:
    """Modules whose source is a folder of this machine: nothing records what was in it."""
    for path, replace in replaces:
        if replace.local:
            replaced = f"{replace.path} {replace.version}".strip()
            yield Weakness(
                "local-replace",
                f"{replaced} is replaced by the folder {replace.new_path}, which no checksum covers",
                f"{path}:{replace.line}",
                "publish the change and replace by a version, or use a workspace of one repository",
            )


def missing_sums(needed: Iterable[tuple[str, str]], go_sum: GoSum) -> Iterator[Weakness]:
    """Modules that are compiled although go.sum has no hash of them: nobody said what they should contain."""
    missing = sorted({(path, version) for path, version in needed if go_sum.zip_sum(path, version) is None})
    if missing:
        yield Weakness(
            "go-sum-missing",
            f"go.sum has no hash for {_listed([f'{path}@{version}' for path, version in missing])}",
            "go.sum",
            "go mod tidy",
        )


def dirty_tree(git: GitState) -> Iterator[Weakness]:
    """Files that differ from the commit that the image will name."""
    if git.dirty:
        commit = f"commit {git.short}" if git.commit else "no commit yet"
        yield Weakness(
            "dirty-tree",
            f"the tree is not what was committed ({commit}): {_listed(list(git.dirty_paths))}",
            str(git.root),
            "commit, stash or ignore these files",
        )


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest
