"""imagekit.yaml as it is written, composed of the rooms' own types."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from imagekit.golang.checks import Check
from imagekit.image.archives import ArchiveSpec
from imagekit.image.recipe import Recipe
from imagekit.targets.build import Build

VariableName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(?!\n)$",
        description="is not the name of a variable",
        examples=["CI_COMMIT_TAG"],
    ),
]


class SbomFormat(StrEnum):
    """How the inventory of a program is written: CycloneDX 1.6, SPDX 2.3."""

    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


class SignEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who signs: exactly one of the three."""

    key: str = ""
    """A private key in a file."""
    openpgp: str = ""
    """The fingerprint of a key in the user's own gpg."""
    pkcs11: str = ""
    """The URI (RFC 7512) of a key in a hardware module."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The keys that are set."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name))


class ConfigDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What imagekit builds, packs, checks and signs."""

    version: Literal[1]
    """The version of this format."""
    builds: tuple[Build, ...] = ()
    """The programs; without it every main package below the file's folder, for linux/amd64 and linux/arm64."""
    template_env: tuple[VariableName, ...] = ()
    """The only environment variables that templates see, as `env.NAME`."""
    checks: tuple[Check, ...] = ()
    """What runs over the source before anything is compiled."""
    policy: str = "scratch"
    """What linkage and build may be: a built-in profile, or the path of a policy.yaml."""
    images: tuple[Recipe, ...] | UnsetType = UNSET
    """The images; without it one for each build that has a linux platform; `[]` for none."""
    archives: tuple[ArchiveSpec, ...] = ()
    """Archives of single programs, one a target."""
    sbom: tuple[SbomFormat, ...] = (SbomFormat.CYCLONEDX, SbomFormat.SPDX)
    """In which formats the inventory of each target is written."""
    sign: tuple[SignEntry, ...] = ()
    """Who signs what is built."""
    output: str = "dist"
    """The folder that is written, relative to the working directory; replaced as a whole."""
