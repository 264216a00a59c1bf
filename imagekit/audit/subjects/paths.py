"""Files and trees: every program in them, in parallel where there are many. Touches disk and processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice

from imagekit.audit.subject import Source
from imagekit.audit.subjects.examined import Examined, Options, failed, shown_path, unreadable_member
from imagekit.audit.subjects.files import Seen, see
from imagekit.audit.subjects.processes import MOST_BATCHES, each
from imagekit.audit.subjects.program import Wishes
from imagekit.audit.subjects.trees import Found, members
from imagekit.cancellation import Cancellation
from imagekit.errors import UnreadableError

_ROUND = 20_000
"""Files whose paths are held at a time."""
_BATCH = 8
_FEW, _LITTLE = 24, 64 << 20
"""So few files, of so few bytes, are not worth a process."""


def examine_paths(words: Sequence[str], options: Options, cancellation: Cancellation) -> Iterator[Examined]:
    """What is in files and folders, one `Examined` a file, in the order of the words and then of the tree."""
    every = chain.from_iterable(members(word) for word in words)
    while part := list(islice(every, _ROUND)):
        for found, seen in zip(part, _all_seen(part, options, cancellation), strict=True):
            yield _examined(found, seen, options.wishes)


def _all_seen(part: Sequence[Found], options: Options, cancellation: Cancellation) -> Iterator[Seen]:
    task = partial(_seen, wishes=options.wishes)
    few = len(part) <= _FEW and sum(found.size for found in part) <= _LITTLE
    in_order = options.jobs == 1 or options.wishes.sources is not None  # whose `go list` a killed child would leave
    if in_order or few or len(part) == 1:
        for found in part:
            cancellation.check()
            yield task(found)
        return
    size = max(_BATCH if len(part) > _FEW else 1, -(-len(part) // MOST_BATCHES))
    batches = [part[start : start + size] for start in range(0, len(part), size)]
    weights = [sum(found.size for found in batch) for batch in batches]
    first = sorted(range(len(batches)), key=lambda number: -weights[number])
    for seen in each(task, batches, Seen, first=first, jobs=options.jobs, cancellation=cancellation):
        yield from seen


def _seen(found: Found, *, wishes: Wishes) -> Seen:
    return Seen(trouble=found.trouble) if found.trouble else see(found.path, wishes, named=found.named)


def _examined(found: Found, seen: Seen, wishes: Wishes) -> Examined:
    label = shown_path(found.path)
    if seen.trouble is not None:
        if found.named:
            return failed(label, UnreadableError(f"{label}: {seen.trouble}", hint="check the path and its permissions"))
        return unreadable_member(label, seen.trouble)
    if seen.program is None:
        return Examined(other=1)
    return Examined(subjects=tuple(seen.program.subjects(label, Source(path=label), wishes.sources)))
