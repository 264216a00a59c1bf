"""Build: one entry of `builds:` in imagekit.yaml, as it is written; `matrix.expand` makes targets of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from imagekit.targets.target import Cgo

Identifier = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?!\n)$",
        description="is no id: up to 100 letters, digits, '.', '_' and '-'",
        examples=["app"],
    ),
]
DEFAULT_PLATFORMS = ("linux/amd64", "linux/arm64")


class ListEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an override adds to a list; a plain list in its place replaces the list."""

    append: tuple[str, ...] = ()
    """These come after what was there."""
    prepend: tuple[str, ...] = ()
    """These come before it."""


Edit = tuple[str, ...] | ListEdit


class LinkerSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"values": "set"}
):
    """What the linker is told."""

    strip: bool = False
    """Leave out symbol table and DWARF (`-s -w`)."""
    values: dict[str, str] = {}
    """`-X`: `importpath.variable` to its text; imagekit proves after the link that it is there."""
    flags: tuple[str, ...] = ()
    """Other linker flags, one an item, by the allow-list."""


class LinkerEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"values": "set"}):
    """What an override changes of the linker's settings; `set` is merged name by name."""

    strip: bool | UnsetType = UNSET
    """Replaces `strip`."""
    values: dict[str, str] = {}
    """Added to `set`; a name that is there already gets this value."""
    flags: Edit | UnsetType = UNSET
    """Replaces, or with `append` and `prepend` extends, the flags."""


class UnsafeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stands outside the allow-lists; each entry is a finding and stands in the provenance."""

    flags: tuple[str, ...] = ()
    """Flags for `go build`, one an item."""
    env: dict[str, str] = {}
    """Variables of the compile environment."""


class UnsafeEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an override changes of `unsafe`; `env` is merged name by name."""

    flags: Edit | UnsetType = UNSET
    """Replaces, or with `append` and `prepend` extends, the flags."""
    env: dict[str, str] = {}
    """Added to `env`; a name that is there already gets this value."""


class Override(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Other settings for some targets of a build; overrides are read top to bottom, the later one wins."""

    select: str | tuple[str, ...]
    """`[build:]os/arch[/variant]` with globs, or a list of them; one that matches nothing is an error."""
    tags: Edit | UnsetType = UNSET
    """Replaces, or with `append` and `prepend` extends, the build tags."""
    flags: Edit | UnsetType = UNSET
    """The same for the flags of `go build`."""
    gcflags: Edit | UnsetType = UNSET
    """The same for the compiler's flags."""
    ldflags: LinkerEdit = LinkerEdit()
    """What changes for the linker."""
    env: dict[str, str] = {}
    """Merged into `env` name by name."""
    cgo: Cgo | UnsetType = UNSET
    """Replaces `cgo`."""
    unsafe: UnsafeEdit = UnsafeEdit()
    """What changes outside the allow-lists."""


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One program, and what it is built for; scalars of main, prebuilt, tags, flags, ldflags and env are templates."""

    id: Identifier | UnsetType = UNSET
    """How the program, its targets and its files are called; default: the last element of main's path."""
    main: str = ""
    """The main package: `./cmd/app`, an import path, or `example.org/mod/cmd/app@v1.2.3`; default `.`."""
    prebuilt: str = ""
    """Instead of main: the path of a file that another builder made, e.g. `out/{{ os }}_{{ arch }}/app`."""
    directory: str = msgspec.field(default=".", name="dir")
    """The module's folder, relative to the configuration file."""
    platforms: tuple[str, ...] = DEFAULT_PLATFORMS
    """`os/arch[/variant or CPU level]`, built and listed in this order."""
    levels: dict[str, str] = {}
    """CPU level by architecture, for platforms written without one: `amd64: v3`, `arm64: v8.1`, `386: softfloat`."""
    exclude: tuple[str, ...] = ()
    """Selectors of platforms that are left out; one that no Go platform matches is an error."""
    tags: tuple[str, ...] = ()
    """Build tags."""
    flags: tuple[str, ...] = ()
    """Flags of `go build`, one an item (`-buildmode=exe`), by the allow-list."""
    gcflags: tuple[str, ...] = ()
    """Values of `-gcflags`, one an item (`all=-N -l`), by the allow-list."""
    ldflags: LinkerSettings = LinkerSettings()
    """What the linker is told."""
    env: dict[str, str] = {}
    """Variables of the compile environment, by the allow-list: GOEXPERIMENT, GOFIPS140, GODEBUG."""
    cgo: Cgo = Cgo.OFF
    """`off`: CGO_ENABLED=0; `static`: C by zig against musl; `allow`: CGO_ENABLED=1, the policy judges the result."""
    unsafe: UnsafeSettings = UnsafeSettings()
    """What stands outside the allow-lists."""
    overrides: tuple[Override, ...] = ()
    """Other settings for some of the targets."""

    @property
    def name(self) -> str:
        """The id, given or taken from the last element of main's path; '' where only go.mod could tell."""
        return program_name(self.main) if self.id is UNSET else self.id


def program_name(package: str) -> str:
    """What `go build` would call the program of a main package: its last element, a major version aside; '' for `.`."""
    elements = [part for part in package.partition("@")[0].split("/") if part not in ("", ".", "..")]
    if len(elements) > 1 and elements[-1][:1] == "v" and elements[-1][1:].isdigit():
        elements.pop()
    return elements[-1] if elements else ""
