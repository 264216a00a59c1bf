"""Several layers read at a time, in forked processes; an error of one is an answer like another. Touches processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec

from imagekit.audit.subjects.layers import Content
from imagekit.audit.subjects.processes import MOST_BATCHES, each
from imagekit.cancellation import Cancellation
from imagekit.content import Digest
from imagekit.errors import ImagekitError, IntegrityError, NetworkError, ToolError, UnreadableError
from imagekit.oci.documents import Descriptor

Pair = tuple[Descriptor, Digest]
"""A layer, and the digest of the tar that it unpacks to."""
_KINDS = {4: UnreadableError, 5: IntegrityError, 6: NetworkError, 3: ToolError}
_LITTLE = 16 << 20
"""Bytes of layers that are not worth a process."""


class _Answer(msgspec.Struct, frozen=True):
    content: Content | None = None
    code: int = 0
    message: str = ""
    hint: str = ""


def read_ahead(
    read: Callable[[Pair], Content], pairs: Sequence[Pair], *, jobs: int, cancellation: Cancellation
) -> Iterator[tuple[Pair, Content | ImagekitError]]:
    """Each layer with its content or the error that reading it raised; nothing where it is not worth a process."""
    if jobs < 2 or not 1 < len(pairs) <= MOST_BATCHES or sum(layer.size for layer, _ in pairs) < _LITTLE:
        return
    first = sorted(range(len(pairs)), key=lambda number: -pairs[number][0].size)
    batches = [(pair,) for pair in pairs]
    answers = each(partial(_answer, read), batches, _Answer, first=first, jobs=jobs, cancellation=cancellation)
    for pair, (answer,) in zip(pairs, answers, strict=True):
        yield pair, answer.content or _error(answer)


def _answer(read: Callable[[Pair], Content], pair: Pair) -> _Answer:
    try:
        return _Answer(read(pair))
    except ImagekitError as error:
        return _Answer(None, error.exit_code, error.message, error.hint)


def _error(answer: _Answer) -> ImagekitError:
    """The same error again, by its exit code; that of a format has its offset in the message."""
    return _KINDS.get(answer.code, ToolError)(answer.message, hint=answer.hint)
