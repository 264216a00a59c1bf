"""Compare: what two binaries, or two images, do not have in common. Touches what the subjects are in."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from imagekit.audit.comparing.difference import Difference as Difference
from imagekit.cancellation import Cancellation
from imagekit.errors import UsageError
from imagekit.oci.words import Kind, Word, parse


def compare(one: str, other: str, cancellation: Cancellation | None = None) -> Difference:
    """The difference between two SUBJECT words: two files, or two images wherever they are.

    Raises `UsageError` for a folder, or a file beside an image; `UnreadableError`, `IntegrityError`, `NetworkError` or
    `ToolError` where one of them cannot be read.
    """
    first, second = parse(one), parse(other)
    if (first.kind is Kind.PATH) != (second.kind is Kind.PATH):
        path = first if first.kind is Kind.PATH else second
        raise UsageError(
            "a file and an image have nothing to compare",
            hint=f"if {path.text} is an image, write oci:{path.text}, oci-archive:{path.text} or docker-archive:…",
        )
    if first.kind is Kind.PATH:
        from imagekit.audit.comparing.binaries import compare_files

        return compare_files(_file(first), _file(second))
    return _images(first, second, cancellation or Cancellation())


def _file(word: Word) -> Path:
    path = Path(word.rest)
    if path.is_dir():
        raise UsageError(f"{word.text} is a folder", hint="name two programs; for an image layout write oci:DIR")
    return path


def _images(first: Word, second: Word, cancellation: Cancellation) -> Difference:
    from imagekit.audit.comparing.images import Image, compare_images
    from imagekit.oci.opening import open_images

    with ExitStack() as opened:
        found = []
        for word in (first, second):
            held = open_images(word, opened, cancellation)
            if len(held.images) != 1:
                names = ", ".join(label for label, _ in held.images)
                raise UsageError(f"{word.text} holds {len(held.images)} images", hint=f"name one of {names}")
            found.append(Image(word.text, held.store, held.images[0][1]))
        return compare_images(found[0], found[1], cancellation)
