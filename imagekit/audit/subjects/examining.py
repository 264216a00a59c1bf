"""`examine`: every program behind some arguments, as it is found. Touches disk, network, engines and processes."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from imagekit.audit.subjects.examined import Examined, Options, failed, shown_path
from imagekit.audit.subjects.paths import examine_paths
from imagekit.cancellation import Cancellation
from imagekit.errors import ImagekitError, UnreadableError
from imagekit.oci.words import Kind, Word, parse


def examine(words: Sequence[str], options: Options, cancellation: Cancellation) -> Iterator[Examined]:
    """What is behind each argument, in their order; the same whatever the job count.

    An argument that cannot be read is an `Examined` with its error, and the others go on; an argument that can be none
    raises `UsageError` before anything is read. Raises the switch's `StoppedError`.
    """
    parsed = [_parsed(word) for word in words]
    chosen = _chosen(parsed, options)
    for is_path, group in groupby(parsed, key=lambda one: isinstance(one, Word) and one.kind is Kind.PATH):
        if is_path:
            yield from examine_paths([word.rest for word in group if isinstance(word, Word)], chosen, cancellation)
            continue
        for word in group:
            yield from (word,) if isinstance(word, Examined) else _image(word, chosen, cancellation)


def _parsed(text: str) -> Word | Examined:
    try:
        return parse(text)
    except UnreadableError as error:
        return failed(shown_path(text), error)


def _chosen(parsed: Sequence[Word | Examined], options: Options) -> Options:
    """The options, with the explanation of a file that is the only argument."""
    only = parsed[0] if len(parsed) == 1 else None
    if (
        not options.explain_single
        or not isinstance(only, Word)
        or only.kind is not Kind.PATH
        or not _is_file(only.rest)
    ):
        return options
    return msgspec.structs.replace(options, wishes=msgspec.structs.replace(options.wishes, explain=True))


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def _image(word: Word, options: Options, cancellation: Cancellation) -> Iterator[Examined]:
    from imagekit.audit.subjects.images import examine_image

    try:
        yield from examine_image(word, options, cancellation)
    except ImagekitError as error:
        cancellation.check()
        yield failed(shown_path(word.text), error)
