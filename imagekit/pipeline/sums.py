"""SHA256SUMS of a dist/ or a part: written last, it vouches for every other file. Touches disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagekit.content import Digest, digest_of, hash_file, hex_of, write_whole

SUMS = "SHA256SUMS"
_LARGEST = 64 << 20


def write_sums(folder: Path, known: Mapping[str, Digest]) -> Digest:
    """SHA256SUMS over every file but itself and .gitignore, sorted by path; `known` digests are not read again.

    Returns the digest of SHA256SUMS.
    """
    found: dict[str, Digest] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        inside = path.relative_to(folder).as_posix()
        if inside in (SUMS, ".gitignore"):
            continue
        found[inside] = known.get(inside) or _digest_of(path, inside)
    lines = "".join(f"{hex_of(found[inside])}  {inside}\n" for inside in sorted(found))
    write_whole(folder / SUMS, lines.encode())
    return digest_of(lines.encode())


def _digest_of(path: Path, inside: str) -> Digest:
    """A blob's name is its digest, and it was checked when it was written."""
    if inside.startswith("oci/blobs/sha256/"):
        return Digest(f"sha256:{path.name}")
    return hash_file(path)[0]


def sums_in(folder: Path) -> bytes:
    """The SHA256SUMS there, its first 64 MiB; raises `OSError`."""
    with (folder / SUMS).open("rb") as stream:
        return stream.read(_LARGEST)


def listed_in(sums: bytes) -> dict[str, str]:
    """Path -> SHA-256 in hex, of every file that a SHA256SUMS lists."""
    lines = sums.decode(errors="replace").splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
