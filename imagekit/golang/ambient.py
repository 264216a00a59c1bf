"""What the environment and the `go env -w` file would have changed, said in sentences. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagekit.golang import arch
from imagekit.golang.settings import GoSettings
from imagekit.text import line


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NO_INFLUENCE = _words(
    "GO111MODULE GOAUTH GOBIN GOCACHE GOENV GOINSECURE GOMODCACHE GONOPROXY GONOSUMDB GOPATH GOPRIVATE GOPROXY GOROOT "
    "GOSUMDB GOTELEMETRY GOTELEMETRYDIR GOTMPDIR GOTOOLCHAIN GOTOOLDIR GOVCS GOVERSION GOWORK GOMOD GOHOSTOS "
    "GOHOSTARCH GOEXE GOGCCFLAGS"
)
"""Honoured while fetching, or without any effect on a build."""
_OTHER_STEERING = ("GIT_", "LD_", "GO_", "DYLD_")
_HARMLESS = _words("GIT_ASKPASS GIT_EDITOR GIT_PAGER GIT_TERMINAL_PROMPT GIT_SSH GIT_SSH_COMMAND GIT_SSL_CAINFO")
_SHOWN = 120


def said(settings: GoSettings) -> tuple[str, ...]:
    """One sentence for each thing that Go would have obeyed and imagekit's builds do not see, sorted by name.

    Settings from the environment and from the `go env -w` file; the values of variables that are not Go's own are not
    shown.
    """
    return tuple(_sentences(settings))


def steering(settings: GoSettings) -> tuple[str, ...]:
    """The names of the environment's variables that Go would obey and imagekit's builds do not see, sorted.

    Git's and the dynamic loader's are left out: they are not only Go's.
    """
    names = (name for name, value in settings.ambient.items() if value and name not in _NO_INFLUENCE)
    return tuple(sorted(name for name in names if name in settings.values or name.startswith("GO_")))


def _sentences(settings: GoSettings) -> Iterator[str]:
    for name, value in settings.changed.items():
        if name in _NO_INFLUENCE or _is_default(name, value):
            continue
        source = "the environment" if settings.ambient.get(name) else f"the `go env -w` file {settings.values['GOENV']}"
        shown = name if name == "GOCACHEPROG" else f"{name}={line(value)[:_SHOWN]}"
        yield f"{shown} of {source} is not used: {_instead(name)}"
    for name in sorted(settings.ambient):
        if name.startswith(_OTHER_STEERING) and name not in _HARMLESS:
            yield f"{line(name)} of the environment is not passed to the compiler"


def _is_default(name: str, value: str) -> bool:
    """Whether the setting says what every target has anyway."""
    level = {arch.LEVEL_VARIABLES[known]: arch.default_level(known) for known in arch.LEVEL_VARIABLES}
    usual: Mapping[str, str] = {"CGO_ENABLED": "0", "GOEXPERIMENT": "", "GOFIPS140": "off", "GODEBUG": "", **level}
    return value == usual.get(name, "")


def _instead(name: str) -> str:
    if name in ("GOOS", "GOARCH"):
        return "`platforms` chooses"
    if name in arch.LEVEL_VARIABLES.values():
        return "`levels` chooses"
    if name == "CGO_ENABLED":
        return "`cgo` chooses"
    if name == "GOFLAGS":
        return "write `tags`, `flags`, `ldflags` in imagekit.yaml"
    if name in ("GOEXPERIMENT", "GOFIPS140", "GODEBUG"):
        return "write it under `env` in imagekit.yaml"
    if name == "GOCACHEPROG":
        return "a compile starts no other program's cache"
    return "`unsafe: {env: …}` would admit it"
