"""The compile environment of a target for a shell, so that `go test` shares cache entries and behaviour with the build.

Touches no disk but to look for programs. Against `compile_environment`, which decides alone what a build sees:

* GOFLAGS says what `go build` gets as arguments. The values of `-X` and `strip` are left out: they change no compiled
  package, and a value that changes with every commit would make every test result of the last one stale.
* Left out are the walls around a compile (GOPROXY, GOSUMDB and GOAUTH=off): a test may need a module that the build
  does not. GOENV=off stays, since the `go env -w` file can steer a compile; what that file says about fetching is
  exported, but for a value with a password in it.
* Left out is what is the user's (HOME, XDG_CONFIG_HOME, TMPDIR), what a test would notice and a compile does not
  (TZ, LC_ALL), and GOROOT, which a go command knows by itself.
* PATH is exported only where the `go` on it is not the one that builds, or zig has to be found: that folder in front.
* A variable of the environment that would steer Go and that no build sees is exported empty, which Go reads as unset.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from imagekit.errors import ToolError
from imagekit.golang import zig
from imagekit.golang.ambient import steering
from imagekit.golang.arguments import gcflags, join_quoted, mod_mode, selecting
from imagekit.golang.environments import compile_environment
from imagekit.golang.settings import GoSettings
from imagekit.golang.toolchain import find
from imagekit.golang.vcs import is_stamped
from imagekit.targets.target import Cgo, Target

_LEFT_OUT = frozenset(
    {
        *("GOPROXY", "GOSUMDB", "GOAUTH", "GOROOT", "GOMAXPROCS", "GIT_OPTIONAL_LOCKS"),
        *("HOME", "XDG_CONFIG_HOME", "TMPDIR", "LC_ALL", "TZ", "PATH"),
    }
)
_FETCHING = ("GOAUTH", "GOINSECURE", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOPROXY", "GOSUMDB", "GOVCS")
_PASSWORD = re.compile(r"://[^/,|\s]*@")
_NOT_IN_GOFLAGS = frozenset({"o", "C"})


class Exported(msgspec.Struct, frozen=True):
    """Variables sorted by name; `withheld` names those of the `go env -w` file that hold a password."""

    environment: dict[str, str]
    withheld: tuple[str, ...] = ()


def exported_environment(settings: GoSettings, target: Target, *, cache_dir: Path) -> Exported:
    """What a shell needs so that its `go` does what the build of `target` does; `settings` are those of its folder.

    Raises `ConfigError` for flags that GOFLAGS cannot express, and what `compile_environment` raises.
    """
    whole = compile_environment(settings, target, cache_dir=cache_dir)
    admitted = {**dict(target.env), **dict(target.unsafe.env)}
    own = {name: value for name, value in whole.items() if name not in _LEFT_OUT or name in admitted}
    fetching = {
        name: settings.values.get(name, "")
        for name in _FETCHING
        if name in settings.file and not settings.ambient.get(name)
    }
    withheld = tuple(name for name, value in fetching.items() if _PASSWORD.search(value))
    environment = {
        **dict.fromkeys(steering(settings), ""),
        **{name: value for name, value in fetching.items() if name not in withheld},
        **_path(settings, target),
        **own,
        "GOFLAGS": goflags(settings, target),
    }
    return Exported(dict(sorted(environment.items())), withheld)


def goflags(settings: GoSettings, target: Target) -> str:
    """The arguments of `go build` that decide what is compiled and how, as GOFLAGS spells them."""
    chosen = selecting(target, mod_mode(settings))
    stamped = is_stamped(settings.directory)
    linker = [*target.ldflags.flags, *(zig.LINK_FLAGS if target.cgo is Cgo.STATIC else ())]
    where = f"{target.id} (ldflags, {target.origin('ldflags')})"
    words = [
        "-trimpath",
        f"-buildvcs={'true' if stamped else 'false'}",
        *chosen,
        *(flag for flag in target.flags if flag not in chosen),
        *gcflags(target),
        *([f"-ldflags={join_quoted(linker, where)}"] if linker else []),
        *(flag for flag in target.unsafe.flags if _name(flag) not in _NOT_IN_GOFLAGS),
    ]
    return join_quoted(words, target.id)


def native(targets: Sequence[Target], settings: GoSettings) -> tuple[Target, ...]:
    """The targets of this machine's own platform; those without a CPU level or variant alone, if there are any."""
    host = (settings.values.get("GOHOSTOS"), settings.values.get("GOHOSTARCH"))
    found = tuple(one for one in targets if (one.platform.os, one.platform.architecture) == host)
    return tuple(one for one in found if not one.platform.variant) or found


def _name(flag: str) -> str:
    return flag.lstrip("-").partition("=")[0]


def _path(settings: GoSettings, target: Target) -> dict[str, str]:
    front = [*_zig_folder(target), *([] if _is_on_path(settings) else [str(settings.toolchain.goroot / "bin")])]
    return {"PATH": ":".join([*front, *filter(None, [settings.ambient.get("PATH", "")])])} if front else {}


def _zig_folder(target: Target) -> Iterator[str]:
    if target.cgo is Cgo.STATIC:
        yield str(zig.find().parent)


def _is_on_path(settings: GoSettings) -> bool:
    """Whether a plain `go` starts the toolchain that builds."""
    if shutil.which("go", path=settings.ambient.get("PATH", "")) is None:
        return False
    try:
        return find().goroot.resolve() == settings.toolchain.goroot.resolve()
    except ToolError:
        return False
