"""The two environments of the go command, each built from nothing: one that fetches, one that compiles.

Touches no disk but to look for programs. Fetching ends before compiling starts, so only the first knows proxies,
credentials and ways to a network. The second holds what decides a build and nothing else:

* GOENV=off, GOFLAGS= and no ambient GO*, CC or CGO_* variable: two users get the same bytes.
* GOPROXY=off, GOSUMDB=off, GOAUTH=off, GOTOOLCHAIN=local: no compile reaches for a network or another toolchain. go.sum
  still holds (`-mod=readonly`); the checksum database is asked by imagekit itself, before.
* no GOCACHEPROG, LD_*, GIT_* (but GIT_OPTIONAL_LOCKS=0: a build writes nothing into the user's repository).
* HOME and XDG_CONFIG_HOME are the user's own, because git reads them: without `safe.directory` stamping fails in every
  container that mounts a checkout, and without the user's ignore file a tree that `git status` calls clean is stamped
  dirty. Everything that Go would look for there has a variable of its own here, so HOME reaches no compiled byte.
* PATH is Go's own folder, the folder of the version-control program if there is a repository, and the system's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from imagekit.golang import arch, zig
from imagekit.golang.ambient import said
from imagekit.golang.settings import GoSettings, read_settings
from imagekit.golang.vcs import repository_of
from imagekit.source.git import STEERING
from imagekit.targets.target import Cgo, Target

__all__ = ["GoSettings", "compile_environment", "fetch_environment", "read_settings", "said"]

_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FETCH_SETTINGS = _words(
    "GO111MODULE GOAUTH GOCACHE GOINSECURE GOMODCACHE GONOPROXY GONOSUMDB GOPATH GOPRIVATE GOPROXY GOSUMDB GOTOOLCHAIN "
    "GOVCS"
)
_FETCH_AMBIENT = _words(
    "PATH HOME USER LOGNAME TMPDIR LANG GODEBUG NETRC XDG_CONFIG_HOME XDG_CACHE_HOME XDG_RUNTIME_DIR "
    "HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy "
    "SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE DISPLAY GNUPGHOME GPG_TTY "
    "GH_TOKEN GH_HOST GITHUB_TOKEN CI_JOB_TOKEN CI_SERVER_HOST GOOGLE_APPLICATION_CREDENTIALS SYSTEMROOT"
)
_FETCH_PREFIXES = ("GIT_", "SSH_", "AWS_", "AZURE_", "CLOUDSDK_", "HG", "SVN_")
"""What git, its credential helpers, ssh and GOAUTH commands read."""


def fetch_environment(settings: GoSettings) -> dict[str, str]:
    """The environment of `go mod download` and of other commands that may use the network.

    The settings of the proxy, the checksum database and version control as `go env` resolved them, the user's HOME,
    credentials, ssh and certificates; nothing that steers a compile. Sorted by name.
    """
    passed = {name: value for name, value in settings.ambient.items() if _is_for_fetching(name)}
    resolved = {name: settings.values[name] for name in _FETCH_SETTINGS if settings.values.get(name)}
    fixed = {"GOENV": "off", "GOFLAGS": "", "GOWORK": _workspace(settings)}
    return dict(sorted({**passed, **resolved, **fixed}.items()))


def _is_for_fetching(name: str) -> bool:
    return name in _FETCH_AMBIENT or (name.startswith(_FETCH_PREFIXES) and name not in STEERING)


def compile_environment(settings: GoSettings, target: Target, *, cache_dir: Path) -> dict[str, str]:
    """The environment that `go build`, `go list`, `go vet` and `go test` see for a target. Sorted by name.

    Raises `ConfigError` for a platform or level that Go does not know, `ToolError` where `cgo: static` has no zig.
    """
    environment = {
        **_fixed(settings),
        **_user(settings, cache_dir),
        **arch.environment_of(target.platform, target.level),
        "CGO_ENABLED": "0" if target.cgo is Cgo.OFF else "1",
    }
    folders = [str(settings.toolchain.goroot / "bin"), *_vcs_folder(settings), *_SYSTEM_PATH]
    if target.cgo is not Cgo.OFF:
        environment["SOURCE_DATE_EPOCH"] = "0"  # __DATE__ in C: Go's cache does not know it, so it must never change
    if target.cgo is Cgo.ALLOW:
        folders.extend(_compiler_folders(settings, target))
    if target.cgo is Cgo.STATIC:
        environment |= zig.environment_of(target.platform, target.level, cache_dir)
        folders.insert(0, str(zig.find().parent))
    environment["PATH"] = ":".join(dict.fromkeys(folders))
    return dict(sorted({**environment, **dict(target.env), **dict(target.unsafe.env)}.items()))


def _fixed(settings: GoSettings) -> dict[str, str]:
    values = settings.values
    return {
        "GOENV": "off",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "GOSUMDB": "off",
        "GOAUTH": "off",
        "GOTOOLCHAIN": "local",
        "GO111MODULE": "on",
        "GOWORK": _workspace(settings),
        "GOROOT": str(settings.toolchain.goroot),
        "GOPATH": values.get("GOPATH", ""),
        "GOCACHE": values.get("GOCACHE", ""),
        "GOMODCACHE": values.get("GOMODCACHE", ""),
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def _user(settings: GoSettings, cache_dir: Path) -> dict[str, str]:
    """The few variables that are the user's: where git finds its configuration, where temporary files go."""
    kept = {name: settings.ambient[name] for name in ("XDG_CONFIG_HOME", "TMPDIR") if settings.ambient.get(name)}
    return {**kept, "HOME": settings.ambient.get("HOME") or str(cache_dir)}


def _workspace(settings: GoSettings) -> str:
    return str(settings.workspace or "off")


def _vcs_folder(settings: GoSettings) -> Iterator[str]:
    repository = repository_of(settings.directory)
    if repository and (program := shutil.which(repository.program, path=settings.ambient.get("PATH", ""))):
        yield str(Path(program).absolute().parent)


def _compiler_folders(settings: GoSettings, target: Target) -> Iterator[str]:
    """Where the ambient PATH has the C tools: behind the system's own folders."""
    chosen = dict(target.unsafe.env)
    for variable, usual in (("CC", "gcc"), ("CXX", "g++"), ("PKG_CONFIG", "pkg-config")):
        words = (chosen.get(variable) or usual).split()
        if words and (program := shutil.which(words[0], path=settings.ambient.get("PATH", ""))):
            yield str(Path(program).absolute().parent)
