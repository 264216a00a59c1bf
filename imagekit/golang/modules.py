"""Modules: fetched before anything is compiled, verified in their cache, published ones found. Runs go; touches disk.

What Go would write into go.mod, go.sum or go.work.sum goes into copies: fetching never changes the user's tree, and a
missing line stays missing, to be reported. Each answer is kept under a digest of all that it depends on, so that a
build with nothing new starts no process here.

Every `env` is a fetch environment, every `settings` the answer of `go env`, of which GOMOD, GOWORK, GOMODCACHE and
GOVERSION are read here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import parse_json, write_whole
from imagekit.errors import IntegrityError, UsageError
from imagekit.golang.download import FetchedModule, failure, read_answer, scratch, words
from imagekit.golang.published import PublishedModule, published
from imagekit.processes import run
from imagekit.source import gomod, gosum, vendored
from imagekit.source.gomod import GoMod, GoWork, Replace
from imagekit.source.gosum import GoSum
from imagekit.source.modpath import escape_module
from imagekit.source.weakness import Weakness
from imagekit.text import plain

__all__ = [
    "Fetched",
    "FetchedModule",
    "ModuleFiles",
    "PublishedModule",
    "check_vendor",
    "fetch",
    "published",
    "read_files",
    "verify",
    "zip_path",
]


class ModuleFiles(msgspec.Struct, frozen=True):
    """What says which modules a build has: go.work if one is in effect, each go.mod, the sums of all of them.

    `digest` is over their bytes, the toolchain's version and the place of the module cache.
    """

    work: GoWork | None
    mods: tuple[GoMod, ...]
    go_sum: GoSum
    cache: Path
    digest: str

    @property
    def replaces(self) -> tuple[tuple[Path, Replace], ...]:
        """Every replacement, with the file that it stands in; those of go.work first, since they win."""
        files: list[GoMod | GoWork] = [*([self.work] if self.work else []), *self.mods]
        return tuple((file.path, replace) for file in files for replace in file.replaces)

    @property
    def vendor_dir(self) -> Path:
        """Where `go mod vendor` or `go work vendor` writes."""
        return (self.work.path if self.work else self.mods[0].path).parent / "vendor"


class Fetched(msgspec.Struct, frozen=True):
    """The modules that a build may read, all of them on disk, sorted by path and version."""

    modules: tuple[FetchedModule, ...]
    again: bool = False
    """Whether it was known already, so that no process ran."""


def read_files(settings: Mapping[str, str]) -> ModuleFiles:
    """go.work, go.mod and go.sum as `settings` name them.

    Raises `UsageError` outside a module, `UnreadableError` with file and line for what Go would refuse.
    """
    work_path, mod_path = settings.get("GOWORK", ""), settings.get("GOMOD", "")
    if work_path not in ("", "off"):
        work = gomod.read_work(Path(work_path))
        paths = [folder / "go.mod" for folder in work.folders]
        sums = [*(path.with_name("go.sum") for path in paths), Path(work_path).with_name("go.work.sum")]
    elif mod_path not in ("", os.devnull, "NUL"):
        work, paths, sums = None, [Path(mod_path)], [Path(mod_path).with_name("go.sum")]
    else:
        raise UsageError("there is no go.mod here", hint="`go mod init`, or name the module's folder with `dir`")
    mods, go_sum = tuple(gomod.read_mod(path) for path in paths), gosum.join(*(gosum.read(path) for path in sums))
    cache = Path(settings.get("GOMODCACHE", ""))
    state = hashlib.sha256(f"{go_sum.digest}\n{cache}\n{settings.get('GOVERSION', '')}\n".encode())
    for path in [*([Path(work_path)] if work else []), *paths]:
        state.update(f"{path}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return ModuleFiles(work, mods, go_sum, cache, state.hexdigest())


def fetch(
    go: Path,
    files: ModuleFiles,
    *,
    env: Mapping[str, str],
    cache_dir: Path,
    force: bool = False,
    cancellation: Cancellation | None = None,
) -> Fetched:
    """Bring what the build list needs into the module cache, as `go mod download` chooses it; nothing in vendor mode.

    No process where this was done before and every folder is still there, unless `force`. Go compares each zip with
    go.sum, or asks the checksum database where go.sum is silent. Raises `NetworkError`, `IntegrityError` for another
    hash, `ToolError` for the rest.
    """
    if not any(mod.requires for mod in files.mods):
        return Fetched((), again=True)
    stamp = cache_dir / "modules" / f"{files.digest}.json"
    known = None if force else _kept(stamp)
    if known is not None and all(Path(module.dir).is_dir() for module in known.modules):
        return msgspec.structs.replace(known, again=True)
    with _copies(files, env, cache_dir) as (flags, copied):
        argv = [str(go), "mod", "download", "-json", *flags, *_wanted(files)]
        answer = run(argv, env=copied, cwd=files.mods[0].path.parent, cancellation=cancellation)
    modules = read_answer(answer)
    failed = [module for module in modules if module.error]
    if failed or answer.returncode:
        raise failure([module.error for module in failed] or [words(answer)])
    fetched = Fetched(tuple(sorted(modules, key=lambda module: (module.path, module.version))))
    write_whole(stamp, msgspec.json.encode(fetched), 0o600)
    return fetched


def _wanted(files: ModuleFiles) -> list[str]:
    """The arguments of `go mod download`: in a workspace the required modules by name, else none (go.mod decides).

    Before go 1.17 a go.mod does not name all that its packages need; then it is `all`.
    """
    if files.work is None:
        return []
    if any(_before(mod.go, (1, 17)) for mod in files.mods if mod.requires):
        return ["all"]
    own = {mod.module for mod in files.mods}
    return sorted({require.path for mod in files.mods for require in mod.requires} - own)


def _before(version: str, bound: tuple[int, int]) -> bool:
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return tuple(numbers) < bound


@contextmanager
def _copies(files: ModuleFiles, env: Mapping[str, str], cache_dir: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Flags and environment that make Go write into copies of go.mod, go.sum or of go.work and its sums."""
    with scratch(cache_dir) as folder:
        if files.work is None:
            mod = files.mods[0].path
            _copy(mod, folder / "go.mod")
            _copy(mod.with_name("go.sum"), folder / "go.sum")
            yield [f"-modfile={folder / 'go.mod'}"], {**env, "GOWORK": "off"}
        else:
            write_whole(folder / "go.work", _moved(files.work).encode())
            _copy(files.work.path.with_name("go.work.sum"), folder / "go.work.sum")
            yield [], {**env, "GOWORK": str(folder / "go.work")}


