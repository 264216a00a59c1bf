"""go.sum: the hash that each module version had when somebody first trusted it. Reads one file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from imagekit.content import Digest, digest_of
from imagekit.errors import UnreadableError

LIMIT = 64 << 20
"""Bytes; the largest go.sum files known have about 1 MiB."""
_H1 = re.compile(r"h1:[A-Za-z0-9+/]{43}=")
_EMPTY_GO_MOD = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="
"""A bug of early Go wrote this for modules without go.mod; Go ignores such lines (modfetch.readGoSum)."""

Key = tuple[str, str]
"""(module, version) for the zip, (module, version + "/go.mod") for its go.mod alone."""


class GoSum(msgspec.Struct, frozen=True):
    """The sums of one or more go.sum files; `digest` is of their bytes and names this exact set."""

    sums: Mapping[Key, str]
    digest: Digest

    def zip_sum(self, module: str, version: str) -> str | None:
        """The `h1:` of the module's zip, None if no line has it."""
        return self.sums.get((module, version))

    def modules(self) -> tuple[Key, ...]:
        """Every (module, version) that has a line of either kind, sorted."""
        return tuple(sorted({(module, version.removesuffix("/go.mod")) for module, version in self.sums}))


def read(path: Path) -> GoSum:
    """What is in the file; no file has no sums.

    Raises `UnreadableError` with file and line for a line that is not `module version hash`, or for two hashes of one.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LIMIT + 1)
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from error
    if len(content) > LIMIT:
        raise UnreadableError(f"{path} is larger than {LIMIT} bytes", hint="no go.sum is; look at what wrote it")
    return GoSum(parse(content, str(path)), digest_of(content))


def parse(content: bytes, name: str = "go.sum") -> dict[Key, str]:
    """The sums in these bytes; `name` stands in errors. Hashes of kinds other than h1 are ignored, as Go does."""
    sums: dict[Key, str] = {}
    for number, raw in enumerate(content.split(b"\n"), 1):
        fields = raw.split()
        if not fields:
            continue
        module, version, value = _fields(fields, f"{name}:{number}")
        if value == _EMPTY_GO_MOD or not value.startswith("h1:"):
            continue
        if not _H1.fullmatch(value):
            raise UnreadableError(f"{name}:{number}: {value!r} is not an h1 hash", hint="restore the file from git")
        if sums.setdefault((module, version), value) != value:
            raise UnreadableError(
                f"{name}:{number}: {module} {version} has two different hashes",
                hint="one of them is wrong: find out which before you build (`go mod verify`, the file's history)",
            )
    return sums


def _fields(fields: list[bytes], where: str) -> tuple[str, str, str]:
    try:
        module, version, value = (field.decode("ascii") for field in fields)
    except ValueError:
        raise UnreadableError(
            f"{where}: a line of go.sum is `module version hash`, this has {len(fields)} fields or is not ASCII",
            hint="a merge conflict? Resolve it, then run `go mod tidy`",
        ) from None
    return module, version, value


def join(*parts: GoSum) -> GoSum:
    """The sums of several files (a workspace's modules and its go.work.sum).

    Raises `UnreadableError` where two of them contradict each other.
    """
    if len(parts) == 1:
        return parts[0]
    sums: dict[Key, str] = {}
    for part in parts:
        for (module, version), value in part.sums.items():
            if sums.setdefault((module, version), value) != value:
                raise UnreadableError(
                    f"two go.sum files of this workspace have different hashes for {module} {version}",
                    hint="one of them is wrong: run `go mod verify` in each module",
                )
    return GoSum(sums, digest_of("\n".join(part.digest for part in parts).encode()))


def of(sums: Mapping[Key, str]) -> GoSum:
    """The same from values, for sums that stand in no file (a published module's own)."""
    lines = sorted(f"{module} {version} {value}\n" for (module, version), value in sums.items())
    return GoSum(dict(sums), digest_of("".join(lines).encode()))
