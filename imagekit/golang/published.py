"""Published programs: `example.org/mod/cmd/app@v1.2.3` becomes a read-only folder of checked source. Runs go once.

The module is found as `go install` finds it: of all prefixes of the package path, the longest that is a module at this
version and has the package. Go checks its zip against the checksum database; what is extracted has that same hash. The
package is then built inside the folder, so that `replace` lines of the module's own go.mod work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from imagekit.cancellation import Cancellation
from imagekit.content import parse_json, write_whole
from imagekit.errors import ImagekitError, IntegrityError, NetworkError, UsageError
from imagekit.golang.download import FetchedModule, failure, read_answer, scratch
from imagekit.processes import run
from imagekit.source import dirhash, gomod, gosum
from imagekit.source import published as source
from imagekit.source.gosum import GoSum
from imagekit.source.modpath import check_module, is_import_path, is_version

_INFO_LIMIT = 1 << 20
_NOT_THERE = ("404", "410", "403", "not found", "invalid version", "unknown revision", "unrecognized import path")


class PublishedModule(msgspec.Struct, frozen=True):
    """A program's source: module, version and the `h1` of its zip; `root` is the read-only folder.

    `package` is the import path, `main` the same as Go takes it inside the folder (`./cmd/app`). `time` is that of the
    version in seconds since 1970 (0 unknown), `repository` and `commit` where it says it came from ('' unknown): the
    proxy's word, which no checksum covers.
    """

    module: str
    version: str
    h1: str
    go_mod_h1: str
    package: str
    main: str
    root: Path
    time: int = 0
    repository: str = ""
    commit: str = ""

    @property
    def go_sum(self) -> GoSum:
        """The module's own two lines: what the checksum database is asked about it."""
        lines = {(self.module, self.version): self.h1, (self.module, f"{self.version}/go.mod"): self.go_mod_h1}
        return gosum.of(lines)


class _Origin(msgspec.Struct, frozen=True, rename="pascal"):
    url: str = msgspec.field(default="", name="URL")
    hash: str = ""


class _Info(msgspec.Struct, frozen=True, rename="pascal"):
    """The proxy's `.info` file (https://go.dev/ref/mod#goproxy-protocol)."""

    time: str = ""
    origin: _Origin | None = None


def published(
    go: Path,
    spec: str,
    *,
    settings: Mapping[str, str],
    env: Mapping[str, str],
    cache_dir: Path,
    force: bool = False,
    cancellation: Cancellation | None = None,
) -> PublishedModule:
    """The source of `package@version`, extracted under `cache_dir`; no process and no network the second time.

    `force` fetches again and compares the extracted folder with its hash. Only fixed versions: raises `UsageError` for
    `@latest`, a branch or a commit, for a package that no module has, and for a module that cannot be built on its own;
    `NetworkError`, `IntegrityError`, `ToolError` as Go fails.
    """
    package, version = parse(spec)
    trust = [settings.get(name, "") for name in ("GOMODCACHE", "GOSUMDB", "GONOSUMDB", "GOPRIVATE")]
    name = hashlib.sha256("\n".join((spec, *trust)).encode()).hexdigest()
    stamp = cache_dir / "published" / f"{name}.json"
    known = None if force else _kept(stamp)
    if known is not None and known.root.is_dir():
        return known
    fetched, folder = _find(go, package, version, env, cache_dir, cancellation)
    root = cache_dir / "published" / hashlib.sha256(fetched.sum.encode()).hexdigest()
    source.extract(Path(fetched.zip), fetched.path, version, root, h1=fetched.sum)
    if force:
        _compare(root, fetched)
    _check_alone(root, fetched)
    info = _read_info(Path(fetched.info))
    found = PublishedModule(
        module=fetched.path,
        version=version,
        h1=fetched.sum,
        go_mod_h1=fetched.go_mod_sum,
        package=package,
        main=f"./{folder}" if folder else ".",
        root=root,
        time=_seconds(info.time),
        repository=info.origin.url if info.origin else "",
        commit=info.origin.hash if info.origin else "",
    )
    write_whole(stamp, msgspec.json.encode(found, enc_hook=str), 0o600)
    return found


def parse(spec: str) -> tuple[str, str]:
    """Package and version of `package@version`; raise `UsageError` for another form or a version that can move."""
    package, at, version = spec.partition("@")
    if not at or not is_import_path(package):
        raise UsageError(f"{spec!r} is not package@version", hint="example.org/mod/cmd/app@v1.2.3")
    if not is_version(version):
        raise UsageError(
            f"{spec!r}: {version!r} is not one fixed version, so the image would change by itself",
            hint="write it whole, as v1.2.3 (`go list -m MODULE@latest` says which it is today)",
        )
    return package, version


def candidates(package: str) -> list[str]:
    """The paths that the package's module can have, the longest first."""
    parts = package.split("/")
    found = []
    for count in range(len(parts), 0, -1):
        path = "/".join(parts[:count])
        try:
            check_module(path)
        except ImagekitError:
            continue
        found.append(path)
    if not found:
        raise UsageError(f"{package!r} can be in no published module", hint="its path must begin with a domain name")
    return found