def _copy(source: Path, to: Path) -> None:
    if source.is_file():
        to.write_bytes(source.read_bytes())


def _moved(work: GoWork) -> str:
    """The same go.work for another folder: every path absolute."""
    lines = [f"go {work.go or '1.18'}", *([f"toolchain {work.toolchain}"] if work.toolchain else [])]
    lines += [f"use {gomod.quote(str(folder))}" for folder in work.folders]
    for one in work.replaces:
        target = str((work.path.parent / one.new_path).resolve()) if one.local else one.new_path
        words = [one.path, one.version, "=>", target, one.new_version]
        lines.append("replace " + " ".join(word if word == "=>" else gomod.quote(word) for word in words if word))
    return "\n".join(lines) + "\n"


def verify(
    go: Path,
    files: ModuleFiles,
    fetched: Fetched,
    *,
    env: Mapping[str, str],
    cache_dir: Path,
    force: bool = False,
    cancellation: Cancellation | None = None,
) -> bool:
    """`go mod verify`: whether the module cache still is what go.sum says; whether a process ran for it.

    Once for each go.sum and state of the cache (inode, size and times of each zip and of each module's top folder);
    `force` (`--verify-modules`) asks again. Raises `IntegrityError` with Go's lines for what was modified.
    """
    if not fetched.modules:
        return False
    stamp = cache_dir / "modules" / f"{_state(files, fetched)}.verified"
    if stamp.is_file() and not force:
        return False
    with _copies(files, env, cache_dir) as (flags, copied):
        argv = [str(go), "mod", "verify", *flags]
        answer = run(argv, env=copied, cwd=files.mods[0].path.parent, cancellation=cancellation)
    if answer.returncode:
        said = words(answer)
        if "has been modified" in said or "missing ziphash" in said:
            raise IntegrityError(
                f"the module cache {files.cache} is not what go.sum says:\n{plain(said)}",
                hint="find out who changed it; `go clean -modcache` removes it, the next build fetches it again",
            )
        raise failure([said])
    write_whole(stamp, b"", 0o600)
    return True


