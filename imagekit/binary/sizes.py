"""How many bytes of a program belong to which Go package, read from its function table."""

from __future__ import annotations

import msgspec


class PackageSize(msgspec.Struct, frozen=True):
    """The code of one package in bytes; `module` is '' for the standard library and where it is not known."""

    package: str
    module: str
    size: int
