"""Provenance: what an image was built from, by whom, and everything that must be said to build it again. Values only.

SLSA v1 (https://slsa.dev/spec/v1.0/provenance). The parameters of a build are all that a person decided: configuration,
commit, selection; docs/reproducing.md describes them as the build type `urn:imagekit:build:v1`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from imagekit.content import Digest, hex_of, parse_json, prepared
from imagekit.errors import UnreadableError
from imagekit.trust.statement import Resource, decode_statement, encode_statement

PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:imagekit:build:v1"
LOCAL_BUILDER = "urn:imagekit:builder:local"
"""Nobody vouches for the place where it was built: a claim that only a signature can lift."""


class Source(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The commit that was checked out, and what of its repository reaches a program's version.

    `uri` is '' where there is no remote to name; `short` is the commit as git abbreviated it; `tags` are those of
    `source.git.GitState`.
    """

    digest: dict[str, str]
    uri: str = ""
    branch: str = ""
    short: str = ""
    tags: dict[str, str] = {}
    dirty: bool = False

    @property
    def commit(self) -> str:
        return self.digest.get("gitCommit", "")


class ConfigFile(msgspec.Struct, frozen=True):
    """The configuration: its file's name, below the folder of the build, and its text."""

    name: str
    text: str


class Parameters(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """All that was asked for (`externalParameters`); `created` is the time in the image, in seconds since 1970."""

    image: str
    """Its id, with the variant behind it: `app-debug`."""
    folder: str = "."
    """Where it was built, below the repository's root."""
    source: Source | None = None
    config: ConfigFile | None = None
    bases: dict[str, str] = {}
    """What imagekit.lock said: reference -> digest."""
    packages: tuple[str, ...] = ()
    targets: tuple[str, ...]
    """The ids of the targets that are in the image."""
    tags: tuple[str, ...] = ()
    """Those of `--tag`."""
    environment: dict[str, str] = {}
    """The variables of `template_env` that were set."""
    created: int = 0


class BuiltTarget(msgspec.Struct, frozen=True):
    """What a rebuild must know of one target in `Settings.targets`; `vcs` is whether Go stamped the commit."""

    id: str
    main: str
    prebuilt: str
    toolchain: str
    vcs: bool


class Settings(msgspec.Struct, frozen=True, rename="camel"):
    """What imagekit made of the parameters (`internalParameters`): for readers, and to explain a difference."""

    compression: str
    targets: tuple[dict[str, Any], ...]

    @property
    def built(self) -> tuple[BuiltTarget, ...]:
        """The targets as a rebuild reads them; raises `ValidationError` for some that lack what it must know."""
        return msgspec.convert(self.targets, prepared(tuple[BuiltTarget, ...]))


class BuildDefinition(msgspec.Struct, frozen=True, rename="camel"):
    build_type: str
    external_parameters: Parameters
    internal_parameters: Settings
    resolved_dependencies: tuple[Resource, ...]


class Builder(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`builder_dependencies` are the plug-ins that took part."""

    id: str
    version: dict[str, str] = {}
    builder_dependencies: tuple[Resource, ...] = ()


class RunDetails(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    builder: Builder
    byproducts: tuple[Resource, ...] = ()


class Provenance(msgspec.Struct, frozen=True, rename="camel"):
    """The predicate."""

    build_definition: BuildDefinition
    run_details: RunDetails

    @property
    def parameters(self) -> Parameters:
        return self.build_definition.external_parameters

    @property
    def settings(self) -> Settings:
        return self.build_definition.internal_parameters

    @property
    def dependencies(self) -> tuple[Resource, ...]:
        return self.build_definition.resolved_dependencies


def encode_provenance(subject: tuple[Resource, ...], provenance: Provenance) -> bytes:
    """The statement's bytes; the same values give the same ones."""
    return encode_statement(subject, PREDICATE, provenance)


def decode_provenance(raw: bytes, subject: Digest) -> Provenance:
    """What a statement says of the bytes that `subject` names.

    Raises `UnreadableError` for what is no provenance of this build type, or is about other bytes.
    """
    statement = decode_statement(raw, PREDICATE)
    if all(one.digest.get("sha256") != hex_of(subject) for one in statement.subject):
        raise UnreadableError(f"the provenance is not about {subject}")
    try:
        found = parse_json(statement.predicate, Provenance)
        if (kind := found.build_definition.build_type) != BUILD_TYPE:
            raise UnreadableError(f"its build type is {kind}, only {BUILD_TYPE} is read")
        if not found.settings.built:
            raise UnreadableError("this is no provenance that imagekit wrote: it names no target")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"this is no provenance that imagekit wrote: {error}") from error
    return found
