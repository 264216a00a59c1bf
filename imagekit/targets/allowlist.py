"""Which flags and variables a build may have without `unsafe`. Everything that is not named here is refused by name.

A list of what is allowed, not of what is forbidden: a flag that a later Go adds is refused until somebody read it.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import NamedTuple

from imagekit.errors import ConfigError

GO_FLAGS = ("tags", "race", "cover", "covermode", "coverpkg", "pgo", "buildmode", "asan", "msan", "p")
LD_FLAGS = ("s", "w", "X", "H", "buildid", "linkmode", "compressdwarf", "checklinkname", "randlayout", "funcalign")
GC_FLAGS = ("N", "l", "B", "d")
ENV_NAMES = ("GOEXPERIMENT", "GOFIPS140", "GODEBUG")

_ALONE = frozenset({"race", "cover", "asan", "msan", "s", "w", "compressdwarf", "checklinkname", "N", "l", "B"})
"""Flags that mean something without a value."""
_EMPTY = frozenset({"buildid", "tags"})
"""Flags whose value may be empty."""
_PATTERN = re.compile(r"[A-Za-z0-9._~/+-]+")
_DEBUG = re.compile(r"[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*(?:=[A-Za-z0-9_.:+-]*)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LEVEL_VARIABLES = ("GO386", "GOAMD64", "GOARM64", "GOMIPS", "GOMIPS64", "GOPPC64", "GORISCV64")

_KEYS = MappingProxyType(
    {
        "ldflags": "use the key ldflags: {strip, set, flags}",
        "gcflags": "use the key gcflags:",
        "C": "use the key dir:",
        "o": "remove it; imagekit names its outputs, under the key output:",
        "trimpath": "remove it; it is always on",
        "buildvcs": "remove it; version control is stamped wherever there is a repository",
        "mod": "remove it; vendor is used where Go itself would use it, else readonly",
        "modfile": "remove it, and let dir: name the module that is meant",
        "extld": "use cgo: static, which sets the linker itself",
        "extldflags": "use cgo: static, which links statically by itself",
        "exec": "remove it; go build runs nothing",
        "vettool": "remove it; use the key checks:",
    }
)
_VARIABLE_KEYS = MappingProxyType(
    {
        "CGO_ENABLED": "use the key cgo: off, static or allow",
        "GOOS": "use the key platforms:",
        "GOARCH": "use the key platforms:",
        "GOARM": "use the platform's variant, e.g. linux/arm/v7",
        "GOFLAGS": "use the key flags:",
        "CC": "use cgo: static, which brings its own compiler",
        "CXX": "use cgo: static, which brings its own compiler",
        "GOROOT": "put the wanted go first on PATH",
        "PATH": "put the wanted programs first on the PATH that imagekit is started with",
        **dict.fromkeys(_LEVEL_VARIABLES, "use the key levels:"),
    }
)


class Flag(NamedTuple):
    """A flag as it was written; `value` is None without `=`, `tail` is what follows white space."""

    name: str
    value: str | None
    tail: str


def check_go_flag(text: str) -> str:
    """The flag of `go build` as `-name[=value]`; raise `ConfigError` if it is not on the list or says more."""
    return _checked(text, GO_FLAGS, "flags")


def check_ldflag(text: str) -> str:
    """The same for a linker flag; only a `-X` value may have white space in it."""
    return _checked(text, LD_FLAGS, "ldflags")


def check_gcflag(text: str) -> str:
    """One value of `-gcflags`, `[pattern=]-flag…`, with single spaces; no flag in it may name a file."""
    if not text.isprintable() or any(quote in text for quote in "'\"\\"):
        raise ConfigError(f"gcflags: {text!r} has a quote or a control character", hint="write one plain line")
    for_packages = "=" in text and not text.startswith("-")
    pattern, _, rest = text.partition("=") if for_packages else ("", "", text)
    if for_packages and not _PATTERN.fullmatch(pattern):
        raise ConfigError(f"gcflags: {pattern!r} is not a package pattern", hint="write e.g. all=-N")
    flags = [_checked_gcflag(word) for word in rest.split()]
    if not flags:
        raise ConfigError(f"gcflags: {text!r} names no flag", hint="write e.g. all=-N")
    return (f"{pattern}=" if pattern else "") + " ".join(flags)


def check_env(name: str, value: str) -> tuple[str, str]:
    """The variable; raise `ConfigError` if it is not on the list, with the key that stands for it if there is one."""
    if name not in ENV_NAMES:
        known = ", ".join(ENV_NAMES)
        cure = _VARIABLE_KEYS.get(name, f"allowed here: {known}; all else by unsafe: {{env: {{{name}: …}}}}")
        raise ConfigError(f"env: the variable {name!r} is not allowed", hint=cure)
    return _storable(name, value)


def check_unsafe_flag(text: str) -> str:
    """Any flag, as long as it is one: an item that does not begin with `-` would be taken for a package."""
    if not re.fullmatch(r"--?[A-Za-z][^\x00]*", text):
        raise ConfigError(f"unsafe.flags: {text!r} is not a flag", hint="write one flag an item, as -name=value")
    return text


def check_unsafe_env(name: str, value: str) -> tuple[str, str]:
    """Any variable that an environment can hold."""
    return _storable(name, value)


def read_flag(text: str) -> Flag | None:
    """Take `-x`, `--x`, `-x=…`, `-x value` apart; None for what is no flag."""
    match = re.fullmatch(r"--?([A-Za-z][A-Za-z0-9_.-]*)(?:=(.*)|(\s.*))?", text, re.DOTALL)
    return Flag(match[1], match[2], match[3] or "") if match else None


def _checked(text: str, allowed: tuple[str, ...], key: str) -> str:
    flag = read_flag(text)
    if flag is None:
        raise ConfigError(f"{key}: {text!r} is not a flag", hint="write one flag an item, with its value after '='")
    if flag.name not in allowed:
        raise _refused(flag.name, text, allowed, key)
    _require_one(flag, text, key)
    _require_value(flag, text, key)
    return f"-{flag.name}" if flag.value is None else f"-{flag.name}={flag.value}"


def _refused(name: str, text: str, allowed: tuple[str, ...], key: str) -> ConfigError:
    """By name; the way out is the key that stands for the flag, or `unsafe`."""
    if name in LD_FLAGS and key != "ldflags":
        cure = "use the key ldflags: {flags: […]}"
    elif name in GO_FLAGS and key != "flags":
        cure = "use the key flags:"
    elif name in _KEYS:
        cure = _KEYS[name]
    else:
        known = " ".join(f"-{one}" for one in allowed)
        cure = f"remove it, or admit it by unsafe: {{flags: [{_as_go_flag(text, key)}]}}; allowed here: {known}"
    return ConfigError(f"{key}: the flag '-{name}' is not allowed", hint=cure)


def _as_go_flag(text: str, key: str) -> str:
    return f'"{text[:60]}"' if key == "flags" else f'"-{key}={text[:60]}"'


def _require_one(flag: Flag, text: str, key: str) -> None:
    """Nothing behind the flag, and nothing in its value that Go would split into a second one."""
    if flag.tail:
        raise ConfigError(f"{key}: {text!r} is more than one word", hint="write one flag an item, its value after '='")
    value = flag.value or ""
    if flag.name != "X" and (not value.isprintable() or any(c.isspace() or c in "'\"" for c in value)):
        raise ConfigError(
            f"{key}: the value of '-{flag.name}' has white space, a quote or a control character",
            hint="write one flag an item",
        )


def _require_value(flag: Flag, text: str, key: str) -> None:
    if flag.value is None and flag.name not in _ALONE:
        raise ConfigError(f"{key}: {text!r} has no value", hint=f"write -{flag.name}=value as one item")
    if flag.value == "" and flag.name not in _EMPTY:
        raise ConfigError(f"{key}: {text!r} has an empty value", hint=f"write -{flag.name}=value as one item")


def _checked_gcflag(text: str) -> str:
    flag = read_flag(text)
    if flag is None or flag.name not in GC_FLAGS:
        name = f"-{flag.name}" if flag else text
        if flag and (flag.name in GO_FLAGS or flag.name in LD_FLAGS):
            raise _refused(flag.name, text, GC_FLAGS, "gcflags")
        cure = f'remove it, or admit it by unsafe: {{flags: ["-gcflags={text[:60]}"]}}'
        allowed = " ".join(f"-{one}" for one in GC_FLAGS)
        raise ConfigError(f"gcflags: the flag {name!r} is not allowed", hint=f"{cure}; allowed here: {allowed}")
    if flag.name == "d":
        _require_plain_debug(flag.value or "", text)
    elif flag.value is not None and not re.fullmatch(r"true|false|[0-9]{1,2}", flag.value):
        raise ConfigError(f"gcflags: {text!r} has a value", hint=f"write -{flag.name}")
    return text


def _require_plain_debug(value: str, text: str) -> None:
    """Settings of `-d` that write no file: those that dump do."""
    settings = value.split(",")
    if not all(_DEBUG.fullmatch(one) and "dump" not in one for one in settings):
        raise ConfigError(f"gcflags: {text!r} may write a file", hint="write settings such as -d=checkptr=0")


def _storable(name: str, value: str) -> tuple[str, str]:
    if not _VARIABLE.fullmatch(name) or not value.isprintable():
        raise ConfigError(f"env: {name!r} cannot stand in an environment", hint="write a name, and one printable line")
    return name, value
