"""The Dockerfiles of a finished dist/, once its SHA256SUMS vouches for them. Touches disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imagekit.config import read
from imagekit.config.document import ConfigDocument
from imagekit.config.reading import FILE
from imagekit.content import digest_of, hex_of
from imagekit.errors import IntegrityError, UnreadableError, UsageError
from imagekit.pipeline.sums import SUMS, listed_in, sums_in
from imagekit.text import line

_START, _SOURCE = "Dockerfile.", ".source"
_AGAIN = "run: imagekit build"


def dockerfile(config: Path | None, output: Path | None, image: str, *, source: bool) -> bytes:
    """The Dockerfile of an image that a build wrote: of the only one for ''; with `source` the one that compiles.

    `output` (default: the configuration's) is where the build wrote. Raises `UnreadableError` without a build,
    `UsageError` where no image, or several, could be meant, `IntegrityError` for a file that was changed since.
    """
    folder = output or _folder(config)
    try:
        listed = listed_in(sums_in(folder))
    except OSError as error:
        raise UnreadableError(f"{folder} holds no finished build: {SUMS}: {error.strerror}", hint=_AGAIN) from error
    name = _name(folder, (path for path in listed if path.startswith(_START)), image, source=source)
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise UnreadableError(f"{folder / name}: {error.strerror}", hint=_AGAIN) from error
    if hex_of(digest_of(content)) != listed[name]:
        raise IntegrityError(f"{folder / name} is not what {SUMS} says", hint=f"{_AGAIN}, which writes it again")
    return content


def _folder(config: Path | None) -> Path:
    """Where a build writes; what it would build is not looked for."""
    if config is None and not Path(FILE).is_file():
        return Path(ConfigDocument(version=1).output)
    return Path(read(config, Path()).output)


def _name(folder: Path, paths: Iterable[str], image: str, *, source: bool) -> str:
    wanted = (path for path in paths if path.endswith(_SOURCE) == source)
    found = {path.removeprefix(_START).removesuffix(_SOURCE): path for path in wanted}
    if not image and len(found) == 1:
        (image,) = found
    if image in found:
        return found[image]
    kind = "a Dockerfile that compiles" if source else "a Dockerfile"
    known = f"name one of {', '.join(map(line, sorted(found)))}" if found else "images of prebuilt programs have none"
    meant = f"the image {line(image)}" if image else "one image"
    raise UsageError(f"{folder} does not hold {kind} of {meant}", hint=known)
