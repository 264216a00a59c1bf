"""What the texts of a build may say: main package, paths, tags, -X names."""

from __future__ import annotations

import re

from imagekit.errors import ConfigError

_PACKAGE = re.compile(r"[A-Za-z0-9_.~+-]+(?:/[A-Za-z0-9_.~+-]+)*/?(?:@[A-Za-z0-9_.~+-]+)?")
_TAG = re.compile(r"[A-Za-z0-9_.]+")
_VARIABLE = re.compile(r"(?:[^\s=\"'\\]+)\.[^\W\d]\w*")
_TEMPLATE = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def check_main(text: str) -> str:
    """The package; raise `ConfigError` unless it is one: a folder, an import path, or one with a version."""
    if not text:
        return text
    bare = _TEMPLATE.sub("x", text)
    path, at, _version = bare.partition("@")
    if not _PACKAGE.fullmatch(bare) or text.startswith("-"):
        raise ConfigError(f"{text!r} is not a package", hint="write ./cmd/app, or example.org/mod/cmd/app@v1.2.3")
    if "..." in path:
        raise ConfigError(f"{text!r} is a pattern", hint="name one main package; several need several builds")
    if path.endswith(".go"):
        raise ConfigError(f"{text!r} is a file", hint="name the folder of the package, e.g. ./cmd/app")
    if at and path.startswith("."):
        raise ConfigError(f"{text!r} is a folder with a version", hint="remove the version, or write an import path")
    return text


def check_prebuilt(text: str) -> str:
    """The path; raise `ConfigError` unless `text` can be a path."""
    if text and (not text.isprintable() or text != text.strip()):
        raise ConfigError(f"{text!r} is not a path", hint="write e.g. out/{{ os }}_{{ arch }}/app")
    return text


def check_directory(text: str) -> None:
    """Raise `ConfigError` unless `text` is a relative path."""
    if not text or not text.isprintable() or text.startswith(("/", "~", "-")):
        raise ConfigError(f"{text!r} is not a folder", hint="write a path relative to the configuration file, e.g. .")


def check_tag(text: str) -> str:
    """The build tag; raise `ConfigError` for what `//go:build` could not say."""
    if not _TAG.fullmatch(text):
        raise ConfigError(
            f"tags: {text!r} is not a build tag", hint="use letters, digits, '_' and '.', one tag an item"
        )
    return text


def check_x_name(text: str) -> str:
    """The name of a `-X`; raise `ConfigError` unless it is `importpath.variable`."""
    if not _VARIABLE.fullmatch(text):
        raise ConfigError(f"set: {text!r} is not importpath.variable", hint="write e.g. main.version")
    return text


def check_x_value(text: str) -> str:
    """The value of a `-X`; raise `ConfigError` for what Go's flag syntax cannot carry (cmd/internal/quoted)."""
    if "\0" in text or ("'" in text and '"' in text):
        raise ConfigError("set: a -X value cannot hold a NUL or both kinds of quotes", hint="leave out one kind")
    return text