def _state(files: ModuleFiles, fetched: Fetched) -> str:
    state = hashlib.sha256(f"{files.digest}\n{files.go_sum.digest}\n".encode())
    for module in fetched.modules:
        for path in (module.zip, module.dir):
            try:
                seen = Path(path).stat()
                line = f"{path} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}\n"
            except OSError:
                line = f"{path} is not there\n"
            state.update(line.encode())
    return state.hexdigest()


def check_vendor(
    go: Path,
    files: ModuleFiles,
    *,
    env: Mapping[str, str],
    cache_dir: Path,
    force: bool = False,
    cancellation: Cancellation | None = None,
) -> tuple[Weakness, ...]:
    """Compare vendor/ with the zips that go.sum vouches for; fetch those that the module cache lacks.

    A clean answer is kept until a file under vendor/ or go.sum changes. Zips that cannot be had are a finding, no
    error. Raises `UnreadableError` without a vendor/modules.txt.
    """
    modules = vendored.read_list(files.vendor_dir)
    stamp = cache_dir / "modules" / f"{vendored.signature(files.vendor_dir, files.go_sum)}.vendored"
    if stamp.is_file() and not force:
        return ()
    wanted = [(one.source, one.version) for one in modules if files.go_sum.zip_sum(one.source, one.version)]
    missing = [one for one in wanted if not zip_path(files.cache, *one).is_file()]
    _fetch_zips(go, missing, files, env, cache_dir, cancellation)

    def zip_of(module: str, version: str) -> Path | None:
        path = zip_path(files.cache, module, version)
        return path if path.is_file() else None

    found = vendored.compare(files.vendor_dir, modules, zip_of, files.go_sum)
    if not found:
        write_whole(stamp, b"", 0o600)
    return found


def zip_path(cache: Path, module: str, version: str) -> Path:
    """Where the module cache has the zip of a version."""
    escaped, _, release = escape_module(module, version).rpartition("@")
    return cache / "cache" / "download" / escaped / "@v" / f"{release}.zip"


def _fetch_zips(
    go: Path,
    missing: Sequence[tuple[str, str]],
    files: ModuleFiles,
    env: Mapping[str, str],
    cache_dir: Path,
    cancellation: Cancellation | None,
) -> None:
    """Ask Go for these zips; those that it cannot get are simply not there afterwards."""
    if not missing:
        return
    with scratch(cache_dir) as folder:
        (folder / "go.mod").write_text("module imagekit.invalid/vendored\n\ngo 1.17\n", encoding="ascii")
        lines = [f"{module} {version} {value}\n" for (module, version), value in sorted(files.go_sum.sums.items())]
        (folder / "go.sum").write_text("".join(lines), encoding="ascii")
        arguments = [f"{module}@{version}" for module, version in missing]
        argv = [str(go), "mod", "download", *arguments]
        run(argv, env={**env, "GOWORK": "off"}, cwd=folder, cancellation=cancellation)


def _kept(path: Path) -> Fetched | None:
    try:
        return parse_json(path.read_bytes(), Fetched)
    except (OSError, msgspec.DecodeError):
        return None