def _find(
    go: Path, package: str, version: str, env: Mapping[str, str], cache_dir: Path, cancellation: Cancellation | None
) -> tuple[FetchedModule, str]:
    """The module that has the package, and the package's folder in it.

    Asked are first the proxies alone: for the prefixes that are no module, `direct` would look for repositories.
    """
    goproxy = env.get("GOPROXY", "")
    proxies = goproxy.removesuffix("direct").rstrip(",|")
    answers: list[FetchedModule] = []
    for allowed in dict.fromkeys((proxies or goproxy, goproxy)):
        answers = _download(go, candidates(package), version, {**env, "GOPROXY": allowed}, cache_dir, cancellation)
        for answer in answers:
            folder = package.removeprefix(answer.path).removeprefix("/")
            if not answer.error and _has_package(Path(answer.zip), f"{answer.path}@{version}/", folder):
                return answer, folder
    raise _not_found(package, version, answers)


def _download(
    go: Path,
    modules: Sequence[str],
    version: str,
    env: Mapping[str, str],
    cache_dir: Path,
    cancellation: Cancellation | None,
) -> list[FetchedModule]:
    """One `go mod download` for all of them, outside of any module; in the order of `modules`."""
    with scratch(cache_dir) as folder:
        argv = [str(go), "mod", "download", "-json", *(f"{module}@{version}" for module in modules)]
        alone = {**env, "GOWORK": "off", "GO111MODULE": "on"}
        answer = run(argv, env=alone, cwd=folder, cancellation=cancellation)
    found = read_answer(answer)
    if not found:
        raise failure([answer.stderr.decode(errors="replace").strip()])
    return sorted(found, key=lambda module: -len(module.path))


def _has_package(path: Path, prefix: str, folder: str) -> bool:
    """Whether the zip has a Go file, tests aside, in this folder."""
    import zipfile

    inside = f"{prefix}{folder}/" if folder else prefix
    try:
        with zipfile.ZipFile(path, metadata_encoding="utf-8") as archive:
            names = [name.removeprefix(inside) for name in archive.namelist() if name.startswith(inside)]
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise IntegrityError(f"{path} is not a readable module zip: {error}", hint="go clean -modcache") from error
    return any(name.endswith(".go") and not name.endswith("_test.go") and "/" not in name for name in names)


def _not_found(package: str, version: str, answers: Sequence[FetchedModule]) -> ImagekitError:
    modules = [answer.path for answer in answers if not answer.error]
    if modules:
        return UsageError(
            f"{modules[0]}@{version} has no package {package}",
            hint="look at the module's folders in that version; the path must name a `package main`",
        )
    failed = failure([answer.error for answer in answers])
    absent = all(any(said in answer.error for said in _NOT_THERE) for answer in answers)
    if isinstance(failed, IntegrityError) or (isinstance(failed, NetworkError) and not absent):
        return failed
    return UsageError(
        f"no module has {package} at {version}: {failed.message}", hint="check path and version, `go list -m -versions`"
    )


def _check_alone(root: Path, fetched: FetchedModule) -> None:
    """Raise `UsageError` for a module that cannot be the main module: no go.mod, no go.sum, a folder beside it."""
    name = f"{fetched.path}@{fetched.version}"
    if not (root / "go.mod").is_file():
        raise UsageError(
            f"{name} has no go.mod", hint="build it from a checkout, after `go mod init` and `go mod tidy`"
        )
    mod = gomod.read_mod(root / "go.mod")
    if mod.requires and not (root / "go.sum").is_file():
        raise UsageError(f"{name} was published without go.sum", hint="build it from a checkout, after `go mod tidy`")
    required = {require.path for require in mod.requires}
    for replace in mod.replaces:
        if replace.local and replace.path in required:
            raise UsageError(
                f"{name}: go.mod:{replace.line} replaces {replace.path} by the folder {replace.new_path}, "
                "which is not in the module's zip",
                hint="build it from a checkout of its repository",
            )


def _compare(root: Path, fetched: FetchedModule) -> None:
    found = dirhash.h1_folder(root, f"{fetched.path}@{fetched.version}")
    if found != fetched.sum:
        raise IntegrityError(
            f"{root} was changed: it has the hash {found}, {fetched.path} {fetched.version} has {fetched.sum}",
            hint="remove the folder; the next build extracts it again",
        )


def _read_info(path: Path) -> _Info:
    """What the proxy says of the version; nothing if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return parse_json(stream.read(_INFO_LIMIT), _Info)
    except (OSError, msgspec.DecodeError):
        return _Info()


def _seconds(text: str) -> int:
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0


def _kept(stamp: Path) -> PublishedModule | None:
    try:
        return parse_json(stamp.read_bytes(), PublishedModule, dec_hook=_path)
    except (OSError, msgspec.DecodeError):
        return None


def _path(kind: type, value: object) -> object:
    return kind(value)
