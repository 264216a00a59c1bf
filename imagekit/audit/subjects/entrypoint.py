"""The file that an image starts: is it one of the programs that were examined, and for the image's platform?"""

from __future__ import annotations

from collections.abc import Iterator

from imagekit.audit.finding import Finding, Severity, Skip
from imagekit.audit.subjects.merging import merged, standing, started
from imagekit.audit.subjects.unpacking import Unpacked


def judge_entrypoint(unpacked: Unpacked) -> Iterator[Skip | Finding]:
    """A skip where the file is none that was examined, an error where it is for another system than the image.

    An image that starts nothing gives nothing; so does one with layers that were not read, which are skips themselves.
    """
    config, label = unpacked.image.runnable.config, unpacked.image.label
    word, path = started(config, merged(unpacked.contents))
    program = standing(unpacked.contents, path) if path else None
    if not word or (program is None and unpacked.skips):
        return
    if not path:
        yield Skip(label, f"its entrypoint {word!r} is no file in its layers")
    elif program is None or all(one.facts.format == "unknown" for one in program.slices):
        yield Skip(f"{label}:{path}", "the entrypoint is not an ELF, PE or Mach-O program")
    else:
        wanted = config.platform
        found = [one.facts.platform for one in program.slices if one.facts.platform is not None]
        if found and not any((one.os, one.architecture) == (wanted.os, wanted.architecture) for one in found):
            yield Finding(
                rule="mismatch",
                severity=Severity.ERROR,
                subject=f"{label}:{path}",
                message=f"the image says {wanted}, its entrypoint is for {found[0]}",
                hint="build the image again for its platform",
            )
