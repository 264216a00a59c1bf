"""`PATH[:NAME][@sha256:…]`: a layout or an archive, and in it an image by its name, its digest or both.

Names of images have colons too (`team/app:1.4`), so what is on the disk decides where the path ends.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

import msgspec

from imagekit.content import Digest

_DIGEST = re.compile(r"(?P<rest>.*)@(?P<digest>sha256:[0-9a-f]{64})", re.DOTALL)


class Place(msgspec.Struct, frozen=True):
    """Where an image is, or is to be; with both name and digest the digest counts, as in a reference to a registry."""

    path: Path
    name: str = ""
    digest: Digest = Digest("")

    @classmethod
    def parse(cls, text: str, root: Path = Path()) -> Self:
        """Read what stands behind `oci:`, `oci-archive:`, `docker-archive:` or `bundle:`; `root` is what paths are in.

        The path ends at the first colon before which there is a layout or a file. Where there is none yet, all of the
        text is a path if that is there, else the path ends at the first colon, as skopeo has it.
        """
        found = _DIGEST.fullmatch(text)
        rest, digest = (found["rest"], Digest(found["digest"])) if found else (text, Digest(""))
        ends = [number for number, letter in enumerate(rest) if letter == ":" and number]
        there = (end for end in (*ends, len(rest)) if _is_image_place(root / rest[:end]))
        end = next(there, len(rest) if not ends or (root / rest).exists() else ends[0])
        return cls(root / rest[:end], rest[end + 1 :], digest)

    def __str__(self) -> str:
        name, digest = self.name and f":{self.name}", self.digest and f"@{self.digest}"
        return f"{self.path}{name}{digest}"


def _is_image_place(path: Path) -> bool:
    return path.is_file() or (path / "oci-layout").is_file()
